//! House rules that no other tool holds.

mod crates;
mod lengths;
mod words;

use std::fs;
use std::path::Path;

use crate::stages::Failure;
use crate::workspace::Workspace;

const TEXT_ENDINGS: [&str; 9] = ["rs", "py", "sh", "toml", "md", "yml", "yaml", "xml", "json"];

/// Checks all files of the checkout and prints each finding as FILE:LINE: RULE.
///
/// # Errors
/// When there is a finding, or a file cannot be read.
pub fn tidy(workspace: &Workspace) -> Result<(), Failure> {
    let (mut findings, mut checked) = (Vec::new(), 0_usize);
    for file in workspace.files()? {
        let path = workspace.root.join(&file);
        // A file that was deleted and not yet committed is still listed by git.
        if !is_text(&file) || !path.is_file() {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|e| Failure::failed(format!("{}: {e}", file.display())))?;
        checked += 1;
        let mut found = words::check(&file, &text);
        found.extend(lengths::check(&file, &text));
        if file.ends_with("Cargo.toml") {
            found.extend(crates::check(&text));
        }
        findings.extend(found.into_iter().map(|finding| finding.shown_in(&file)));
    }
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("{checked} files are tidy");
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{} findings in {checked} files",
        findings.len()
    )))
}

/// A rule that is broken at a line (counted from 1).
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    line: usize,
    rule: String,
}

impl Finding {
    fn new(line: usize, rule: impl Into<String>) -> Self {
        Self {
            line,
            rule: rule.into(),
        }
    }

    fn shown_in(&self, file: &Path) -> String {
        format!("{}:{}: {}", file.display(), self.line, self.rule)
    }
}

fn ending(file: &Path) -> &str {
    file.extension().and_then(|ending| ending.to_str()).unwrap_or_default()
}

fn is_text(file: &Path) -> bool {
    // Scripts without an ending live in .ci alone.
    TEXT_ENDINGS.contains(&ending(file)) || file.starts_with(".ci")
}

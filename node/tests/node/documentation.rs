//! What the documentation must not forget.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tapehouse_core::codes::{CODES, Met};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The program's sources, each with its path.
fn sources() -> Vec<(String, String)> {
    fn read(folder: &Path, into: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                read(&path, into);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                into.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut files = Vec::new();
    for part in ["core", "kafka", "lake", "actors", "node"] {
        read(&project().join(part).join("src"), &mut files);
    }
    files
}

/// The error codes that `text` names: fields of log lines, what `fn code` returns, what is given to `.code(...)`.
fn codes_in(text: &str) -> Vec<String> {
    let behind = |text: &str, mark: &str| -> Vec<String> {
        let parts = text.split(mark).skip(1);
        parts
            .filter_map(|rest| rest.split_once('"').map(|(code, _)| code.to_owned()))
            .collect()
    };
    let mut found = behind(text, "code = \"");
    found.extend(behind(text, ".code(\""));
    for function in text.split("fn code(&self) -> ").skip(1) {
        let body = function.split("\n    }\n").next().unwrap_or_default();
        found.extend(behind(body, "=> \""));
    }
    found
}

#[test]
fn the_sources_use_the_codes_of_the_list_and_no_others() {
    let mut used = BTreeSet::new();
    for (path, text) in sources() {
        for code in codes_in(&text) {
            let known = CODES.iter().any(|known| known.name == code);
            assert!(known, "{path}: `{code}` is not in core/src/codes.rs");
            used.insert(code);
        }
    }
    // What every failed command has until somebody says more.
    used.extend(["config", "interrupted", "internal"].map(str::to_owned));
    let unused: Vec<&str> = CODES
        .iter()
        .map(|code| code.name)
        .filter(|code| !used.contains(*code))
        .collect();
    assert!(unused.is_empty(), "in core/src/codes.rs and used nowhere: {unused:?}");
}

#[test]
fn the_index_names_each_code_with_its_title_and_no_page_is_an_orphan() {
    let folder = project().join("docs/errors");
    let index = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for met in [Met::Pipeline, Met::Record, Met::Command, Met::Request] {
        let section = index
            .split(&format!("\n## {}\n", met.heading()))
            .nth(1)
            .unwrap_or_default();
        let section = section.split("\n## ").next().unwrap_or_default();
        for code in CODES.iter().filter(|code| code.met == met) {
            let line = format!("\n| [{0}]({0}.md) | {1} |\n", code.name, code.title());
            assert!(
                section.contains(&line),
                "docs/errors/README.md, {}, lacks:{line}",
                met.heading()
            );
        }
    }
    for entry in std::fs::read_dir(&folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let code = name.trim_end_matches(".md");
        let known = CODES.iter().any(|known| known.name == code) || name == "README.md";
        assert!(known, "docs/errors/{name} belongs to no code");
    }
}

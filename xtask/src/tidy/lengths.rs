//! Small files, small functions. Reads rustfmt's layout: a function ends at the first brace that stands where the function began.

use std::path::Path;

use super::{Finding, ending};

/// A source file has fewer lines than this.
const FILE_LINES: usize = 400;
/// A function, from its signature to its closing brace, has fewer lines than this.
const FUNCTION_LINES: usize = 70;

pub fn check(file: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !matches!(ending(file), "rs" | "py" | "sh") {
        return findings;
    }
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() >= FILE_LINES {
        findings.push(Finding::new(
            1,
            format!("{} lines; files stay under {FILE_LINES}", lines.len()),
        ));
    }
    if ending(file) != "rs" {
        return findings;
    }
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let length = function_length(&lines[index..]);
        if length >= FUNCTION_LINES {
            findings.push(Finding::new(
                index + 1,
                format!("fn {name} has {length} lines; functions stay under {FUNCTION_LINES}"),
            ));
        }
    }
    findings
}

/// The name of the function whose signature begins on this line.
fn function_name(line: &str) -> Option<&str> {
    const QUALIFIERS: [&str; 5] = ["async", "const", "unsafe", "extern", "default"];
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        match word {
            "fn" => return words.next()?.split(['(', '<']).next(),
            _ if QUALIFIERS.contains(&word) || word.starts_with("pub") || word.starts_with('"') => {}
            // The rest of `pub(in path)`.
            _ if word.ends_with(')') => {}
            _ => return None,
        }
    }
    None
}

/// Lines from the signature to the closing brace, both counted; 1 for a declaration or a body on one line.
fn function_length(lines: &[&str]) -> usize {
    let indent = lines[0].len() - lines[0].trim_start().len();
    let stands_at_indent =
        |line: &str| line.len() > indent && line.is_char_boundary(indent) && line[..indent].trim().is_empty();
    for (index, line) in lines.iter().enumerate() {
        let rest = line.trim_end();
        if index == 0 && (rest.ends_with(';') || rest.ends_with('}')) {
            return 1;
        }
        if index > 0 && stands_at_indent(rest) && !rest[indent..].starts_with(' ') {
            let own = &rest[indent..];
            // A signature over several lines closes with `) -> T {`, `where` or `{` before the body; a declaration with `;`.
            let is_signature = own.starts_with(')') || own.starts_with("where") || own == "{";
            if !is_signature || own.ends_with(';') {
                return index + 1;
            }
        }
    }
    lines.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function_of(body_lines: usize) -> String {
        let body = "        step();\n".repeat(body_lines);
        format!(
            "impl X {{\n    pub(crate) async fn long<T>(\n        &self,\n    ) -> T\n    where\n        T: Copy,\n    {{\n{body}    }}\n\n    fn next() {{}}\n}}\n"
        )
    }

    #[test]
    fn a_function_is_measured_from_signature_to_brace() {
        let path = Path::new("x.rs");
        assert_eq!(check(path, &function_of(62)), []);
        let found = check(path, &function_of(63));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 2);
        assert!(found[0].rule.starts_with("fn long has 70 lines"), "{found:?}");
    }

    #[test]
    fn declarations_and_one_liners_end_where_they_stand() {
        let text = format!(
            "trait T {{\n    fn a(&self);\n    fn b() {{ c() }}\n}}\n{}",
            "// filler\n".repeat(100)
        );
        assert_eq!(check(Path::new("x.rs"), &text), []);
    }

    #[test]
    fn text_that_speaks_of_functions_is_none() {
        assert_eq!(function_name("// a fn that is none"), None);
        assert_eq!(function_name("    let f: fn(u8) = g;"), None);
        assert_eq!(function_name("    pub(super) const unsafe fn f<T>(x: T) {"), Some("f"));
        assert_eq!(function_name("extern \"C\" fn callback() {"), Some("callback"));
    }

    #[test]
    fn a_long_file_is_found() {
        let text = "x\n".repeat(FILE_LINES);
        assert_eq!(check(Path::new("x.py"), &text).len(), 1);
        assert_eq!(check(Path::new("x.py"), &text[2..]), []);
        assert_eq!(check(Path::new("data.json"), &text), []);
    }
}

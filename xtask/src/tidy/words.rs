//! Words that have no place in what is published: marks of unfinished work and paths of one machine.

use std::path::Path;

use super::{Finding, ending};

/// Written in two halves, so that this list does not find itself.
const EVERYWHERE: [(&str, &str, &str); 4] = [
    ("/ro", "ot/", "a path of one machine"),
    ("/ho", "me/", "a path of one machine"),
    ("/Us", "ers/", "a path of one machine"),
    ("/wo", "rk/", "a path of one machine"),
];

/// A test that another test starts as a process of its own says so with these words.
const STARTED_BY_A_TEST: &str = "= \"run by ";

const IN_SOURCE: [(&str, &str, &str); 6] = [
    ("TO", "DO", "unfinished work belongs into an issue"),
    ("FIX", "ME", "unfinished work belongs into an issue"),
    ("XX", "X", "unfinished work belongs into an issue"),
    ("unimple", "mented!(", "no stubs"),
    ("to", "do!(", "no stubs"),
    ("#", "[ignore", "an ignored test tests nothing"),
];

pub fn check(file: &Path, text: &str) -> Vec<Finding> {
    let in_source: &[_] = if matches!(ending(file), "rs" | "py" | "sh" | "toml") {
        &IN_SOURCE
    } else {
        &[]
    };
    let words: Vec<(String, &str)> = EVERYWHERE
        .iter()
        .chain(in_source)
        .map(|(first, second, why)| (format!("{first}{second}"), *why))
        .collect();
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (word, why) in &words {
            if stands_in(line, word) && !line.contains(STARTED_BY_A_TEST) {
                findings.push(Finding::new(index + 1, format!("`{word}`: {why}")));
            }
        }
    }
    findings
}

/// Whether the word stands in the line by itself; a path must begin there: `docs/work/` or `$HOME/work/` are other paths.
fn stands_in(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let continues = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '}' | '-'));
        !continues(before) && (word.ends_with(['/', '(']) || !continues(after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_machine_paths_are_found() {
        let text = format!(
            "let a = 1; // {}: later\nlet b = \"{}x\";\n",
            ["TO", "DO"].concat(),
            ["/ro", "ot/"].concat()
        );
        let lines: Vec<usize> = check(Path::new("a.rs"), &text)
            .iter()
            .map(|finding| finding.line)
            .collect();
        assert_eq!(lines, [1, 2]);
        let in_text: Vec<usize> = check(Path::new("a.md"), &text)
            .iter()
            .map(|finding| finding.line)
            .collect();
        assert_eq!(in_text, [2]);
    }

    #[test]
    fn a_test_may_be_ignored_only_where_another_runs_it() {
        let text = [
            "#",
            "[ignore]\n#",
            "[ignore = \"slow\"]\n#",
            "[ignore = \"run by the tests below\"]\n",
        ]
        .concat();
        let lines: Vec<usize> = check(Path::new("a.rs"), &text)
            .iter()
            .map(|finding| finding.line)
            .collect();
        assert_eq!(lines, [1, 2]);
    }

    #[test]
    fn parts_of_other_words_are_none() {
        let text = format!(
            "tests{}scratch ${{HOME}}{}y {}S_DONE",
            ["/wo", "rk/"].concat(),
            ["/wo", "rk/"].concat(),
            ["TO", "DO"].concat()
        );
        assert_eq!(check(Path::new("a.rs"), &text), []);
    }
}

//! What the documentation must not forget.

use std::path::{Path, PathBuf};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The codes that `fn code` in `source` gives.
fn codes(source: &str) -> Vec<String> {
    let text = std::fs::read_to_string(project().join(source)).unwrap();
    let (_, body) = text.split_once("fn code(&self)").unwrap();
    let body = body.split("\n    }\n").next().unwrap();
    let arms = body.lines().filter_map(|line| line.split_once("=> \""));
    arms.map(|(_, rest)| rest.split('"').next().unwrap().to_owned())
        .collect()
}

#[test]
fn each_error_code_has_a_page_and_is_in_the_index() {
    let folder = project().join("docs/errors");
    let index = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for (source, least) in [("actors/src/failure.rs", 10), ("kafka/src/decode/error.rs", 10)] {
        let codes = codes(source);
        assert!(codes.len() >= least, "{source}: {codes:?}");
        for code in codes {
            let page = std::fs::read_to_string(folder.join(format!("{code}.md"))).unwrap_or_default();
            assert!(
                page.starts_with(&format!("# `{code}`")),
                "docs/errors/{code}.md is missing ({source})"
            );
            assert!(
                index.contains(&format!("[{code}]({code}.md)")),
                "{code} is not in docs/errors/README.md"
            );
        }
    }
}

//! `verify` looks and changes nothing; `fix` changes what a tool can mend.

use std::path::Path;

use crate::stages::{Failure, Stages, execute};
use crate::test::TEST_FEATURES;
use crate::tidy;
use crate::workspace::Workspace;

/// Format, lints, tidy; licences and spelling where cargo-deny and typos are installed.
///
/// # Errors
/// When any of them finds something.
pub fn verify(workspace: &Workspace) -> Result<(), Failure> {
    let mut stages = Stages::start();
    stages.run("format", || execute(workspace.cargo(&["fmt", "--all", "--check"])));
    stages.run("tidy", || tidy::tidy(workspace));
    if installed("typos") {
        stages.run("typos", || {
            execute(workspace.program("typos", &["--config", "typos.toml"]))
        });
    } else {
        println!("== typos: left out, not installed (pip install typos)");
    }
    if installed("cargo-deny") {
        // Advisories need a database that changes without us: .ci/run looks at them.
        stages.run("licences, sources, bans", || {
            execute(workspace.cargo(&["deny", "check", "licenses", "sources", "bans"]))
        });
    } else {
        println!("== cargo deny: left out, not installed (cargo install cargo-deny)");
    }
    // The lock file must fit the manifests: --locked fails where cargo would rewrite it.
    stages.run("clippy", || {
        execute(workspace.cargo(&[
            "clippy",
            "--locked",
            "--release",
            "--workspace",
            "--all-targets",
            "--features",
            TEST_FEATURES,
            "--",
            "-D",
            "warnings",
        ]))
    });
    stages.finish()
}

/// Formats and lets clippy mend what it can.
///
/// # Errors
/// When a tool fails.
pub fn fix(workspace: &Workspace) -> Result<(), Failure> {
    let mut stages = Stages::start();
    stages.run("clippy --fix", || {
        execute(workspace.cargo(&[
            "clippy",
            "--release",
            "--workspace",
            "--all-targets",
            "--features",
            TEST_FEATURES,
            "--fix",
            "--allow-dirty",
            "--allow-staged",
        ]))
    });
    stages.run("format", || execute(workspace.cargo(&["fmt", "--all"])));
    stages.finish()
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder: std::path::PathBuf| Path::new(&folder).join(program).is_file())
}

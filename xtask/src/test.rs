//! `cargo xtask test`: every test there is, in release.

use std::fs;
use std::path::PathBuf;

use crate::servers;
use crate::stages::{Failure, Stages, execute};
use crate::workspace::Workspace;

/// Failpoints are compiled into what is tested and into nothing that is released.
pub const TEST_FEATURES: &str = "tapehouse/chaos";

/// Set for the tests: the node with failpoints, a path.
pub const NODE_VARIABLE: &str = "TAPEHOUSE_BIN";
/// Set to 1 for the tests: a missing server is a failure, not a reason to skip.
const REQUIRE_VARIABLE: &str = "TAPEHOUSE_REQUIRE_SERVERS";

/// Builds the node with failpoints, tries the oracles, then runs cargo's tests, whose closing lines come last.
///
/// # Errors
/// When a test fails, or a server is missing and `require_servers` is set.
pub fn test(workspace: &Workspace, require_servers: bool) -> Result<(), Failure> {
    let mut stages = Stages::start();
    let mut missing = Vec::new();
    stages.run("servers", || {
        missing = servers::missing(workspace)?;
        for need in &missing {
            println!("skipped: {need}");
        }
        if require_servers && !missing.is_empty() {
            return Err(Failure::failed("--require-servers, and the above is missing"));
        }
        Ok(())
    });
    let lacks = |part: &str| missing.iter().any(|need| need.contains(part));
    if !lacks("Python") {
        let with_kafka = !lacks("Java") && !lacks("Kafka");
        stages.run("oracles", || servers::try_oracles(workspace, with_kafka));
    }
    let mut node = None;
    stages.run("node with failpoints", || {
        node = Some(chaos_node(workspace)?);
        Ok(())
    });
    if let Some(node) = node {
        stages.run("cargo test", || {
            let mut tests = workspace.cargo(&[
                "test",
                "--release",
                "--workspace",
                "--features",
                TEST_FEATURES,
                "--no-fail-fast",
            ]);
            tests.env(NODE_VARIABLE, &node);
            if require_servers {
                tests.env(REQUIRE_VARIABLE, "1");
            }
            execute(tests)
        });
    }
    stages.finish()
}

/// Builds the node with failpoints (and the chaos program) and puts it under a name of its own, apart from the release binary.
///
/// # Errors
/// When the build or the copy fails.
pub fn chaos_node(workspace: &Workspace) -> Result<PathBuf, Failure> {
    execute(workspace.build(&["--features", TEST_FEATURES]))?;
    let folder = workspace.target.join("chaos");
    let (built, copy, partial) = (
        workspace.target.join("release/tapehouse"),
        folder.join("tapehouse"),
        folder.join("tapehouse.partial"),
    );
    // Renamed into place: a process that still runs the one before keeps its file.
    fs::create_dir_all(&folder)
        .and_then(|()| fs::copy(&built, &partial))
        .and_then(|_| fs::rename(&partial, &copy))
        .map_err(|e| Failure::failed(format!("{} to {}: {e}", built.display(), copy.display())))?;
    Ok(copy)
}

//! `chaos` and `bench`: programs of the test and bench crates, with their own arguments.

use std::path::Path;

use crate::stages::{Failure, execute};
use crate::test::{NODE_VARIABLE, chaos_node};
use crate::workspace::Workspace;

/// Kills nodes with failpoints built in.
///
/// # Errors
/// When the build fails or an invariant did not hold.
pub fn chaos(workspace: &Workspace, arguments: &[&str]) -> Result<(), Failure> {
    let node = chaos_node(workspace)?;
    start(workspace, "chaos", &node, arguments)
}

/// Measures the node as it is released, without failpoints.
///
/// # Errors
/// When the build or the bench fails.
pub fn bench(workspace: &Workspace, arguments: &[&str]) -> Result<(), Failure> {
    execute(workspace.build(&["-p", "tapehouse-benches"]))?;
    start(
        workspace,
        "end_to_end",
        &workspace.target.join("release/tapehouse"),
        arguments,
    )
}

fn start(workspace: &Workspace, program: &str, node: &Path, arguments: &[&str]) -> Result<(), Failure> {
    let program = workspace.target.join("release").join(program);
    let mut command = workspace.program(&program.to_string_lossy(), arguments);
    command.env(NODE_VARIABLE, node);
    execute(command)
}

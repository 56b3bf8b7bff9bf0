//! `chaos` and `bench`: programs of the test and bench crates, with their own arguments.

use crate::stages::{Failure, execute};
use crate::test::{chaos_node, set_node};
use crate::workspace::Workspace;

/// Kills nodes with failpoints built in.
///
/// # Errors
/// When the build fails or an invariant did not hold.
pub fn chaos(workspace: &Workspace, arguments: &[&str]) -> Result<(), Failure> {
    let node = chaos_node(workspace)?;
    let mut command = workspace.cargo(&["run", "--release", "-p", "tapehouse-tests", "--bin", "chaos", "--"]);
    set_node(&mut command, &node);
    execute(with(command, arguments))
}

/// Measures the node as it is released, without failpoints.
///
/// # Errors
/// When the build or the bench fails.
pub fn bench(workspace: &Workspace, arguments: &[&str]) -> Result<(), Failure> {
    execute(workspace.cargo(&["build", "--release", "-p", "tapehouse"]))?;
    let mut command = workspace.cargo(&[
        "run",
        "--release",
        "-p",
        "tapehouse-benches",
        "--bin",
        "end_to_end",
        "--",
    ]);
    set_node(&mut command, &workspace.target.join("release/tapehouse"));
    execute(with(command, arguments))
}

fn with(mut command: std::process::Command, arguments: &[&str]) -> std::process::Command {
    command.args(arguments);
    command
}

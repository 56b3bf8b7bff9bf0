//! Which of the real servers and oracles can run on this machine.

use std::fs;
use std::process::Stdio;

use crate::stages::{Failure, execute};
use crate::workspace::Workspace;

/// Asks tests/services/check.sh, which fetches what can be fetched. Returns what is missing, in the script's words.
///
/// # Errors
/// When the script cannot be run or fails otherwise than by missing parts.
pub fn missing(workspace: &Workspace) -> Result<Vec<String>, Failure> {
    const SOMETHING_MISSING: i32 = 77;
    let done = workspace
        .program("tests/services/check.sh", &[])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| Failure::failed(format!("tests/services/check.sh: {e}")))?;
    if !matches!(done.status.code(), Some(0 | SOMETHING_MISSING)) {
        return Err(Failure::failed(format!("tests/services/check.sh: {}", done.status)));
    }
    let lines = String::from_utf8_lossy(&done.stdout);
    Ok(lines
        .lines()
        .filter(|line| line.starts_with("needs "))
        .map(str::to_owned)
        .collect())
}

/// Tries the oracles on tables that are broken on purpose, with a real broker where one can run.
///
/// # Errors
/// When an oracle does not see what is wrong, or a script fails.
pub fn try_oracles(workspace: &Workspace, with_kafka: bool) -> Result<(), Failure> {
    let python = output(workspace, "tests/services/venv.sh", &[])?;
    let mut selftest = workspace.program(&python, &["tests/oracle/selftest.py"]);
    if !with_kafka {
        println!("skipped: the oracles' completeness check, it needs Kafka");
        return execute(selftest);
    }
    let folder = workspace.target.join(format!("oracles-{}", std::process::id()));
    let shown = folder.to_string_lossy().into_owned();
    let address = output(workspace, "tests/services/kafka.sh", &["start", &shown])?;
    if let Some((name, value)) = address.split_once('=') {
        selftest.env(name, value);
    }
    let tried = execute(selftest);
    execute(workspace.program("tests/services/kafka.sh", &["stop", &shown]))?;
    fs::remove_dir_all(&folder).map_err(|e| Failure::failed(format!("{shown}: {e}")))?;
    tried
}

fn output(workspace: &Workspace, script: &str, arguments: &[&str]) -> Result<String, Failure> {
    let done = workspace
        .program(script, arguments)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| Failure::failed(format!("{script}: {e}")))?;
    if !done.status.success() {
        return Err(Failure::failed(format!("{script}: {}", done.status)));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

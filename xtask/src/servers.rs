//! Which of the real servers and oracles can run on this machine.

use std::process::Stdio;

use crate::stages::Failure;
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

/// The Python of the oracles' environment.
///
/// # Errors
/// When tests/services/venv.sh fails.
pub fn oracle_python(workspace: &Workspace) -> Result<String, Failure> {
    let done = workspace
        .program("tests/services/venv.sh", &[])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| Failure::failed(format!("tests/services/venv.sh: {e}")))?;
    if !done.status.success() {
        return Err(Failure::failed(format!("tests/services/venv.sh: {}", done.status)));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

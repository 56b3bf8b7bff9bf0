//! What the oracles say of a warehouse, outside of the measured time.

use std::path::Path;

use serde_json::Value;

use super::TABLE;
use crate::Outcome;
use crate::servers::{Programs, catalog};

/// Demands that silver.trades is the fold of its bronze table, read by DuckDB and PyIceberg; its figures.
///
/// # Errors
/// When it is not, or cannot be judged.
pub fn demand_fold(programs: &Programs, folder: &Path) -> Outcome<Value> {
    let answer = ask(
        programs,
        "silver.py",
        folder,
        &["--bronze", "bronze.raw_trades", "--silver", TABLE],
    )?;
    Ok(answer["tables"][TABLE].clone())
}

/// Asks an oracle about the catalog of `folder`, and demands that it finds nothing wrong.
///
/// # Errors
/// What it found, or why it could not judge.
pub fn ask(programs: &Programs, name: &str, folder: &Path, arguments: &[&str]) -> Outcome<Value> {
    let output = programs.oracle(name).arg(catalog(folder)).args(arguments).output()?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr)))?;
    if !output.status.success() {
        return Err(format!("{name}: the table is wrong: {}", answer["violations"]).into());
    }
    Ok(answer)
}

/// What a node that has caught up says of silver.trades.
///
/// # Errors
/// When it says nothing of it.
pub fn said_of_silver(stdout: &str) -> Outcome<Value> {
    let said: Value = serde_json::from_str(stdout)?;
    let tables = said["silver"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = tables.iter().find(|table| table["table"] == TABLE);
    Ok(found.ok_or("the node says nothing of silver.trades")?.clone())
}

//! What can be seen of silver.trades from outside while a node writes it: its newest metadata file.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// silver.trades at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Sequence number of its newest snapshot.
    pub commits: u64,
    /// Records of the topic that are merged.
    pub merged: u64,
    /// Data files and delete files.
    pub files: u64,
    /// Size of the metadata file.
    pub metadata_bytes: u64,
    /// Files beside it.
    pub metadata_files: usize,
}

/// Looks at the table of `folder`'s node; `None` before its first commit, or where the file is replaced at that moment.
pub fn look(folder: &Path) -> Option<Seen> {
    let folder = folder.join("warehouse/silver/trades/metadata");
    let version = fs::read_to_string(folder.join("version-hint.text")).ok()?;
    let text = fs::read(folder.join(format!("{version}.metadata.json"))).ok()?;
    let metadata: Value = serde_json::from_slice(&text).ok()?;
    let state: Value = serde_json::from_str(metadata["properties"]["tapehouse.state"].as_str()?).ok()?;
    let merged = state["next"]["0"].as_object()?;
    let current = metadata["current-snapshot-id"].as_i64()?;
    let mut snapshots = metadata["snapshots"].as_array()?.iter();
    let snapshot = snapshots.find(|snapshot| snapshot["snapshot-id"].as_i64() == Some(current))?;
    let total = |name: &str| snapshot["summary"][name].as_str()?.parse::<u64>().ok();
    Some(Seen {
        commits: metadata["last-sequence-number"].as_u64()?,
        merged: merged.values().filter_map(Value::as_u64).sum(),
        files: total("total-data-files")? + total("total-delete-files").unwrap_or_default(),
        metadata_bytes: text.len() as u64,
        metadata_files: fs::read_dir(&folder).ok()?.count(),
    })
}

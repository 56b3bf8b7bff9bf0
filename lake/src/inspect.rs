//! What a table looks like, for people and for the command line.

use std::collections::BTreeMap;

use iceberg::spec::{MAIN_BRANCH, SnapshotRef};
use serde::Serialize;
use tapehouse_core::state::{STATE_PROPERTY, StreamState};

use crate::table::LoadedTable;

/// A table at a glance. Numbers come from the current snapshot's summary; `None` where it does not say.
#[derive(Clone, Debug, Serialize)]
pub struct TableSummary {
    /// Full name.
    pub table: String,
    /// The table's folder, as a URI.
    pub location: String,
    /// Location of the current metadata file.
    pub metadata_location: String,
    /// Size of the metadata file, in bytes.
    pub metadata_bytes: u64,
    /// Id of the current schema.
    pub schema_id: i32,
    /// Number of top-level columns.
    pub columns: usize,
    /// Rows.
    pub rows: Option<u64>,
    /// Data files.
    pub files: Option<u64>,
    /// Size of all files, in bytes.
    pub bytes: Option<u64>,
    /// Files of position or equality deletes; bronze has none.
    pub delete_files: Option<u64>,
    /// Retained snapshots.
    pub snapshots: usize,
    /// Tags and branches other than `main`.
    pub refs: Vec<String>,
    /// The current snapshot; `None` before the first.
    pub last_commit: Option<SnapshotInfo>,
    /// Recorded offsets, if the table has any that can be believed.
    pub state: Option<StreamState>,
    /// Why the recorded offsets cannot be used.
    pub state_error: Option<String>,
}

/// A snapshot as its metadata tells it.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotInfo {
    /// Its id.
    pub snapshot_id: i64,
    /// The snapshot before it.
    pub parent_snapshot_id: Option<i64>,
    /// Its place in the table's history.
    pub sequence_number: i64,
    /// When it was committed, in milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: i64,
    /// append, overwrite, replace or delete.
    pub operation: String,
    /// Whether Tapehouse committed it.
    pub own: bool,
    /// The summary's other entries.
    pub summary: BTreeMap<String, String>,
}

impl From<&SnapshotRef> for SnapshotInfo {
    fn from(snapshot: &SnapshotRef) -> Self {
        let summary = snapshot.summary();
        Self {
            snapshot_id: snapshot.snapshot_id(),
            parent_snapshot_id: snapshot.parent_snapshot_id(),
            sequence_number: snapshot.sequence_number(),
            timestamp_ms: snapshot.timestamp_ms(),
            operation: summary.operation.as_str().to_owned(),
            own: summary.additional_properties.contains_key(STATE_PROPERTY),
            summary: summary.additional_properties.clone().into_iter().collect(),
        }
    }
}

impl LoadedTable {
    /// The table at a glance.
    pub fn summary(&self) -> TableSummary {
        let metadata = self.metadata();
        let last_commit = metadata.current_snapshot().map(SnapshotInfo::from);
        let total = |key: &str| match &last_commit {
            None => Some(0),
            Some(last) => last.summary.get(key).and_then(|text| text.parse().ok()),
        };
        let (state, state_error) = self.consumed();
        TableSummary {
            table: self.ident().to_string(),
            location: metadata.location().to_owned(),
            metadata_location: self.metadata_location().to_owned(),
            metadata_bytes: self.metadata_bytes(),
            schema_id: metadata.current_schema_id(),
            columns: metadata.current_schema().as_struct().fields().len(),
            rows: self.live_rows(),
            files: total("total-data-files"),
            bytes: total("total-files-size"),
            delete_files: total("total-delete-files"),
            snapshots: metadata.snapshots().len(),
            refs: self
                .refs()
                .keys()
                .filter(|name| *name != MAIN_BRANCH)
                .cloned()
                .collect(),
            last_commit,
            state,
            state_error,
        }
    }

    /// How far the table has consumed its topic, or why that is not known; neither of a table that is merged from another one.
    pub fn consumed(&self) -> (Option<StreamState>, Option<String>) {
        match self.stream_state() {
            Ok(state) => (Some(state), None),
            Err(_) if self.merge_state().is_ok() || self.quarantine_state().is_ok() => (None, None),
            Err(error) => (None, Some(error.to_string())),
        }
    }

    /// Rows that are not deleted, as the current snapshot's summary counts them; `None` where it does not.
    pub fn live_rows(&self) -> Option<u64> {
        let Some(snapshot) = self.metadata().current_snapshot() else {
            return Some(0);
        };
        let total = |key: &str| snapshot.summary().additional_properties.get(key)?.parse::<u64>().ok();
        let deleted = total("total-position-deletes").unwrap_or(0);
        Some(total("total-records")?.saturating_sub(deleted))
    }

    /// The newest `limit` snapshots of the current history, newest first.
    pub fn history(&self, limit: usize) -> Vec<SnapshotInfo> {
        self.ancestry().take(limit).map(SnapshotInfo::from).collect()
    }
}

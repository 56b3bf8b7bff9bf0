//! Append of staged files: the one user of the commit layer that ingest needs.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use iceberg::spec::DataFile;
use tapehouse_core::append::{AppendDecision, AppendRequest, RefuseReason, decide};
use tapehouse_core::failpoint;
use tapehouse_core::offsets::{Offset, PartitionId};
use tapehouse_core::state::{STATE_PROPERTY, StreamState};
use uuid::Uuid;

use super::change::demand_schema;
use super::{Change, CommitOutcome, Planned, SnapshotChange};
use crate::error::CommitError;
use crate::lake::Lake;
use crate::name::TableName;
use crate::table::LoadedTable;

/// Table property with the first offset ever read of each partition: JSON `{"INCARNATION":{"PARTITION":OFFSET}}`.
pub const FIRST_OFFSETS_PROPERTY: &str = "tapehouse.first-offsets";

/// Keys of a snapshot's summary that more than one part of the program knows.
pub mod keys {
    /// Rows that could not be decoded; who stages the rows says how many.
    pub const UNDECODABLE: &str = "tapehouse.undecodable";
    /// The commit's id: tells an attempt whose answer was lost from one that did not happen.
    pub const COMMIT_ID: &str = "tapehouse.commit-id";
    /// The Kafka topic.
    pub const TOPIC: &str = "tapehouse.topic";
    /// Incarnation of the topic.
    pub const INCARNATION: &str = "tapehouse.incarnation";
    /// Ranges covered: JSON `{"PARTITION":[START,END]}`.
    pub const RANGES: &str = "tapehouse.ranges";
    /// Present on snapshots that change the recorded offsets without rows: adopt-topic, accept-gap, take-over or rebuild.
    pub const STATE_CHANGE: &str = "tapehouse.state-change";
    /// Beside it: why, for people.
    pub const REASON: &str = "tapehouse.reason";
    /// Beside it: offsets passed over, JSON `{"PARTITION":[START,END]}`.
    pub const GAPS: &str = "tapehouse.gaps";
}

/// First offset read by incarnation and partition.
pub type FirstOffsets = BTreeMap<i32, BTreeMap<PartitionId, Offset>>;

/// Files that are written and durable, and what they cover.
#[derive(Clone, Debug)]
pub struct StagedAppend {
    /// The files. None is allowed: ranges may hold no visible record.
    pub files: Vec<DataFile>,
    /// What the files cover.
    pub request: AppendRequest,
    /// Entries for the summary.
    pub summary: BTreeMap<String, String>,
    /// Names this staged set, also over retries: with the same id it is never committed twice.
    pub commit_id: Uuid,
    /// The table's schema that the files were written with.
    pub schema_id: i32,
}

/// Outcome of [`Lake::append`].
#[derive(Clone, Debug)]
pub enum AppendOutcome {
    /// The files are in the table.
    Committed {
        /// The snapshot.
        snapshot_id: i64,
        /// Its sequence number.
        sequence_number: i64,
        /// The table as committed.
        table: LoadedTable,
        /// Attempts made; more than one means that others committed meanwhile.
        attempts: u32,
    },
    /// All of the ranges were in the table before; the files are not needed.
    AlreadyCommitted {
        /// What the table records.
        state: StreamState,
    },
    /// The ranges do not continue what the table records: read Kafka again from there.
    Refused {
        /// Why.
        reason: RefuseReason,
        /// What the table records.
        state: StreamState,
    },
}

/// Why an append had nothing to commit.
#[derive(Clone, Debug)]
pub enum NotAppended {
    /// All of it was committed before; with what the table records.
    Already(StreamState),
    /// It does not continue what the table records.
    Refused(RefuseReason, StreamState),
}

impl Lake {
    /// Appends a staged set, whole or not at all: only if each of its ranges starts at the offset that the table records.
    ///
    /// # Errors
    /// [`CommitError`]. On a retryable one, call again with the same `staged`.
    pub async fn append(&self, ident: &TableName, staged: &StagedAppend) -> Result<AppendOutcome, CommitError> {
        Ok(match self.commit(ident, staged.commit_id, staged).await? {
            CommitOutcome::Committed(committed) => AppendOutcome::Committed {
                snapshot_id: committed.snapshot_id,
                sequence_number: committed.sequence_number,
                table: committed.table,
                attempts: committed.attempts,
            },
            CommitOutcome::Done(NotAppended::Already(state)) => AppendOutcome::AlreadyCommitted { state },
            CommitOutcome::Done(NotAppended::Refused(reason, state)) => AppendOutcome::Refused { reason, state },
        })
    }
}

#[async_trait]
impl Change for StagedAppend {
    type Done = NotAppended;

    async fn plan(
        &self,
        base: &LoadedTable,
        snapshot_id: i64,
        retried_blindly: bool,
    ) -> Result<Planned<NotAppended>, CommitError> {
        let invalid = CommitError::validation(base.ident());
        demand_schema(base, "staged", self.schema_id)?;
        let state = base.stream_state().map_err(|error| invalid(error.to_string()))?;
        let permit = match check(&state, &self.request, retried_blindly) {
            AppendDecision::Accept(permit) => permit,
            AppendDecision::AlreadyCommitted => return Ok(Planned::Done(NotAppended::Already(state))),
            AppendDecision::Refuse(reason) => return Ok(Planned::Done(NotAppended::Refused(reason, state))),
        };
        let mut first = first_offsets(base).map_err(|error| invalid(error.to_string()))?;
        let mut change = SnapshotChange::append(self.files.clone());
        if note_first_offsets(&mut first, &self.request) {
            let text = serde_json::to_string(&first).map_err(|error| invalid(error.to_string()))?;
            change.properties.insert(FIRST_OFFSETS_PROPERTY.to_owned(), text);
        }
        let ranges = serde_json::to_string(&self.request.ranges).map_err(|error| invalid(error.to_string()))?;
        let state = permit.into_state(snapshot_id).to_json();
        change.summary = self.summary.clone();
        change.summary.extend([
            (keys::TOPIC.to_owned(), self.request.topic.clone()),
            (keys::INCARNATION.to_owned(), self.request.incarnation.to_string()),
            (keys::RANGES.to_owned(), ranges),
            (STATE_PROPERTY.to_owned(), state.clone()),
        ]);
        change
            .properties
            .extend(HashMap::from([(STATE_PROPERTY.to_owned(), state)]));
        Ok(Planned::Commit(Box::new(change)))
    }
}

fn check(state: &StreamState, request: &AppendRequest, retried_blindly: bool) -> AppendDecision {
    #[cfg(feature = "chaos")]
    if retried_blindly || failpoint::defence_is_off("contiguity") {
        return tapehouse_core::append::accept_unchecked(state, request);
    }
    let _ = (retried_blindly, failpoint::defence_is_off("contiguity"));
    decide(state, request)
}

/// Notes where partitions were begun that are not yet known; whether there were any.
fn note_first_offsets(first: &mut FirstOffsets, request: &AppendRequest) -> bool {
    let known = first.entry(request.incarnation).or_default();
    let before = known.len();
    for (partition, range) in &request.ranges.0 {
        known.entry(*partition).or_insert(range.start);
    }
    known.len() > before
}

/// The first offset ever read of each partition, as the table records it.
///
/// # Errors
/// When the property is there and cannot be read.
pub fn first_offsets(table: &LoadedTable) -> Result<FirstOffsets, serde_json::Error> {
    match table.metadata().properties().get(FIRST_OFFSETS_PROPERTY) {
        Some(text) => serde_json::from_str(text),
        None => Ok(FirstOffsets::new()),
    }
}

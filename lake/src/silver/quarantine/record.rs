//! Recording rows that were set aside.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use iceberg::spec::{DataFile, Literal, Operation, Struct};
use tapehouse_core::quarantine::{self, Outcome, QuarantineState, RecordDecision, RecordRequest, Recorded};
use tapehouse_core::state::STATE_PROPERTY;
use uuid::Uuid;

use super::columns::{PARTITION, ROW, rows_of};
use super::entry::Entry;
use super::read::belongs;
use super::{QuarantineError, columns, demand_owner, open_or_create};
use crate::commit::{Change, CommitOutcome, Planned, SnapshotChange};
use crate::error::{CommitError, LakeError};
use crate::files::{FileEncoder, FileError, FileLayout, Place, write_file_at};
use crate::lake::Lake;
use crate::silver::SilverTable;
use crate::table::LoadedTable;

/// Rows to be recorded.
#[derive(Clone, Debug)]
pub struct RecordRows {
    /// Names the commit; the same in every attempt.
    pub commit_id: Uuid,
    /// Cluster of Tapehouse that writes.
    pub owner: String,
    /// The silver table.
    pub table: SilverTable,
    /// Of what the rows are the outcome.
    pub request: RecordRequest,
    /// The rows.
    pub entries: Vec<Entry>,
}

/// Why nothing was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRecorded {
    /// All of it is recorded.
    Nothing,
    /// The silver table was rebuilt since it was opened: open it again.
    OtherGeneration {
        /// The recorded generation.
        recorded: u64,
    },
    /// The rows were cleaned without decisions that were made before: clean them again.
    Outdated {
        /// As many are there.
        decisions: u64,
    },
}

/// Records rows, each once: those that are recorded already are left out. Without rows nothing is written, unless there are rows of a
/// former generation of the silver table, which go.
///
/// # Errors
/// [`QuarantineError`]. On a retryable one, call again with the same `rows`.
pub async fn record(lake: &Lake, rows: &RecordRows) -> Result<CommitOutcome<NotRecorded>, QuarantineError> {
    let ident = columns::ident();
    if rows.entries.is_empty() {
        let Some(table) = lake.load(&ident).await? else {
            return Ok(CommitOutcome::Done(NotRecorded::Nothing));
        };
        let state = table.quarantine_state()?;
        let known = state.tables.get(rows.table.name());
        if known.is_none_or(|known| known.generation == rows.request.generation) {
            return Ok(CommitOutcome::Done(NotRecorded::Nothing));
        }
    }
    open_or_create(lake, &rows.owner).await?;
    let change = Recording { lake, rows };
    Ok(lake.commit(&ident, rows.commit_id, &change).await?)
}

/// Lets go of the rows of `table` that are of a former generation of it than `generation`. Whoever merges into it would do so too.
///
/// # Errors
/// [`QuarantineError`].
pub async fn begin_generation(
    lake: &Lake,
    owner: &str,
    table: SilverTable,
    generation: u64,
) -> Result<(), QuarantineError> {
    let rows = RecordRows {
        commit_id: Uuid::new_v4(),
        owner: owner.to_owned(),
        table,
        request: RecordRequest {
            generation,
            // There are no rows that could have been cleaned without knowing them.
            known: u64::MAX,
            of: Outcome::Ranges(BTreeMap::new()),
        },
        entries: Vec::new(),
    };
    record(lake, &rows).await.map(drop)
}

struct Recording<'a> {
    lake: &'a Lake,
    rows: &'a RecordRows,
}

#[async_trait]
impl Change for Recording<'_> {
    type Done = NotRecorded;

    async fn plan(
        &self,
        base: &LoadedTable,
        snapshot_id: i64,
        _retried_blindly: bool,
    ) -> Result<Planned<NotRecorded>, CommitError> {
        let Self { lake, rows } = self;
        let mut state = checked_state(base, &rows.owner)?;
        let name = rows.table.name();
        let recorded: Vec<Recorded> = rows.entries.iter().map(recorded).collect();
        let (next, keep, replaces) = match quarantine::record(&state.of(name), &rows.request, &recorded) {
            RecordDecision::Commit { next, keep, replaces } => (next, keep, replaces),
            RecordDecision::Nothing => return Ok(Planned::Done(NotRecorded::Nothing)),
            RecordDecision::OtherGeneration { recorded } => {
                return Ok(Planned::Done(NotRecorded::OtherGeneration { recorded }));
            }
            RecordDecision::Outdated { decisions } => return Ok(Planned::Done(NotRecorded::Outdated { decisions })),
        };
        let mut removed = HashSet::new();
        if replaces {
            let live = lake.live_files(base).await.map_err(CommitError::fatal(base.ident()))?;
            let files = live.data_files().map(|(file, _)| file);
            let former = files.filter(|file| belongs(file, Some(rows.table), ROW));
            removed.extend(former.map(|file| file.file_path().to_owned()));
        }
        let new: Vec<&Entry> = rows
            .entries
            .iter()
            .zip(&keep)
            .filter(|(_, new)| **new)
            .map(|(entry, _)| entry)
            .collect();
        let mut summary = BTreeMap::from([
            ("tapehouse.quarantine.table".to_owned(), name.to_owned()),
            ("tapehouse.quarantine.rows".to_owned(), new.len().to_string()),
        ]);
        let mut added = Vec::new();
        if !new.is_empty() {
            let encode = |layout: &FileLayout| rows_of(layout.arrow(), &new);
            added.push(write(lake, base, rows.table, ROW, encode).await?);
        }
        state.tables.insert(name.to_owned(), next);
        Ok(Planned::Commit(Box::new(change(
            state,
            snapshot_id,
            added,
            removed,
            &mut summary,
        ))))
    }
}

fn recorded(entry: &Entry) -> Recorded {
    Recorded {
        coordinates: entry.id.coordinates,
        decision: entry.after_decision,
    }
}

/// The state of `base`, if it is `owner`'s.
pub(super) fn checked_state(base: &LoadedTable, owner: &str) -> Result<QuarantineState, CommitError> {
    let invalid = CommitError::validation(base.ident());
    let state = base.quarantine_state().map_err(|error| invalid(error.to_string()))?;
    demand_owner(&state, owner).map_err(|error| invalid(error.to_string()))?;
    Ok(state)
}

/// A snapshot of these files, with the state in it.
pub(super) fn change(
    state: QuarantineState,
    snapshot_id: i64,
    added: Vec<DataFile>,
    removed: HashSet<String>,
    summary: &mut BTreeMap<String, String>,
) -> SnapshotChange {
    let state = QuarantineState {
        snapshot: snapshot_id,
        ..state
    };
    let state = state.to_json();
    summary.insert(STATE_PROPERTY.to_owned(), state.clone());
    SnapshotChange {
        operation: match removed.is_empty() {
            true => Operation::Append,
            false => Operation::Overwrite,
        },
        added,
        removed,
        data_sequence_number: None,
        summary: std::mem::take(summary),
        properties: HashMap::from([(STATE_PROPERTY.to_owned(), state)]),
    }
}

/// Writes one file of the partition, durably.
pub(super) async fn write(
    lake: &Lake,
    base: &LoadedTable,
    table: SilverTable,
    kind: &'static str,
    rows: impl FnOnce(&FileLayout) -> Result<RecordBatch, arrow_schema::ArrowError>,
) -> Result<DataFile, CommitError> {
    let fatal = || CommitError::fatal(base.ident());
    let metadata = base.metadata();
    let layout = FileLayout::new(metadata.current_schema().clone(), PARTITION[0])
        .map_err(LakeError::iceberg("reading the schema"))
        .map_err(fatal())?;
    let failed = |error: FileError| match error {
        FileError::Write(error) => CommitError::fatal(base.ident())(error),
        FileError::Encode(source) => CommitError::validation(base.ident())(source.to_string()),
    };
    let rows = rows(&layout).map_err(|error| CommitError::validation(base.ident())(error.to_string()))?;
    // The date is that of no column: the table is not partitioned by one.
    let mut encoder = FileEncoder::open(&layout, 0, &rows).map_err(failed)?;
    encoder.push(&rows).map_err(failed)?;
    let file = encoder.finish().map_err(failed)?;
    let (location, spec_id) = (metadata.location(), metadata.default_partition_spec_id());
    let batch = lake.warehouse().batch(location);
    let place = Place {
        path: format!(
            "{location}/data/{}={}/{}={kind}/{}.parquet",
            PARTITION[0],
            table.name(),
            PARTITION[1],
            Uuid::now_v7()
        ),
        partition: Struct::from_iter([Some(Literal::string(table.name())), Some(Literal::string(kind))]),
    };
    let written = write_file_at(&batch, spec_id, file, place).await.map_err(failed)?;
    batch.finish().await.map_err(fatal())?;
    Ok(written)
}

//! Row delta: new rows, and position deletes for the rows that they replace, in one snapshot.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use iceberg::spec::{DataFile, Operation};
use tapehouse_core::failpoint;
use tapehouse_core::merge::{MergeDecision, MergeRefusal, MergeRequest, MergeState, decide};
use tapehouse_core::state::STATE_PROPERTY;
use uuid::Uuid;

use super::change::demand_schema;
use super::live::LiveFiles;
use super::{Change, CommitOutcome, Planned, SnapshotChange, keys};
use crate::error::CommitError;
use crate::lake::Lake;
use crate::name::TableName;
use crate::table::LoadedTable;

/// Position deletes for one data file: all of its deleted rows, those of before included.
#[derive(Clone, Debug)]
pub struct FileDeletes {
    /// The delete file.
    pub file: DataFile,
    /// Location of the data file that it is for.
    pub data_file: String,
    /// The data file's delete file so far, which this one takes the place of.
    pub replaces: Option<String>,
}

/// Outcome of a merge, staged for the commit.
#[derive(Clone, Debug)]
pub struct RowDelta {
    /// Names the commit; the same in every attempt.
    pub commit_id: Uuid,
    /// Snapshot in which the rows' keys were looked up; `None` of a table that had none.
    pub base: Option<i64>,
    /// Schema that the files were written with.
    pub schema_id: i32,
    /// New data files, under the table's default partition spec.
    pub added: Vec<DataFile>,
    /// Deletes, at most one for each data file.
    pub deletes: Vec<FileDeletes>,
    /// What of bronze this is the outcome of.
    pub request: MergeRequest,
    /// Additional entries of the summary.
    pub summary: BTreeMap<String, String>,
}

/// Why a merge had nothing to commit.
#[derive(Clone, Debug)]
pub enum NotMerged {
    /// All of it was merged before.
    Already(MergeState),
    /// It does not continue what the table records.
    Refused(MergeRefusal, MergeState),
    /// Somebody else has committed since the keys were looked up, and may have added a row of one of them: look again.
    OtherBase {
        /// Where they were looked up.
        expected: Option<i64>,
        /// The current snapshot.
        found: Option<i64>,
    },
    /// The table's files are not those that the index knows: look again.
    Moved(MovedFile),
}

/// A data file that is not as it was when its rows were looked up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MovedFile {
    /// It is no longer live.
    #[error("data file {0} is no longer in the table")]
    Gone(String),
    /// It has other deletes than those that were taken into account.
    #[error("data file {data_file} has the deletes {found:?}, not {expected:?}")]
    OtherDeletes {
        /// The data file.
        data_file: String,
        /// Its delete file as it was.
        expected: Option<String>,
        /// Its delete files now.
        found: Vec<String>,
    },
}

/// Whether `deletes` may take the place of what each data file has now. So a data file never has more than one delete
/// file, and no row that was deleted comes back.
pub(super) fn check_deletes<'a>(
    live: &LiveFiles,
    deletes: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<(), MovedFile> {
    for (data_file, expected) in deletes {
        if live.data_file(data_file).is_none() {
            return Err(MovedFile::Gone(data_file.to_owned()));
        }
        let mut found = live.deletes_of(data_file).map(DataFile::file_path);
        let as_expected = match expected {
            None => found.next().is_none(),
            Some(expected) => found.next() == Some(expected) && found.next().is_none(),
        };
        if !as_expected {
            return Err(MovedFile::OtherDeletes {
                data_file: data_file.to_owned(),
                expected: expected.map(str::to_owned),
                found: live
                    .deletes_of(data_file)
                    .map(|file| file.file_path().to_owned())
                    .collect(),
            });
        }
    }
    Ok(())
}

impl Lake {
    /// Commits a merge, whole or not at all: only if its ranges continue the table's cursor and its deletes are for the files
    /// that are live.
    ///
    /// # Errors
    /// [`CommitError`]. On a retryable one, call again with the same `delta`.
    pub async fn merge(&self, ident: &TableName, delta: &RowDelta) -> Result<CommitOutcome<NotMerged>, CommitError> {
        self.commit(ident, delta.commit_id, &Staged { lake: self, delta }).await
    }
}

fn check(state: &MergeState, request: &MergeRequest) -> MergeDecision {
    #[cfg(feature = "chaos")]
    if failpoint::defence_is_off("merge_base") {
        return tapehouse_core::merge::accept_unchecked(state, request);
    }
    decide(state, request)
}

struct Staged<'a> {
    lake: &'a Lake,
    delta: &'a RowDelta,
}

#[async_trait]
impl Change for Staged<'_> {
    type Done = NotMerged;

    async fn plan(
        &self,
        base: &LoadedTable,
        snapshot_id: i64,
        _retried_blindly: bool,
    ) -> Result<Planned<NotMerged>, CommitError> {
        let Self { lake, delta } = self;
        let invalid = CommitError::validation(base.ident());
        demand_schema(base, "merged", delta.schema_id)?;
        let state = base.merge_state().map_err(|error| invalid(error.to_string()))?;
        let permit = match check(&state, &delta.request) {
            MergeDecision::Accept(permit) => permit,
            MergeDecision::AlreadyMerged => return Ok(Planned::Done(NotMerged::Already(state))),
            MergeDecision::Refuse(reason) => return Ok(Planned::Done(NotMerged::Refused(reason, state))),
        };
        let found = base.metadata().current_snapshot_id();
        if found != delta.base && !failpoint::defence_is_off("merge_base") {
            let expected = delta.base;
            return Ok(Planned::Done(NotMerged::OtherBase { expected, found }));
        }
        if !delta.deletes.is_empty() {
            let live = lake.live_files(base).await.map_err(CommitError::fatal(base.ident()))?;
            let expected = delta.deletes.iter();
            let expected = expected.map(|deletes| (deletes.data_file.as_str(), deletes.replaces.as_deref()));
            if let Err(moved) = check_deletes(&live, expected) {
                return Ok(Planned::Done(NotMerged::Moved(moved)));
            }
        }
        let ranges = serde_json::to_string(&delta.request.ranges).map_err(|error| invalid(error.to_string()))?;
        let state = permit.into_state(snapshot_id).to_json();
        let mut summary = delta.summary.clone();
        summary.extend([
            (keys::RANGES.to_owned(), ranges),
            (STATE_PROPERTY.to_owned(), state.clone()),
        ]);
        let deletes = || delta.deletes.iter();
        Ok(Planned::Commit(Box::new(SnapshotChange {
            operation: match delta.deletes.is_empty() {
                true => Operation::Append,
                false => Operation::Overwrite,
            },
            added: delta
                .added
                .iter()
                .chain(deletes().map(|deletes| &deletes.file))
                .cloned()
                .collect(),
            removed: deletes().filter_map(|deletes| deletes.replaces.clone()).collect(),
            data_sequence_number: None,
            summary,
            properties: HashMap::from([(STATE_PROPERTY.to_owned(), state)]),
        })))
    }
}

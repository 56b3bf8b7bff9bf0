//! Rewrite: the same rows in other files. What a table holds does not change, and so neither does how far it has consumed.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use iceberg::spec::{DataFile, Operation};
use tapehouse_core::state::STATE_PROPERTY;
use uuid::Uuid;

use super::row_delta::{FileDeletes, MovedFile, check_deletes};
use super::{Change, CommitOutcome, Planned, SnapshotChange};
use crate::error::CommitError;
use crate::lake::Lake;
use crate::name::TableName;
use crate::table::LoadedTable;

/// A data file that is rewritten.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// Its location.
    pub data_file: String,
    /// Its delete file: its rows are not in the outputs, or deleted there.
    pub delete_file: Option<String>,
}

/// Files that take the place of others.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// Names the commit; the same in every attempt.
    pub commit_id: Uuid,
    /// The files that go, with their deletes.
    pub inputs: Vec<Rewritten>,
    /// The files that come: all rows of the inputs that are not deleted.
    pub outputs: Vec<DataFile>,
    /// Deletes for the outputs: of rows that were deleted in the inputs after these had been read.
    pub deletes: Vec<FileDeletes>,
    /// Additional entries of the summary.
    pub summary: BTreeMap<String, String>,
}

impl Lake {
    /// Commits a rewrite, whole or not at all. The highest sequence number among a partition's files, data and deletes, is the same before and
    /// after: a day's version tells whether its rows have changed. Only if all inputs are live and have the deletes that were applied. An input that is
    /// not as it was when it was read is [`CommitOutcome::Done`]: rows that were deleted meanwhile would come back.
    ///
    /// # Errors
    /// [`CommitError`]; [`CommitError::Validation`] when the outputs do not hold as many rows as the inputs.
    pub async fn rewrite(&self, ident: &TableName, rewrite: &Rewrite) -> Result<CommitOutcome<MovedFile>, CommitError> {
        self.commit(ident, rewrite.commit_id, &Staged { lake: self, rewrite })
            .await
    }
}

struct Staged<'a> {
    lake: &'a Lake,
    rewrite: &'a Rewrite,
}

#[async_trait]
impl Change for Staged<'_> {
    type Done = MovedFile;

    async fn plan(
        &self,
        base: &LoadedTable,
        snapshot_id: i64,
        _retried_blindly: bool,
    ) -> Result<Planned<MovedFile>, CommitError> {
        let Self { lake, rewrite } = self;
        let invalid = CommitError::validation(base.ident());
        let live = lake.live_files(base).await.map_err(CommitError::fatal(base.ident()))?;
        // Of no single data file: what they delete is not known here.
        if let Some(other) = live.other_deletes().next() {
            return Err(invalid(format!(
                "delete file {} is not of one data file",
                other.file_path()
            )));
        }
        let inputs = rewrite.inputs.iter();
        let inputs = inputs.map(|input| (input.data_file.as_str(), input.delete_file.as_deref()));
        if let Err(moved) = check_deletes(&live, inputs) {
            return Ok(Planned::Done(moved));
        }
        let (mut rows, mut data_sequence_number) = (0, 0);
        let mut removed = HashSet::new();
        for input in &rewrite.inputs {
            let location = input.data_file.as_str();
            let deleted: u64 = live.deletes_of(location).map(DataFile::record_count).sum();
            rows += live.data_file(location).map_or(0, DataFile::record_count) - deleted;
            data_sequence_number = data_sequence_number.max(live.version_of(location).unwrap_or_default());
            removed.insert(input.data_file.clone());
            removed.extend(input.delete_file.clone());
        }
        // Deletes that are committed with the outputs take rows away that are deleted in the inputs by now.
        let written: u64 = rewrite.outputs.iter().map(DataFile::record_count).sum();
        let deleted: u64 = rewrite.deletes.iter().map(|deletes| deletes.file.record_count()).sum();
        let written = written.saturating_sub(deleted);
        if written != rows {
            return Err(invalid(format!(
                "the rewritten files hold {written} rows, their inputs {rows}"
            )));
        }
        let deletes = rewrite.deletes.iter().map(|deletes| &deletes.file);
        let (mut summary, mut properties) = (rewrite.summary.clone(), HashMap::new());
        // Carried on: the snapshot that carried it so far may be dropped before anything else is committed.
        if let Some(state) = base
            .state_for(snapshot_id)
            .map_err(|error| invalid(error.to_string()))?
        {
            summary.insert(STATE_PROPERTY.to_owned(), state.clone());
            properties.insert(STATE_PROPERTY.to_owned(), state);
        }
        Ok(Planned::Commit(Box::new(SnapshotChange {
            operation: Operation::Replace,
            added: rewrite.outputs.iter().chain(deletes).cloned().collect(),
            removed,
            data_sequence_number: Some(data_sequence_number),
            summary,
            properties,
        })))
    }
}

//! Overwrite: whole days of a derived table are replaced, atomically, together with what they were computed from.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use iceberg::spec::{DataFile, Operation};
use tapehouse_core::derive::{DeriveDecision, DeriveRefusal, DeriveRequest, DerivedState, decide};
use tapehouse_core::failpoint;
use tapehouse_core::state::STATE_PROPERTY;
use uuid::Uuid;

use super::change::demand_schema;
use super::{Change, CommitOutcome, Planned, SnapshotChange};
use crate::days::{DAYS_KEY, days_text, demand_date_partition, partition_date};
use crate::error::CommitError;
use crate::lake::Lake;
use crate::name::TableName;
use crate::table::LoadedTable;

/// Days that were computed anew.
#[derive(Clone, Debug)]
pub struct Overwrite {
    /// Names the commit; the same in every attempt.
    pub commit_id: Uuid,
    /// Schema that the files were written with.
    pub schema_id: i32,
    /// The new files of each day whose rows are other ones than before, by days since 1970-01-01; none of a day that is empty now. Days
    /// whose rows did not change are not here, and keep their files.
    pub days: BTreeMap<i32, Vec<DataFile>>,
    /// Whether days with other rows replace what is there though it rests on the same inputs already.
    pub is_deliberate: bool,
    /// What all computed days rest on, those without a change included.
    pub request: DeriveRequest,
    /// Additional entries of the summary.
    pub summary: BTreeMap<String, String>,
}

/// Why an overwrite had nothing to commit.
#[derive(Clone, Debug)]
pub enum NotOverwritten {
    /// The table rests on exactly these inputs already.
    Unchanged(DerivedState),
    /// It rests on newer ones, or belongs to somebody else.
    Refused(DeriveRefusal),
}

impl Lake {
    /// Commits an overwrite, whole or not at all: only if none of its inputs is older than those that the table rests on. Readers see
    /// the old rows of all these days, or the new ones.
    ///
    /// # Errors
    /// [`CommitError`]. On a retryable one, call again with the same `overwrite`.
    pub async fn overwrite(
        &self,
        ident: &TableName,
        overwrite: &Overwrite,
    ) -> Result<CommitOutcome<NotOverwritten>, CommitError> {
        let staged = Staged { lake: self, overwrite };
        self.commit(ident, overwrite.commit_id, &staged).await
    }
}

struct Staged<'a> {
    lake: &'a Lake,
    overwrite: &'a Overwrite,
}

impl Staged<'_> {
    /// All live files of the days that are replaced, as they are now.
    async fn removed(&self, base: &LoadedTable) -> Result<HashSet<String>, CommitError> {
        let live = self.lake.live_files(base).await;
        let live = live.map_err(CommitError::fatal(base.ident()))?;
        let is_replaced =
            |file: &DataFile| partition_date(file).is_some_and(|date| self.overwrite.days.contains_key(&date));
        let mut removed = HashSet::new();
        for (file, _) in live.data_files().filter(|(file, _)| is_replaced(file)) {
            removed.insert(file.file_path().to_owned());
            let deletes = live.deletes_of(file.file_path());
            removed.extend(deletes.map(|deletes| deletes.file_path().to_owned()));
        }
        let others = live.other_deletes().filter(|file| is_replaced(file));
        removed.extend(others.map(|file| file.file_path().to_owned()));
        Ok(removed)
    }
}

#[async_trait]
impl Change for Staged<'_> {
    type Done = NotOverwritten;

    async fn plan(
        &self,
        base: &LoadedTable,
        snapshot_id: i64,
        _retried_blindly: bool,
    ) -> Result<Planned<NotOverwritten>, CommitError> {
        let overwrite = self.overwrite;
        let invalid = CommitError::validation(base.ident());
        demand_schema(base, "computed", overwrite.schema_id)?;
        demand_date_partition(base).map_err(|error| invalid(error.to_string()))?;
        for (day, file) in overwrite
            .days
            .iter()
            .flat_map(|(day, files)| files.iter().map(move |file| (day, file)))
        {
            if partition_date(file) != Some(*day) {
                return Err(invalid(format!("{} is no file of day {day}", file.file_path())));
            }
        }
        let state = base.derived_state().map_err(|error| invalid(error.to_string()))?;
        let state = match decide(&state, &overwrite.request) {
            DeriveDecision::Accept(permit) => permit.into_state(snapshot_id),
            DeriveDecision::Unchanged if overwrite.is_deliberate && !overwrite.days.is_empty() => {
                state.with_snapshot(snapshot_id)
            }
            DeriveDecision::Unchanged => return Ok(Planned::Done(NotOverwritten::Unchanged(state))),
            #[cfg(feature = "chaos")]
            DeriveDecision::Refuse(DeriveRefusal::Stale { .. }) if failpoint::defence_is_off("input_version") => {
                state.with_snapshot(snapshot_id)
            }
            DeriveDecision::Refuse(refusal) => return Ok(Planned::Done(NotOverwritten::Refused(refusal))),
        };
        let _ = failpoint::defence_is_off("input_version");
        let removed = self.removed(base).await?;
        let state = state.to_json();
        let mut summary = overwrite.summary.clone();
        let days = overwrite.days.keys().copied().collect();
        summary.insert(DAYS_KEY.to_owned(), days_text(&days));
        summary.insert(STATE_PROPERTY.to_owned(), DerivedState::digest(&state));
        Ok(Planned::Commit(Box::new(SnapshotChange {
            operation: match removed.is_empty() {
                true => Operation::Append,
                false => Operation::Overwrite,
            },
            added: overwrite.days.values().flatten().cloned().collect(),
            removed,
            data_sequence_number: None,
            summary,
            properties: HashMap::from([(STATE_PROPERTY.to_owned(), state)]),
        })))
    }
}

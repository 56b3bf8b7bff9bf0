//! Rebuild of a merged table: all its files go, and it is merged from its source again.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use iceberg::spec::Operation;
use tapehouse_core::merge::MergeState;
use tapehouse_core::state::STATE_PROPERTY;
use uuid::Uuid;

use super::{Change, CommitOutcome, Committed, Planned, SnapshotChange, keys};
use crate::error::CommitError;
use crate::lake::Lake;
use crate::name::TableName;
use crate::table::LoadedTable;

/// What a table is to be merged from, and by which rules, from its beginning.
#[derive(Clone, Debug)]
pub struct Reset {
    /// Cluster of Tapehouse that writes.
    pub owner: String,
    /// The bronze table.
    pub source: String,
    /// Version of the cleaning rules.
    pub rules: u32,
    /// Why, for people; kept in the snapshot's summary.
    pub reason: String,
}

impl Lake {
    /// Empties a merged table: its cursor and its decisions begin anew, its generation is the next. The snapshot before stays readable
    /// until it expires. What the table recorded need not be readable.
    ///
    /// # Errors
    /// [`CommitError`]; [`CommitError::Validation`] where the table is another cluster's.
    pub async fn reset_merged(&self, ident: &TableName, reset: &Reset) -> Result<Committed, CommitError> {
        match self
            .commit(ident, Uuid::new_v4(), &Resetting { lake: self, reset })
            .await?
        {
            CommitOutcome::Committed(committed) => Ok(committed),
            CommitOutcome::Done(never) => match never {},
        }
    }
}

struct Resetting<'a> {
    lake: &'a Lake,
    reset: &'a Reset,
}

#[async_trait]
impl Change for Resetting<'_> {
    type Done = std::convert::Infallible;

    async fn plan(
        &self,
        base: &LoadedTable,
        snapshot_id: i64,
        _retried_blindly: bool,
    ) -> Result<Planned<Self::Done>, CommitError> {
        let Self { lake, reset } = self;
        let recorded: Vec<MergeState> = base.merge_state_hints();
        if let Some(other) = recorded.iter().find(|state| state.owner != reset.owner) {
            return Err(CommitError::validation(base.ident())(format!(
                "the table is written by cluster `{}`, this is `{}`",
                other.owner, reset.owner
            )));
        }
        let live = lake.live_files(base).await.map_err(CommitError::fatal(base.ident()))?;
        let generation = recorded.iter().map(|state| state.generation).max().unwrap_or_default();
        let state = MergeState {
            snapshot: snapshot_id,
            generation: generation + 1,
            ..MergeState::new(&reset.owner, &reset.source, reset.rules)
        };
        let state = state.to_json();
        Ok(Planned::Commit(Box::new(SnapshotChange {
            operation: Operation::Delete,
            added: Vec::new(),
            removed: live.locations().map(str::to_owned).collect(),
            data_sequence_number: None,
            summary: BTreeMap::from([
                (keys::STATE_CHANGE.to_owned(), "rebuild".to_owned()),
                (keys::REASON.to_owned(), reset.reason.clone()),
                (STATE_PROPERTY.to_owned(), state.clone()),
            ]),
            properties: HashMap::from([(STATE_PROPERTY.to_owned(), state)]),
        })))
    }
}

//! Changes of the recorded offsets without rows: what an operator decides (a recreated topic, a gap lost to retention).

use std::collections::HashMap;

use async_trait::async_trait;
use tapehouse_core::state::{STATE_PROPERTY, StreamState};
use uuid::Uuid;

use super::{Change, CommitOutcome, Committed, Planned, SnapshotChange, keys};
use crate::error::CommitError;
use crate::lake::Lake;
use crate::name::TableName;
use crate::table::LoadedTable;

/// A new state for a table, and what it was decided on.
#[derive(Clone, Debug)]
pub struct StateChange {
    /// The state that the decision was made on. If the table records another one by now, the change is refused. `None`: the
    /// recorded state cannot be used, whatever it is it is replaced.
    pub expected: Option<StreamState>,
    /// The new state; its snapshot id is filled in.
    pub next: StreamState,
    /// Why, in the operator's words; kept in the snapshot's summary.
    pub reason: String,
}

impl Lake {
    /// Replaces the recorded offsets by a snapshot of its own without files.
    ///
    /// # Errors
    /// [`CommitError::Validation`] when the table no longer records the expected state.
    pub async fn change_state(&self, ident: &TableName, change: &StateChange) -> Result<Committed, CommitError> {
        match self.commit(ident, Uuid::new_v4(), change).await? {
            CommitOutcome::Committed(committed) => Ok(committed),
            CommitOutcome::Done(never) => match never {},
        }
    }
}

#[async_trait]
impl Change for StateChange {
    type Done = std::convert::Infallible;

    async fn plan(
        &self,
        base: &LoadedTable,
        snapshot_id: i64,
        _retried_blindly: bool,
    ) -> Result<Planned<Self::Done>, CommitError> {
        let invalid = |reason: String| CommitError::Validation {
            table: base.ident().clone(),
            reason,
        };
        if let Some(expected) = &self.expected {
            let recorded = base.stream_state().map_err(|error| invalid(error.to_string()))?;
            if recorded != *expected {
                return Err(invalid(
                    "the recorded offsets changed meanwhile: look again, then decide again".to_owned(),
                ));
            }
        }
        let mut next = self.next.clone();
        next.snapshot = snapshot_id;
        let state = next.to_json();
        let mut change = SnapshotChange::append(Vec::new());
        change.summary.extend([
            (keys::STATE_CHANGE.to_owned(), self.reason.clone()),
            (keys::TOPIC.to_owned(), next.topic.clone()),
            (keys::INCARNATION.to_owned(), next.incarnation.to_string()),
            (STATE_PROPERTY.to_owned(), state.clone()),
        ]);
        change.properties = HashMap::from([(STATE_PROPERTY.to_owned(), state)]);
        Ok(Planned::Commit(Box::new(change)))
    }
}

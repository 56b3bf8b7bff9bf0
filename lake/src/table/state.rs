//! How far a table has consumed its topic, and whether what it says can be believed.

use tapehouse_core::derive::DerivedState;
use tapehouse_core::merge::MergeState;
use tapehouse_core::rebuild::StateHints;
use tapehouse_core::state::{STATE_PROPERTY, StreamState};

use super::LoadedTable;
use crate::name::TableName;

/// The table's recorded offsets cannot be used. Going on would lose or double records, so ingest halts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// There is no `tapehouse.state`.
    #[error("table {table} has no recorded offsets (property {STATE_PROPERTY}){}; {}", if *.has_snapshots { " although it has snapshots" } else { "" }, way_out(.table))]
    Missing {
        /// The table.
        table: TableName,
        /// Whether the table has data.
        has_snapshots: bool,
    },
    /// `tapehouse.state` is no state.
    #[error("table {table}: the recorded offsets (property {STATE_PROPERTY}) cannot be read: {reason}; {}", way_out(.table))]
    Malformed {
        /// The table.
        table: TableName,
        /// What is wrong with it.
        reason: String,
    },
    /// The state belongs to a snapshot that is not beneath the current one: the table was rolled back or restored.
    #[error("table {table}: the recorded offsets belong to snapshot {recorded}, which is not the current snapshot ({}) nor beneath it: the table was rolled back or restored; {}", .current.map_or_else(|| "none".to_owned(), |id| id.to_string()), way_out(.table))]
    NotInHistory {
        /// The table.
        table: TableName,
        /// Snapshot that the state names.
        recorded: i64,
        /// The current snapshot.
        current: Option<i64>,
    },
    /// A newer snapshot, or the state's own, carries another state: the property was changed alone.
    #[error("table {table}: snapshot {snapshot} carries other offsets than the property {STATE_PROPERTY}; {}", way_out(.table))]
    Contradicted {
        /// The table.
        table: TableName,
        /// The snapshot whose summary disagrees.
        snapshot: i64,
    },
}

fn way_out(table: &TableName) -> String {
    format!(
        "`tapehouse offsets rebuild {table}` derives them anew from what the table holds; or make the snapshot current again \
         that they belong to"
    )
}

impl LoadedTable {
    /// What there is to derive recorded offsets from that cannot be believed: the state of the newest snapshot that has one,
    /// and the property.
    pub fn state_hints(&self) -> StateHints {
        let parsed = |text: &String| StreamState::from_json(text).ok();
        StateHints {
            carried: self
                .ancestry()
                .find_map(|snapshot| snapshot.summary().additional_properties.get(STATE_PROPERTY))
                .and_then(parsed),
            property: self.metadata().properties().get(STATE_PROPERTY).and_then(parsed),
        }
    }

    /// The recorded state of a table that is fed from Kafka, if it can be believed: its snapshot is the current one, or lies
    /// beneath it under snapshots of other engines.
    ///
    /// # Errors
    /// [`StateError`] says what is wrong and the way out.
    pub fn stream_state(&self) -> Result<StreamState, StateError> {
        self.recorded(StreamState::from_json, |state| state.snapshot, str::to_owned)
    }

    /// The recorded state of a table that is merged from another one, if it can be believed; as [`LoadedTable::stream_state`].
    ///
    /// # Errors
    /// [`StateError`].
    pub fn merge_state(&self) -> Result<MergeState, StateError> {
        self.recorded(MergeState::from_json, |state| state.snapshot, str::to_owned)
    }

    /// The recorded state of a table that is recomputed a day at a time, if it can be believed; as [`LoadedTable::stream_state`].
    ///
    /// # Errors
    /// [`StateError`].
    pub fn derived_state(&self) -> Result<DerivedState, StateError> {
        self.recorded(DerivedState::from_json, |state| state.snapshot, DerivedState::digest)
    }

    fn recorded<S>(
        &self,
        parse: fn(&str) -> Result<S, serde_json::Error>,
        snapshot_of: fn(&S) -> i64,
        in_summary: fn(&str) -> String,
    ) -> Result<S, StateError> {
        let table = || self.ident().clone();
        let Some(text) = self.metadata().properties().get(STATE_PROPERTY) else {
            return Err(StateError::Missing {
                table: table(),
                has_snapshots: self.metadata().current_snapshot().is_some(),
            });
        };
        let malformed = |reason: serde_json::Error| StateError::Malformed {
            table: table(),
            reason: reason.to_string(),
        };
        let state = parse(text).map_err(malformed)?;
        let recorded = snapshot_of(&state);
        // The newest snapshot that carries a state must be the property's own; snapshots above it are of other engines.
        let newest_own = self
            .ancestry()
            .find_map(|snapshot| Some((snapshot, snapshot.summary().additional_properties.get(STATE_PROPERTY)?)));
        match newest_own {
            None if recorded == 0 => Ok(state),
            Some((own, carried)) if own.snapshot_id() == recorded && *carried == in_summary(text) => Ok(state),
            Some((own, _)) if own.snapshot_id() == recorded || recorded == 0 => Err(StateError::Contradicted {
                table: table(),
                snapshot: own.snapshot_id(),
            }),
            _ => Err(StateError::NotInHistory {
                table: table(),
                recorded,
                current: self.metadata().current_snapshot_id(),
            }),
        }
    }
}

//! How far a table has consumed its topic, and whether what it says can be believed.

use tapehouse_core::derive::DerivedState;
use tapehouse_core::merge::MergeState;
use tapehouse_core::quarantine::QuarantineState;
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

    /// The text of the recorded state as a snapshot `snapshot_id` has to carry it that changes no rows; `None` where there is none. What
    /// carries it must be among the retained snapshots, so that it is carried on by each of Tapehouse's own.
    ///
    /// # Errors
    /// [`StateError`] where it cannot be believed.
    pub fn state_for(&self, snapshot_id: i64) -> Result<Option<String>, StateError> {
        const SNAPSHOT: &str = "snapshot";
        type State = serde_json::Map<String, serde_json::Value>;
        if !self.metadata().properties().contains_key(STATE_PROPERTY) {
            return Ok(None);
        }
        let snapshot_of = |state: &State| state.get(SNAPSHOT).and_then(serde_json::Value::as_i64).unwrap_or(-1);
        let mut state: State = self.recorded(|text| serde_json::from_str(text), snapshot_of, str::to_owned)?;
        state.insert(SNAPSHOT.to_owned(), snapshot_id.into());
        Ok(Some(serde_json::Value::Object(state).to_string()))
    }

    /// What a merged table and its newest snapshot with a state say, whether or not it can be believed.
    pub fn merge_state_hints(&self) -> Vec<MergeState> {
        let carried = self
            .ancestry()
            .find_map(|snapshot| snapshot.summary().additional_properties.get(STATE_PROPERTY));
        let property = self.metadata().properties().get(STATE_PROPERTY);
        let texts = carried.into_iter().chain(property);
        texts.filter_map(|text| MergeState::from_json(text).ok()).collect()
    }

    /// The recorded state of `ops.quarantine`, if it can be believed; as [`LoadedTable::stream_state`].
    ///
    /// # Errors
    /// [`StateError`].
    pub fn quarantine_state(&self) -> Result<QuarantineState, StateError> {
        self.recorded(QuarantineState::from_json, |state| state.snapshot, str::to_owned)
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

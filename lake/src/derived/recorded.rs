//! What a derived table records, compared with its sources.

use std::collections::BTreeSet;
use std::sync::Arc;

use tapehouse_core::derive::SourceState;

use super::day_file::{decoding, is_there};
use super::refresh::Source;
use super::{Derivation, DeriveError, Refresh};

/// What a table records, beside its sources.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The table and its sources; the days are those that are current.
    pub refresh: Refresh,
    /// Days that rest on other sources than there are now: they are about to be computed anew.
    pub others: Vec<i32>,
    /// Sources that are older than what the table rests on: name, recorded and found sequence number.
    pub ahead_of: Vec<(String, i64, i64)>,
}

impl Derivation {
    /// What the table records, to be compared with the sources as they are: the days are those that rest on exactly these sources. `None`
    /// where there is no table. Nothing is created.
    ///
    /// # Errors
    /// [`DeriveError::Lake`], [`DeriveError::State`].
    pub async fn recorded(&self) -> Result<Option<Recorded>, DeriveError> {
        let Some(table) = self.lake.load(&self.ident).await? else {
            return Ok(None);
        };
        let state = table.derived_state()?;
        // After the table: what the sources have gained since makes their days others than those that are recorded.
        let (sources, source_tables) = self.sources().await?;
        let states: Vec<SourceState> = sources.iter().map(|source| state.source(&source.name)).collect();
        let recorded: BTreeSet<i32> = states.iter().flat_map(SourceState::days).collect();
        let is_current = |day: &i32| {
            let mut pairs = sources.iter().zip(&states);
            let is_same = |(source, state): (&Source, &SourceState)| {
                state
                    .version(*day)
                    .is_none_or(|version| version == source.versions.get(day).copied())
            };
            state.logic == self.table.logic_version() && pairs.all(is_same)
        };
        let (days, others): (Vec<i32>, Vec<i32>) = recorded.into_iter().partition(is_current);
        let behind = sources
            .iter()
            .zip(&states)
            .filter(|(source, state)| source.at < state.at);
        let ahead_of = behind
            .map(|(source, state)| (source.name.clone(), state.at, source.at))
            .collect();
        let refresh = Refresh {
            sources,
            source_tables,
            table,
            days,
            open: BTreeSet::new(),
            finals: BTreeSet::new(),
            is_deliberate: false,
            next_final_us: None,
        };
        Ok(Some(Recorded {
            refresh,
            others,
            ahead_of,
        }))
    }

    /// Whether the table has exactly the rows of this day that its sources give; and how many these are. Decodes.
    ///
    /// # Errors
    /// [`DeriveError`].
    pub async fn compare(&self, refresh: &Arc<Refresh>, date: i32) -> Result<(bool, u64), DeriveError> {
        let layout = Arc::new(self.layout(refresh)?);
        let (derivation, refreshing) = (self.clone(), Arc::clone(refresh));
        let job = async move {
            let rows = derivation.rows(&refreshing, &layout, date).await?;
            let is_there = is_there(&derivation.lake, &refreshing.table, &layout, date, &rows).await?;
            Ok((is_there, rows.num_rows() as u64))
        };
        decoding(date, &self.ident, job).await
    }
}

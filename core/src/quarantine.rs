//! What `ops.quarantine` records of each silver table, and the decisions what may be added.
//!
//! Rows are recorded before silver's own commit, so that a crash between the two repeats them: a cursor says which are recorded
//! already, however the repetition is cut. A rebuilt silver table is another *generation*: its first commit here takes the place of all
//! rows of the former one. Decisions outlive it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chunk::ByPartition;
use crate::offsets::{Offset, Ranges};

/// Rules that a decision can waive. Of all others no valid row is left: see `docs/silver.md`.
const WAIVABLE: [&str; 4] = ["after_record", "negative", "unknown_side", "inconsistent_bar"];

/// Whether a row that `rule` has set aside can be a row of silver.
pub fn is_waivable(rule: &str) -> bool {
    WAIVABLE.contains(&rule)
}

/// The state of `ops.quarantine`: the property [`crate::state::STATE_PROPERTY`], written in the same swap as the rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineState {
    /// The snapshot that was committed together with this state; 0 before the first.
    pub snapshot: i64,
    /// The cluster that writes it.
    pub owner: String,
    /// By silver table. Always there: it tells this state from those of other tables.
    pub tables: BTreeMap<String, TableQuarantine>,
}

/// What is recorded of one silver table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableQuarantine {
    /// Generation of the silver table that the rows are of.
    pub generation: u64,
    /// Next offset by incarnation and partition: every quarantined row below it is recorded.
    #[serde(default)]
    pub next: ByPartition<Offset>,
    /// Number of the next decision.
    pub decisions: u64,
    /// What decisions below this number lead to is recorded.
    pub applied: u64,
    /// Decisions below this number were made before this generation: its rows are cleaned knowing all of them.
    pub since: u64,
}

impl QuarantineState {
    /// The state of a table without rows.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            snapshot: 0,
            owner: owner.into(),
            tables: BTreeMap::new(),
        }
    }

    /// What is recorded of the silver table `name`.
    pub fn of(&self, name: &str) -> TableQuarantine {
        self.tables.get(name).cloned().unwrap_or_default()
    }

    /// The property's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a state is plain data: integers, strings, maps with integer or text keys")
    }

    /// Reads the property's text.
    ///
    /// # Errors
    /// When the text is not such a state.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// Which rows a merge wants recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRequest {
    /// Generation of the silver table that is merged into.
    pub generation: u64,
    /// Decisions below this number were known when the rows were cleaned.
    pub known: u64,
    /// Of what the rows are the outcome.
    pub of: Outcome,
}

/// Of what rows are the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Of ranges of bronze, by incarnation.
    Ranges(BTreeMap<i32, Ranges>),
    /// Of decisions below this number.
    Decisions(u64),
}

/// A row that is to be recorded, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Incarnation, partition and offset of the record.
    pub coordinates: (i32, i32, i64),
    /// The decision that let the row come to this rule; `None` of rows met in bronze's ranges.
    pub decision: Option<u64>,
}

/// What is to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordDecision {
    /// Commit the rows that [`Self::Commit::keep`] says, and this state of the table.
    Commit {
        /// The new state.
        next: TableQuarantine,
        /// Of each row whether it is new.
        keep: Vec<bool>,
        /// Whether the rows of the former generation go.
        replaces: bool,
    },
    /// Everything is recorded.
    Nothing,
    /// The silver table was rebuilt since it was opened: open it again.
    OtherGeneration {
        /// The recorded generation.
        recorded: u64,
    },
    /// Decisions were made that the rows were cleaned without: clean them again.
    Outdated {
        /// As many are there.
        decisions: u64,
    },
}

/// Decides what of `rows` is new in `state`, against the version of `ops.quarantine` that is about to be replaced.
pub fn record(state: &TableQuarantine, request: &RecordRequest, rows: &[Recorded]) -> RecordDecision {
    if request.generation < state.generation {
        let recorded = state.generation;
        return RecordDecision::OtherGeneration { recorded };
    }
    let replaces = request.generation > state.generation;
    let mut next = match replaces {
        false => state.clone(),
        true => TableQuarantine {
            generation: request.generation,
            next: ByPartition::new(),
            applied: state.decisions,
            since: state.decisions,
            decisions: state.decisions,
        },
    };
    if request.known < next.since {
        let decisions = state.decisions;
        return RecordDecision::Outdated { decisions };
    }
    let is_new = |row: &Recorded| match (&request.of, row.decision) {
        (Outcome::Decisions(_), Some(decision)) => decision >= next.applied,
        _ => !is_below(&next.next, row.coordinates),
    };
    let keep: Vec<bool> = rows.iter().map(is_new).collect();
    if !replaces && !keep.contains(&true) {
        return RecordDecision::Nothing;
    }
    match &request.of {
        Outcome::Ranges(ranges) => advance(&mut next.next, ranges),
        Outcome::Decisions(end) => next.applied = next.applied.max(*end),
    }
    RecordDecision::Commit { next, keep, replaces }
}

/// Whether a record is below the cursor.
pub fn is_below(cursor: &ByPartition<Offset>, (incarnation, partition, offset): (i32, i32, i64)) -> bool {
    let next = cursor
        .get(&incarnation)
        .and_then(|partitions| partitions.get(&partition));
    next.is_some_and(|next| offset < *next)
}

fn advance(cursor: &mut ByPartition<Offset>, ranges: &BTreeMap<i32, Ranges>) {
    for (incarnation, ranges) in ranges {
        let of_incarnation = cursor.entry(*incarnation).or_default();
        for (partition, range) in &ranges.0 {
            let next = of_incarnation.entry(*partition).or_insert(range.end);
            *next = (*next).max(range.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::OffsetRange;

    fn of_ranges(generation: u64, known: u64, start: i64, end: i64) -> RecordRequest {
        RecordRequest {
            generation,
            known,
            of: Outcome::Ranges([(0, Ranges([(0, OffsetRange::new(start, end))].into()))].into()),
        }
    }

    fn rows(offsets: &[i64]) -> Vec<Recorded> {
        let row = |offset: &i64| Recorded {
            coordinates: (0, 0, *offset),
            decision: None,
        };
        offsets.iter().map(row).collect()
    }

    fn commit(
        state: &TableQuarantine,
        request: &RecordRequest,
        rows: &[Recorded],
    ) -> (TableQuarantine, Vec<bool>, bool) {
        match record(state, request, rows) {
            RecordDecision::Commit { next, keep, replaces } => (next, keep, replaces),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_repetition_cut_in_another_way_adds_only_what_is_new() {
        let (state, keep, _) = commit(&TableQuarantine::default(), &of_ranges(0, 0, 0, 10), &rows(&[3, 9]));
        assert_eq!(keep, [true, true]);
        assert_eq!(
            record(&state, &of_ranges(0, 0, 0, 5), &rows(&[3])),
            RecordDecision::Nothing
        );
        let (state, keep, _) = commit(&state, &of_ranges(0, 0, 5, 20), &rows(&[9, 12]));
        assert_eq!((keep, state.next[&0][&0]), (vec![false, true], 20));
        // Another partition or incarnation is another record.
        let mut other = rows(&[3]);
        other[0].coordinates.0 = 1;
        assert_eq!(commit(&state, &of_ranges(0, 0, 0, 5), &other).1, [true]);
        assert_eq!(record(&state, &of_ranges(0, 0, 20, 30), &[]), RecordDecision::Nothing);
    }

    #[test]
    fn a_new_generation_takes_the_place_of_the_former_one_and_knows_its_decisions() {
        let (mut state, ..) = commit(&TableQuarantine::default(), &of_ranges(0, 0, 0, 10), &rows(&[3]));
        state.decisions = 2;
        let outdated = record(&state, &of_ranges(1, 1, 0, 4), &rows(&[3]));
        assert_eq!(outdated, RecordDecision::Outdated { decisions: 2 });
        // Even if no row is quarantined any more: those of before have to go.
        let (next, _, replaces) = commit(&state, &of_ranges(1, 2, 0, 4), &[]);
        assert!(replaces);
        assert_eq!(
            (next.generation, next.since, next.applied, next.decisions),
            (1, 2, 2, 2)
        );
        assert_eq!(next.next[&0][&0], 4);
        let late = record(&next, &of_ranges(0, 2, 10, 12), &rows(&[11]));
        assert_eq!(late, RecordDecision::OtherGeneration { recorded: 1 });
        // A row of a range that was cleaned without the decisions made before this generation must not come in later either.
        let outdated = record(&next, &of_ranges(1, 1, 4, 9), &rows(&[5]));
        assert_eq!(outdated, RecordDecision::Outdated { decisions: 2 });
        // What the decisions of before lead to was met in the ranges.
        let outcome = |decision| {
            let mut rows = rows(&[3]);
            rows[0].decision = Some(decision);
            rows
        };
        let of = |end| RecordRequest {
            generation: 1,
            known: end,
            of: Outcome::Decisions(end),
        };
        assert_eq!(record(&next, &of(2), &outcome(1)), RecordDecision::Nothing);
        // A decision of after: recorded once, although the offset is below the cursor.
        let (next, keep, replaces) = commit(&next, &of(3), &outcome(2));
        assert_eq!((keep, replaces, next.applied), (vec![true], false, 3));
        assert_eq!(record(&next, &of(4), &outcome(2)), RecordDecision::Nothing);
    }

    #[test]
    fn json_round_trip() {
        let mut state = QuarantineState::new("c");
        let (table, ..) = commit(&TableQuarantine::default(), &of_ranges(0, 0, 0, 10), &rows(&[3]));
        state.tables.insert("silver.trades".into(), table);
        assert_eq!(QuarantineState::from_json(&state.to_json()).unwrap(), state);
        assert_eq!(state.of("silver.other"), TableQuarantine::default());
        let of_merge = crate::merge::MergeState::new("c", "bronze.t", 1).to_json();
        assert!(QuarantineState::from_json(&of_merge).is_err());
    }
}

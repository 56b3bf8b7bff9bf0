//! The decision whether recomputed days may replace what a derived table has: the counterpart of [`crate::merge`] for tables that are
//! recomputed a day at a time from the days of other tables.
//!
//! The version of a day is the highest sequence number among its live files; a day without live files has none. Versions grow with
//! every change of a day's rows. A compaction that drops the last file of a sequence number may make one smaller, and a day whose
//! last row moved away has none any more; so each look at a source also has the sequence number of the snapshot that was looked at.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What a derived table remembers of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// Highest sequence number of the source's snapshots that a commit rests on.
    pub at: i64,
    /// Version of each day as it was when the day was computed last; where it had no files then, the sequence number of that look,
    /// negative. What is missing was never computed.
    #[serde(with = "pairs")]
    days: BTreeMap<i32, i64>,
    /// The same of days that were computed by a former logic: they have to be computed again, and from nothing older.
    #[serde(default, with = "pairs", skip_serializing_if = "BTreeMap::is_empty")]
    former: BTreeMap<i32, i64>,
}

impl SourceState {
    /// The version that a day was computed from last: `None` where it was never computed, `Some(None)` where it had no files.
    pub fn version(&self, day: i32) -> Option<Option<i64>> {
        self.days.get(&day).map(|version| (*version > 0).then_some(*version))
    }

    /// The days that were computed by the present logic.
    pub fn days(&self) -> impl Iterator<Item = i32> {
        self.days.keys().copied()
    }

    /// The days that have to be computed, of a source that has these versions now: changed, new, emptied, or made by a former logic.
    pub fn dirty(&self, now: &BTreeMap<i32, i64>) -> Vec<i32> {
        let changed = now.iter().filter(|(day, version)| self.days.get(day) != Some(version));
        let gone = self.days.iter().filter(|(_, version)| **version > 0);
        let former = self.former.iter().filter(|(_, version)| **version > 0);
        let gone = gone.chain(former).filter(|(day, _)| !now.contains_key(day));
        let mut days: Vec<i32> = changed.chain(gone).map(|(day, _)| *day).collect();
        days.sort_unstable();
        days.dedup();
        days
    }

    /// The lowest version that may take the place of what is there: that of the day, or of the look that found no files.
    pub fn floor(&self, day: i32) -> Option<i64> {
        let floor = self.days.get(&day).or_else(|| self.former.get(&day));
        floor.map(|version| version.abs())
    }
}

/// What a derived table remembers: the property [`crate::state::STATE_PROPERTY`]. It is too long to be repeated by every snapshot: these
/// carry its [`DerivedState::digest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DerivedState {
    /// The snapshot that was committed together with this state; 0 before the first.
    pub snapshot: i64,
    /// The cluster that wrote it.
    pub owner: String,
    /// Version of the logic that computes the rows.
    pub logic: u32,
    /// By source table, with its namespace.
    pub sources: BTreeMap<String, SourceState>,
    /// Days that were computed before they were over.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    provisional: BTreeSet<i32>,
}

impl DerivedState {
    /// The state of a table of which nothing was computed.
    pub fn new(owner: impl Into<String>, logic: u32) -> Self {
        Self {
            snapshot: 0,
            owner: owner.into(),
            logic,
            sources: BTreeMap::new(),
            provisional: BTreeSet::new(),
        }
    }

    /// The days that were computed before they were over, and not since.
    pub fn provisional(&self) -> impl Iterator<Item = i32> {
        self.provisional.iter().copied()
    }

    /// What is remembered of `source`.
    pub fn source(&self, source: &str) -> SourceState {
        self.sources.get(source).cloned().unwrap_or_default()
    }

    /// The days of `source` that have to be computed by `logic`, of a source that has these versions now.
    pub fn dirty(&self, source: &str, logic: u32, now: &BTreeMap<i32, i64>) -> Vec<i32> {
        let state = self.source(source);
        match logic > self.logic {
            true => with_former(&state).dirty(now),
            false => state.dirty(now),
        }
    }

    /// The same, committed together with the snapshot `snapshot_id`.
    #[must_use]
    pub fn with_snapshot(self, snapshot_id: i64) -> Self {
        Self {
            snapshot: snapshot_id,
            ..self
        }
    }

    /// The property's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a state is plain data: integers, strings, maps")
    }

    /// Reads the property's text.
    ///
    /// # Errors
    /// When the text is not such a state.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// What a snapshot's summary carries instead of the property's whole text: enough to tell whether they belong together.
    pub fn digest(text: &str) -> String {
        // FNV-1a: it is to notice a property that was changed alone, not to withstand anybody.
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("fnv1a:{hash:016x}")
    }
}

fn with_former(state: &SourceState) -> SourceState {
    let mut former = state.former.clone();
    former.extend(&state.days);
    SourceState {
        at: state.at,
        days: BTreeMap::new(),
        former,
    }
}

/// One look at a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceInput {
    /// Sequence number of the snapshot that was read.
    pub at: i64,
    /// Version of each day that was read; `None` where it had no files.
    pub days: BTreeMap<i32, Option<i64>>,
}

/// What recomputed days rest on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeriveRequest {
    /// Cluster of Tapehouse that writes.
    pub owner: String,
    /// Version of the logic that computed the rows.
    pub logic: u32,
    /// What was read, by source table.
    pub inputs: BTreeMap<String, SourceInput>,
    /// Those of the days that are not over.
    pub provisional: BTreeSet<i32>,
}

/// Proof that the check was passed; only [`decide`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivePermit {
    next_state: DerivedState,
}

impl DerivePermit {
    /// The state to be written with the snapshot `snapshot_id`.
    pub fn into_state(self, snapshot_id: i64) -> DerivedState {
        self.next_state.with_snapshot(snapshot_id)
    }
}

/// Outcome of [`decide`]. A request is taken whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeriveDecision {
    /// No input is older than what the table rests on, and some are newer.
    Accept(DerivePermit),
    /// The days were computed from exactly these inputs already: by an earlier attempt, or by another node.
    Unchanged,
    /// Read the sources again.
    Refuse(DeriveRefusal),
}

/// Why recomputed days were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeriveRefusal {
    /// What is there was made from a newer input.
    #[error("day {day} of {source_table} was read at {found:?}, the table rests on {recorded} already")]
    Stale {
        /// The source.
        source_table: String,
        /// The day, since 1970-01-01.
        day: i32,
        /// What the table rests on.
        recorded: i64,
        /// The version that was read.
        found: Option<i64>,
    },
    /// The table belongs to another cluster of Tapehouse.
    #[error("the table is written by cluster `{recorded}`, the computed rows are of cluster `{computed}`")]
    OtherOwner {
        /// Owner in the table's state.
        recorded: String,
        /// Cluster that computed the rows.
        computed: String,
    },
    /// The table's rows were made by a later logic.
    #[error("the table is made by logic {recorded}, the computed rows by logic {computed}")]
    OlderLogic {
        /// Version in the table's state.
        recorded: u32,
        /// Version that made the rows.
        computed: u32,
    },
}

/// Decides an overwrite against the state recorded in the table that is about to be replaced: an older input never replaces a newer
/// output.
///
/// A look at the source that is not older than the last one is always taken. An older look is taken for days that have not changed
/// since, so that writers of different days do not stand in each other's way.
pub fn decide(state: &DerivedState, request: &DeriveRequest) -> DeriveDecision {
    if request.owner != state.owner {
        return DeriveDecision::Refuse(DeriveRefusal::OtherOwner {
            recorded: state.owner.clone(),
            computed: request.owner.clone(),
        });
    }
    if request.logic < state.logic {
        return DeriveDecision::Refuse(DeriveRefusal::OlderLogic {
            recorded: state.logic,
            computed: request.logic,
        });
    }
    let mut next_state = state.clone();
    if request.logic > state.logic {
        next_state.logic = request.logic;
        next_state.sources = state
            .sources
            .iter()
            .map(|(name, source)| (name.clone(), with_former(source)))
            .collect();
    }
    let mut is_new = false;
    for (name, input) in &request.inputs {
        let source = next_state.sources.entry(name.clone()).or_default();
        for (&day, &found) in &input.days {
            is_new |= source.version(day) != Some(found);
            let recorded = source.floor(day).filter(|_| input.at < source.at);
            if let Some(recorded) = recorded.filter(|recorded| found.unwrap_or(input.at) < *recorded) {
                return DeriveDecision::Refuse(DeriveRefusal::Stale {
                    source_table: name.clone(),
                    day,
                    recorded,
                    found,
                });
            }
            source.former.remove(&day);
            source.days.insert(day, found.unwrap_or(-input.at.max(1)));
            let is_provisional = request.provisional.contains(&day);
            is_new |= is_provisional != state.provisional.contains(&day);
            match is_provisional {
                true => next_state.provisional.insert(day),
                false => next_state.provisional.remove(&day),
            };
        }
        source.at = source.at.max(input.at);
    }
    match is_new {
        true => DeriveDecision::Accept(DerivePermit { next_state }),
        false => DeriveDecision::Unchanged,
    }
}

/// Maps as lists of pairs: JSON's keys are strings, which cost two bytes more each.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<i32, i64>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<i32, i64>, D::Error> {
        let pairs = Vec::<(i32, i64)>::deserialize(deserializer)?;
        Ok(pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;

//! The decision whether merged rows may be committed: a silver table's counterpart of [`crate::append`].

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::offsets::{NotContiguous, Offset, OffsetRange, PartitionId, Ranges};

/// What a silver table remembers of its bronze table: the property [`crate::state::STATE_PROPERTY`], written in the same swap as the
/// snapshot whose files hold the rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeState {
    /// The snapshot that was committed together with this state; 0 before the first.
    pub snapshot: i64,
    /// The cluster that wrote it.
    pub owner: String,
    /// The bronze table, with its namespace.
    pub source: String,
    /// Version of the cleaning rules that made the rows. Rows of other rules need a rebuild.
    pub rules: u32,
    /// Next offset to merge, by incarnation of the topic and partition. What is missing was never merged.
    pub next: BTreeMap<i32, BTreeMap<PartitionId, Offset>>,
    /// Next decision about quarantined rows to be applied.
    #[serde(default)]
    pub decisions: u64,
    /// Counts rebuilds of the table.
    #[serde(default)]
    pub generation: u64,
}

impl MergeState {
    /// The state of a table into which nothing was merged.
    pub fn new(owner: impl Into<String>, source: impl Into<String>, rules: u32) -> Self {
        Self {
            snapshot: 0,
            owner: owner.into(),
            source: source.into(),
            rules,
            next: BTreeMap::new(),
            decisions: 0,
            generation: 0,
        }
    }

    /// Next offset of a partition; `None` where nothing of it was merged.
    pub fn next(&self, incarnation: i32, partition: PartitionId) -> Option<Offset> {
        self.next.get(&incarnation)?.get(&partition).copied()
    }

    /// The property's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a state is plain data: integers, strings, maps with integer keys")
    }

    /// Reads the property's text.
    ///
    /// # Errors
    /// When the text is not such a state.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// What a merge asks for: the outcome of these ranges of bronze, made by these rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeRequest {
    /// Cluster of Tapehouse that writes.
    pub owner: String,
    /// The bronze table.
    pub source: String,
    /// Version of the cleaning rules.
    pub rules: u32,
    /// Offsets covered, by incarnation, whether or not each has a row.
    pub ranges: BTreeMap<i32, Ranges>,
    /// Numbers of the decisions covered; an empty range where it is of none.
    pub decisions: Range<u64>,
}

/// Proof that the check was passed; only [`decide`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergePermit {
    next_state: MergeState,
}

impl MergePermit {
    /// The state to be written with the snapshot `snapshot_id`.
    pub fn into_state(self, snapshot_id: i64) -> MergeState {
        MergeState {
            snapshot: snapshot_id,
            ..self.next_state
        }
    }
}

/// Outcome of [`decide`]. A request is taken whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeDecision {
    /// Every range starts at the cursor.
    Accept(MergePermit),
    /// All of it lies behind the cursor: another owner, or an earlier attempt of this one, has merged it.
    AlreadyMerged,
    /// It neither continues nor repeats what was merged. Bronze must be read again from the cursor.
    Refuse(MergeRefusal),
}

/// Why a merge was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeRefusal {
    /// A range does not start at the cursor.
    #[error("incarnation {incarnation}: {gap}")]
    NotContiguous {
        /// Incarnation of the topic.
        incarnation: i32,
        /// Where.
        gap: NotContiguous,
    },
    /// Its decisions do not start at the next one.
    #[error("decision {recorded} is the next to be applied, not {merged}")]
    OtherDecisions {
        /// Next one in the table's state.
        recorded: u64,
        /// First one of the request.
        merged: u64,
    },
    /// The table belongs to another cluster of Tapehouse.
    #[error("the table is written by cluster `{recorded}`, the merged rows are of cluster `{merged}`")]
    OtherOwner {
        /// Owner in the table's state.
        recorded: String,
        /// Cluster that merged the rows.
        merged: String,
    },
    /// The table is made from another bronze table.
    #[error("the table is made from {recorded}, the merged rows are from {merged}")]
    OtherSource {
        /// Source in the table's state.
        recorded: String,
        /// Source of the merged rows.
        merged: String,
    },
    /// The rows in the table were made by other rules.
    #[error(
        "the table is made by rules {recorded}, the merged rows by rules {merged}; `tapehouse rebuild TABLE` makes it anew by those of this \
         program"
    )]
    OtherRules {
        /// Version in the table's state.
        recorded: u32,
        /// Version that made the rows.
        merged: u32,
    },
}

/// Decides a merge against the state recorded in the table that is about to be replaced.
///
/// A partition without a cursor accepts any start: where it begins is what bronze began with. Ranges of former incarnations
/// are merged like any other.
pub fn decide(state: &MergeState, request: &MergeRequest) -> MergeDecision {
    if let Err(refusal) = same_table(state, request) {
        return MergeDecision::Refuse(refusal);
    }
    let ranges = || {
        request.ranges.iter().flat_map(|(&incarnation, ranges)| {
            let partitions = ranges.0.iter();
            partitions.map(move |(&partition, &range)| (incarnation, partition, range))
        })
    };
    let is_applied = request.decisions.is_empty() || request.decisions.end <= state.decisions;
    let is_merged = |(incarnation, partition, range): (i32, PartitionId, OffsetRange)| {
        state.next(incarnation, partition).is_some_and(|next| range.end <= next)
    };
    if is_applied && ranges().all(is_merged) {
        return MergeDecision::AlreadyMerged;
    }
    let mut next_state = state.clone();
    if !request.decisions.is_empty() {
        if request.decisions.start != state.decisions {
            return MergeDecision::Refuse(MergeRefusal::OtherDecisions {
                recorded: state.decisions,
                merged: request.decisions.start,
            });
        }
        next_state.decisions = request.decisions.end;
    }
    for (incarnation, partition, range) in ranges() {
        match state.next(incarnation, partition) {
            Some(next) if range.start != next => {
                return MergeDecision::Refuse(MergeRefusal::NotContiguous {
                    incarnation,
                    gap: NotContiguous {
                        partition,
                        expected: next,
                        found: range.start,
                    },
                });
            }
            _ => {
                next_state
                    .next
                    .entry(incarnation)
                    .or_default()
                    .insert(partition, range.end);
            }
        }
    }
    MergeDecision::Accept(MergePermit { next_state })
}

/// Accepts a request without looking at the cursor. Exists only in builds with feature `chaos`, where the chaos suite takes this
/// defence out to show that the suite would notice.
#[cfg(feature = "chaos")]
pub fn accept_unchecked(state: &MergeState, request: &MergeRequest) -> MergeDecision {
    let mut next_state = state.clone();
    for (&incarnation, ranges) in &request.ranges {
        let next = next_state.next.entry(incarnation).or_default();
        next.extend(ranges.0.iter().map(|(&partition, range)| (partition, range.end)));
    }
    MergeDecision::Accept(MergePermit { next_state })
}

fn same_table(state: &MergeState, request: &MergeRequest) -> Result<(), MergeRefusal> {
    if request.owner != state.owner {
        return Err(MergeRefusal::OtherOwner {
            recorded: state.owner.clone(),
            merged: request.owner.clone(),
        });
    }
    if request.source != state.source {
        return Err(MergeRefusal::OtherSource {
            recorded: state.source.clone(),
            merged: request.source.clone(),
        });
    }
    if request.rules != state.rules {
        return Err(MergeRefusal::OtherRules {
            recorded: state.rules,
            merged: request.rules,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(next: &[(i32, i32, i64)]) -> MergeState {
        let mut state = MergeState::new("c", "bronze.t", 1);
        for &(incarnation, partition, offset) in next {
            state.next.entry(incarnation).or_default().insert(partition, offset);
        }
        state
    }

    fn request(ranges: &[(i32, i32, i64, i64)]) -> MergeRequest {
        let mut request = MergeRequest {
            owner: "c".into(),
            source: "bronze.t".into(),
            rules: 1,
            ranges: BTreeMap::new(),
            decisions: 0..0,
        };
        for &(incarnation, partition, start, end) in ranges {
            let ranges = request.ranges.entry(incarnation).or_default();
            ranges.0.insert(partition, OffsetRange::new(start, end));
        }
        request
    }

    #[test]
    fn the_cursor_moves_in_every_incarnation() {
        let MergeDecision::Accept(permit) = decide(
            &state(&[(0, 0, 10), (1, 0, 4)]),
            &request(&[(0, 0, 10, 12), (1, 0, 4, 9), (1, 1, 3, 5)]),
        ) else {
            panic!("must accept");
        };
        let next = permit.into_state(7);
        assert_eq!(next.snapshot, 7);
        assert_eq!(next.next, state(&[(0, 0, 12), (1, 0, 9), (1, 1, 5)]).next);
        assert_eq!(MergeState::from_json(&next.to_json()).unwrap(), next);
    }

    #[test]
    fn a_repeat_writes_nothing_and_a_part_of_one_is_refused() {
        let merged = state(&[(0, 0, 10), (1, 0, 4)]);
        assert_eq!(
            decide(&merged, &request(&[(0, 0, 3, 10), (1, 0, 0, 4)])),
            MergeDecision::AlreadyMerged
        );
        // The same offsets of another incarnation are other records.
        for bad in [&[(0, 0, 8, 12)][..], &[(0, 0, 12, 13)], &[(0, 0, 10, 11), (1, 0, 5, 6)]] {
            let decision = decide(&merged, &request(bad));
            assert!(
                matches!(decision, MergeDecision::Refuse(MergeRefusal::NotContiguous { .. })),
                "{bad:?}: {decision:?}"
            );
        }
    }

    #[test]
    fn decisions_are_applied_once_and_in_order() {
        let mut applied = state(&[(0, 0, 10)]);
        applied.decisions = 3;
        let decide = |decisions: Range<u64>, ranges: &[(i32, i32, i64, i64)]| {
            super::decide(
                &applied,
                &MergeRequest {
                    decisions,
                    ..request(ranges)
                },
            )
        };
        assert_eq!(decide(1..3, &[]), MergeDecision::AlreadyMerged);
        let MergeDecision::Accept(permit) = decide(3..5, &[]) else {
            panic!("must accept")
        };
        let next = permit.into_state(7);
        assert_eq!((next.decisions, &next.next), (5, &applied.next));
        for bad in [2..4, 4..5] {
            let refused = decide(bad, &[]);
            assert!(
                matches!(refused, MergeDecision::Refuse(MergeRefusal::OtherDecisions { .. })),
                "{refused:?}"
            );
        }
        // A range alone leaves them as they are, and a table of before has none.
        let MergeDecision::Accept(permit) = decide(0..0, &[(0, 0, 10, 11)]) else {
            panic!("must accept")
        };
        assert_eq!(permit.into_state(8).decisions, 3);
        let old = r#"{"snapshot":1,"owner":"c","source":"bronze.t","rules":1,"next":{}}"#;
        assert_eq!(MergeState::from_json(old).unwrap().decisions, 0);
    }

    #[test]
    fn another_owner_source_or_rules_are_refused() {
        let ranges = [(0, 0, 10, 12)];
        let others: [fn(&mut MergeRequest); 3] = [
            |request| request.owner = "d".into(),
            |request| request.source = "bronze.u".into(),
            |request| request.rules = 2,
        ];
        for change in others {
            let mut other = request(&ranges);
            change(&mut other);
            assert!(matches!(
                decide(&state(&[(0, 0, 10)]), &other),
                MergeDecision::Refuse(_)
            ));
        }
    }
}

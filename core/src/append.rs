//! The decision whether a set of staged files may be appended: the heart of exactly-once.

use crate::identity::{IdentityMismatch, TopicIdentity};
use crate::offsets::{NotContiguous, Offset, PartitionId, Ranges};
use crate::state::StreamState;

/// What a writer asks for: these ranges, of this incarnation of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendRequest {
    /// Kafka topic that the rows are from.
    pub topic: String,
    /// Incarnation of the topic that the offsets belong to.
    pub incarnation: i32,
    /// Cluster of Tapehouse that writes.
    pub owner: String,
    /// What Kafka said the topic is, before the first and after the last of the rows was fetched.
    pub identity: TopicIdentity,
    /// Offsets covered, whether or not each has a row.
    pub ranges: Ranges,
}

/// Proof that the check was passed: only [`decide`] can make one, and only with one can the commit layer append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendPermit {
    next_state: StreamState,
}

impl AppendPermit {
    /// The state to be written with the snapshot `snapshot_id`.
    pub fn into_state(self, snapshot_id: i64) -> StreamState {
        StreamState {
            snapshot: snapshot_id,
            ..self.next_state
        }
    }
}

/// Outcome of [`decide`]. A request is taken whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendDecision {
    /// Every range starts at the recorded next offset.
    Accept(AppendPermit),
    /// All of it lies behind the recorded offsets: another owner, or an earlier attempt of this one, has committed it.
    AlreadyCommitted,
    /// It neither continues nor repeats what is recorded. The writer must read Kafka again from the recorded offsets.
    Refuse(RefuseReason),
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefuseReason {
    /// A range does not start at the recorded next offset.
    #[error("{0}")]
    NotContiguous(#[from] NotContiguous),
    /// The table holds another incarnation of the topic.
    #[error("the table is at incarnation {recorded} of the topic, the staged rows are of {staged}")]
    OtherIncarnation {
        /// Incarnation in the table's state.
        recorded: i32,
        /// Incarnation of the staged rows.
        staged: i32,
    },
    /// The table belongs to another cluster of Tapehouse.
    #[error("the table is written by cluster `{recorded}`, the staged rows are of cluster `{staged}`")]
    OtherOwner {
        /// Owner in the table's state.
        recorded: String,
        /// Cluster that staged the rows.
        staged: String,
    },
    /// The rows are of another topic of the same name.
    #[error("{0}")]
    OtherIdentity(#[from] IdentityMismatch),
    /// The table is fed from another topic.
    #[error("the table is fed from topic {recorded}, the staged rows are of {staged}")]
    OtherTopic {
        /// Topic in the table's state.
        recorded: String,
        /// Topic of the staged rows.
        staged: String,
    },
}

/// Decides an append against the state recorded in the table that is about to be replaced.
///
/// A partition without a recorded offset accepts any start: it was never read, and where it starts is configuration.
/// Empty ranges are accepted anywhere at or before the recorded offset and change nothing.
pub fn decide(state: &StreamState, request: &AppendRequest) -> AppendDecision {
    if request.topic != state.topic {
        return AppendDecision::Refuse(RefuseReason::OtherTopic {
            recorded: state.topic.clone(),
            staged: request.topic.clone(),
        });
    }
    if request.owner != state.owner {
        return AppendDecision::Refuse(RefuseReason::OtherOwner {
            recorded: state.owner.clone(),
            staged: request.owner.clone(),
        });
    }
    if request.incarnation != state.incarnation {
        return AppendDecision::Refuse(RefuseReason::OtherIncarnation {
            recorded: state.incarnation,
            staged: request.incarnation,
        });
    }
    if let Err(mismatch) = state.identity().check(&request.identity) {
        return AppendDecision::Refuse(mismatch.into());
    }
    let behind = |(partition, range): (&PartitionId, &crate::offsets::OffsetRange)| {
        state.next.get(partition).is_some_and(|next| range.end <= *next)
    };
    if request.ranges.0.iter().all(behind) {
        return AppendDecision::AlreadyCommitted;
    }
    let mut next_state = state.clone();
    next_state.adopt(&request.identity);
    for (&partition, range) in &request.ranges.0 {
        let recorded: Option<Offset> = state.next.get(&partition).copied();
        match recorded {
            Some(next) if range.start != next => {
                return AppendDecision::Refuse(RefuseReason::NotContiguous(NotContiguous {
                    partition,
                    expected: next,
                    found: range.start,
                }));
            }
            _ => {
                next_state.next.insert(partition, range.end);
            }
        }
    }
    AppendDecision::Accept(AppendPermit { next_state })
}

/// Accepts a request without comparing offsets. Exists only in builds with feature `chaos`, where the chaos suite takes
/// this defence out to show that the suite would notice.
#[cfg(feature = "chaos")]
pub fn accept_unchecked(state: &StreamState, request: &AppendRequest) -> AppendDecision {
    let mut next_state = state.clone();
    for (&partition, range) in &request.ranges.0 {
        next_state.next.insert(partition, range.end);
    }
    AppendDecision::Accept(AppendPermit { next_state })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::OffsetRange;

    fn state(next: &[(i32, i64)]) -> StreamState {
        let mut state = StreamState::new("c", "t");
        state.next = next.iter().copied().collect();
        state
    }

    fn request(ranges: &[(i32, i64, i64)]) -> AppendRequest {
        AppendRequest {
            topic: "t".into(),
            incarnation: 0,
            owner: "c".into(),
            identity: TopicIdentity::default(),
            ranges: Ranges(ranges.iter().map(|&(p, s, e)| (p, OffsetRange::new(s, e))).collect()),
        }
    }

    #[test]
    fn contiguous_is_accepted_and_moves_the_state() {
        let AppendDecision::Accept(permit) = decide(&state(&[(0, 10), (1, 5)]), &request(&[(0, 10, 20), (2, 7, 8)]))
        else {
            panic!("must accept");
        };
        let next = permit.into_state(99);
        assert_eq!(next.snapshot, 99);
        assert_eq!(next.next, [(0, 20), (1, 5), (2, 8)].into());
    }

    #[test]
    fn a_repeat_is_acknowledged_without_writing() {
        assert_eq!(
            decide(&state(&[(0, 20)]), &request(&[(0, 10, 20)])),
            AppendDecision::AlreadyCommitted
        );
        assert_eq!(
            decide(&state(&[(0, 20)]), &request(&[(0, 3, 9)])),
            AppendDecision::AlreadyCommitted
        );
    }

    #[test]
    fn partly_behind_is_refused_whole() {
        for bad in [
            &[(0, 15, 25)][..],
            &[(0, 21, 25)],
            &[(0, 20, 25), (1, 0, 4)],
            &[(0, 10, 20), (1, 9, 12)],
        ] {
            let decision = decide(&state(&[(0, 20), (1, 8)]), &request(bad));
            assert!(
                matches!(decision, AppendDecision::Refuse(RefuseReason::NotContiguous(_))),
                "{bad:?}: {decision:?}"
            );
        }
    }

    #[test]
    fn an_identity_is_adopted_once_and_then_held_to() {
        let mut seen = request(&[(0, 20, 25)]);
        seen.identity.topic_id = Some("first".into());
        let AppendDecision::Accept(permit) = decide(&state(&[(0, 20)]), &seen) else {
            panic!("a table without an id adopts the one seen");
        };
        let recorded = permit.into_state(1);
        assert_eq!(recorded.topic_id.as_deref(), Some("first"));
        let mut recreated = request(&[(0, 25, 30)]);
        for other in [Some("second".to_owned()), None] {
            recreated.identity.topic_id = other;
            assert!(matches!(
                decide(&recorded, &recreated),
                AppendDecision::Refuse(RefuseReason::OtherIdentity(_))
            ));
        }
    }

    #[test]
    fn another_owner_is_refused_whatever_the_ranges() {
        let mut other = request(&[(0, 20, 25)]);
        other.owner = "d".into();
        assert!(matches!(
            decide(&state(&[(0, 20)]), &other),
            AppendDecision::Refuse(RefuseReason::OtherOwner { .. })
        ));
    }

    #[test]
    fn another_incarnation_or_topic_is_refused() {
        let mut other = request(&[(0, 20, 25)]);
        other.incarnation = 1;
        assert!(matches!(
            decide(&state(&[(0, 20)]), &other),
            AppendDecision::Refuse(RefuseReason::OtherIncarnation { .. })
        ));
        let mut other = request(&[(0, 20, 25)]);
        other.topic = "u".into();
        assert!(matches!(
            decide(&state(&[(0, 20)]), &other),
            AppendDecision::Refuse(RefuseReason::OtherTopic { .. })
        ));
    }
}

//! Recorded offsets derived anew, where those that stand in the table cannot be believed.

use std::collections::BTreeMap;

use crate::offsets::{Offset, PartitionId};
use crate::state::StreamState;

/// What a table says of its offsets, believed or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateHints {
    /// State in the summary of the newest snapshot of the current history that has one: true of that snapshot's content.
    pub carried: Option<StreamState>,
    /// State in the table's property, which belongs to another moment.
    pub property: Option<StreamState>,
}

/// Highest offset of a row by incarnation and partition.
pub type HighestOffsets = BTreeMap<(i32, PartitionId), Offset>;

/// The state that fits what the table holds, for `owner` and `topic`. Its snapshot is not set.
///
/// A snapshot's own state is right for that snapshot, also about offsets without rows; rows that lie behind it (written by
/// somebody else) move it on, so that nothing is read twice. Without one, or where rows are of a later incarnation, each partition
/// goes on behind its highest row. A partition that is then missing is read from its beginning: nothing is lost either way.
pub fn rebuild(hints: &StateHints, highest: &HighestOffsets, owner: &str, topic: &str) -> StreamState {
    let latest = highest.keys().map(|(incarnation, _)| *incarnation).max();
    let carried = hints.carried.as_ref();
    let carried =
        carried.filter(|state| state.topic == topic && latest.is_none_or(|latest| latest <= state.incarnation));
    let mut state = match carried {
        Some(carried) => carried.clone(),
        None => {
            let property = hints.property.as_ref().filter(|state| state.topic == topic);
            let known = property.map(|state| state.incarnation);
            let mut state = StreamState::new(owner, topic);
            state.incarnation = latest.or(known).unwrap_or(0);
            // The ids are those of the incarnation that the property speaks of, and of no other.
            if let Some(property) = property.filter(|property| property.incarnation == state.incarnation) {
                state.adopt(&property.identity());
            }
            state
        }
    };
    owner.clone_into(&mut state.owner);
    for ((incarnation, partition), offset) in highest {
        if *incarnation == state.incarnation {
            let next = state.next.entry(*partition).or_insert(0);
            *next = (*next).max(offset + 1);
        }
    }
    state.snapshot = 0;
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(incarnation: i32, next: &[(i32, i64)]) -> StreamState {
        let mut state = StreamState::new("c", "t");
        state.incarnation = incarnation;
        state.topic_id = Some(format!("id-{incarnation}"));
        state.next = next.iter().copied().collect();
        state
    }

    fn rebuilt(carried: Option<StreamState>, property: Option<StreamState>, rows: &[(i32, i32, i64)]) -> StreamState {
        let highest = rows.iter().map(|&(i, p, offset)| ((i, p), offset)).collect();
        rebuild(&StateHints { carried, property }, &highest, "c", "t")
    }

    #[test]
    fn after_a_roll_back_the_snapshots_own_state_counts() {
        let found = rebuilt(
            Some(state(0, &[(0, 12), (1, 5)])),
            Some(state(0, &[(0, 90), (1, 70)])),
            &[(0, 0, 9)],
        );
        assert_eq!(found.next, [(0, 12), (1, 5)].into());
        assert_eq!(found.topic_id.as_deref(), Some("id-0"));
    }

    #[test]
    fn rows_behind_the_carried_state_are_not_read_again() {
        let found = rebuilt(Some(state(0, &[(0, 12)])), None, &[(0, 0, 20), (0, 3, 4)]);
        assert_eq!(found.next, [(0, 21), (3, 5)].into());
    }

    #[test]
    fn without_any_state_the_files_tell() {
        let found = rebuilt(None, Some(state(2, &[(0, 99)])), &[(1, 0, 500), (2, 0, 20)]);
        assert_eq!((found.incarnation, found.next), (2, [(0, 21)].into()));
        assert_eq!(found.topic_id.as_deref(), Some("id-2"));
        let found = rebuilt(None, None, &[]);
        assert_eq!((found.incarnation, found.next.len()), (0, 0));
    }

    #[test]
    fn rows_of_a_later_incarnation_outdate_the_carried_state() {
        let found = rebuilt(Some(state(0, &[(0, 900)])), None, &[(0, 0, 899), (1, 0, 20)]);
        assert_eq!((found.incarnation, found.next), (1, [(0, 21)].into()));
        assert_eq!(found.topic_id, None);
    }
}

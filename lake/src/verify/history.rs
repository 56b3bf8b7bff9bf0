//! I2: the ranges of a partition's commits are contiguous, and the recorded state is their end.

use iceberg::spec::{Operation, SnapshotRef};
use tapehouse_core::offsets::Ranges;
use tapehouse_core::state::{STATE_PROPERTY, StreamState};

use super::Violation;
use crate::commit::{StateChangeKind, keys};
use crate::table::LoadedTable;

/// Violations listed at most; a table that is wrong from end to end is not listed from end to end.
const MAX_LISTED: usize = 100;

/// Checks the snapshots of the current history, as far as they are retained.
pub(super) fn check(table: &LoadedTable) -> Vec<Violation> {
    let mut found = Vec::new();
    if let Err(error) = table.stream_state() {
        found.push(error.to_string());
    }
    let mut before: Option<StreamState> = None;
    let own: Vec<_> = table
        .ancestry()
        .filter(|snapshot| snapshot.summary().additional_properties.contains_key(STATE_PROPERTY))
        .collect();
    for snapshot in own.iter().rev() {
        let summary = &snapshot.summary().additional_properties;
        let id = snapshot.snapshot_id();
        let state = match StreamState::from_json(&summary[STATE_PROPERTY]) {
            Ok(state) => state,
            Err(error) => {
                found.push(format!("snapshot {id}: its offsets cannot be read: {error}"));
                continue;
            }
        };
        if state.snapshot != id {
            found.push(format!(
                "snapshot {id} carries the offsets of snapshot {}",
                state.snapshot
            ));
        }
        let kind = summary.get(keys::STATE_CHANGE).map(String::as_str);
        let is_decision = kind.is_some();
        let moved = if is_decision { keys::GAPS } else { keys::RANGES };
        match summary.get(moved).map(|text| serde_json::from_str::<Ranges>(text)) {
            // What was derived anew from the files is checked against these, not against what could not be believed.
            _ if kind == Some(StateChangeKind::Rebuild.name()) => {}
            _ if kind == Some(StateChangeKind::AdoptTopic.name()) => {
                if before
                    .as_ref()
                    .is_some_and(|before| before.incarnation >= state.incarnation)
                {
                    found.push(format!("snapshot {id} adopts a topic without a new incarnation"));
                }
            }
            Some(Ok(ranges)) => found.extend(step(id, before.as_ref(), &ranges, &state)),
            // The same rows in other files.
            None if is_decision || snapshot.summary().operation == Operation::Replace => {
                found.extend(step(id, before.as_ref(), &Ranges::default(), &state))
            }
            Some(Err(error)) => found.push(format!("snapshot {id}: its ranges cannot be read: {error}")),
            None => found.push(format!(
                "snapshot {id} changes the recorded offsets without saying its ranges"
            )),
        }
        before = Some(state);
    }
    found.truncate(MAX_LISTED);
    let violation = |message| Violation {
        invariant: "I2",
        message,
    };
    found.into_iter().map(violation).collect()
}

/// Rows that other engines removed, as far as their snapshots are retained: bronze never changes. Engines that compact may
/// take rows out in one snapshot and put them back in the next one, so that these are set off against each other up to the
/// next commit of ours.
pub(super) fn removed_by_others(table: &LoadedTable) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut open: Option<(i64, u64)> = None;
    let mut lineage: Vec<&SnapshotRef> = table.ancestry().collect();
    lineage.reverse();
    for snapshot in lineage {
        let summary = &snapshot.summary().additional_properties;
        if summary.contains_key(STATE_PROPERTY) {
            found.extend(open.take());
            continue;
        }
        let count = |key: &str| summary.get(key).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let (deleted, added) = (count("deleted-records"), count("added-records"));
        open = match open {
            None if deleted > added => Some((snapshot.snapshot_id(), deleted - added)),
            None => None,
            Some((id, missing)) => Some((id, (missing + deleted).saturating_sub(added))),
        };
    }
    found.extend(open);
    found
        .into_iter()
        .filter(|(_, rows)| *rows > 0)
        .take(MAX_LISTED)
        .map(|(id, rows)| Violation {
            invariant: "I1",
            message: format!("snapshot {id}: another engine removed {rows} rows"),
        })
        .collect()
}

/// One commit: from the state before it, over its ranges, to its state. Without a state before it (expired), only the end.
fn step(id: i64, before: Option<&StreamState>, ranges: &Ranges, after: &StreamState) -> Vec<String> {
    let mut found = Vec::new();
    for (partition, range) in &ranges.0 {
        if let Some(expected) = before.and_then(|before| before.next.get(partition))
            && *expected != range.start
        {
            found.push(format!(
                "snapshot {id}, partition {partition}: covers {range}, but {expected} was the next offset"
            ));
        }
        if after.next.get(partition) != Some(&range.end) {
            found.push(format!(
                "snapshot {id}, partition {partition}: covers {range}, but records {:?} as the next offset",
                after.next.get(partition)
            ));
        }
    }
    let Some(before) = before else { return found };
    for (partition, next) in &before.next {
        if !ranges.0.contains_key(partition) && after.next.get(partition) != Some(next) {
            found.push(format!(
                "snapshot {id}, partition {partition}: the next offset changes from {next} to {:?} without a range",
                after.next.get(partition)
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use tapehouse_core::offsets::OffsetRange;

    use super::*;

    fn state(next: &[(i32, i64)]) -> StreamState {
        let mut state = StreamState::new("c", "t");
        state.next = next.iter().copied().collect();
        state
    }

    fn ranges(ranges: &[(i32, i64, i64)]) -> Ranges {
        Ranges(ranges.iter().map(|&(p, s, e)| (p, OffsetRange::new(s, e))).collect())
    }

    #[test]
    fn contiguous_steps_hold_and_gaps_overlaps_and_jumps_are_found() {
        let before = state(&[(0, 10), (1, 4)]);
        let holds = |ranges_: &[(i32, i64, i64)], after: &[(i32, i64)]| {
            step(1, Some(&before), &ranges(ranges_), &state(after)).is_empty()
        };
        assert!(holds(&[(0, 10, 20), (2, 7, 9)], &[(0, 20), (1, 4), (2, 9)]));
        assert!(!holds(&[(0, 11, 20)], &[(0, 20), (1, 4)]), "gap");
        assert!(!holds(&[(0, 9, 20)], &[(0, 20), (1, 4)]), "overlap");
        assert!(!holds(&[(0, 10, 20)], &[(0, 21), (1, 4)]), "state ahead of range");
        assert!(!holds(&[(0, 10, 20)], &[(0, 20), (1, 5)]), "jump without a range");
        assert!(!holds(&[(0, 10, 20)], &[(0, 20)]), "a partition is forgotten");
        assert!(step(1, None, &ranges(&[(0, 11, 20)]), &state(&[(0, 20)])).is_empty());
    }
}

//! Whether a table's history is one line: each snapshot made from the one before it.
//!
//! Where it is, a file's life is an interval: once removed it never comes back. A rollback, or a commit to a branch, breaks the line, and
//! which files the snapshots of before share with those of after cannot be told any more from their neighbours. So the latest break is noted
//! in a table property by the next commit, while the snapshots that show it are still there.

use iceberg::spec::SnapshotRef;

use crate::table::LoadedTable;

/// Table property: sequence number of the first snapshot after the latest break of the line.
pub(crate) const FORKED_AT_PROPERTY: &str = "tapehouse.forked-at";

/// Sequence number of the first snapshot after the latest break in `snapshots`, which ascend by sequence number; `None`: they are one
/// line as far as is known. Snapshots between two of them may have been dropped, so that a parent may be unknown.
pub(crate) fn forked_at(snapshots: &[&SnapshotRef]) -> Option<i64> {
    let is_known = |id: i64| snapshots.iter().any(|snapshot| snapshot.snapshot_id() == id);
    let continues = |before: &SnapshotRef, after: &SnapshotRef| {
        let Some(parent) = after.parent_snapshot_id() else {
            return false;
        };
        match after.sequence_number() - before.sequence_number() {
            1 => parent == before.snapshot_id(),
            missing => missing > 1 && !is_known(parent),
        }
    };
    let mut pairs = snapshots.windows(2).rev();
    let broken = pairs.find(|pair| !continues(pair[0], pair[1]));
    // Two of one number are of one side of the break.
    broken.map(|pair| pair[1].sequence_number().max(pair[0].sequence_number() + 1))
}

/// What the property says; `None` where it was never set. A value that is none is a break at the very end.
pub(crate) fn noted(table: &LoadedTable) -> Option<i64> {
    let text = table.metadata().properties().get(FORKED_AT_PROPERTY)?;
    Some(text.parse().unwrap_or(i64::MAX))
}

/// What a commit on top of `base` has to note: a break that is not noted yet.
pub(crate) fn to_note(base: &LoadedTable) -> Option<i64> {
    let snapshots = base.snapshots();
    let newest = snapshots.last()?;
    let current = base.metadata().current_snapshot_id();
    // On top of another snapshot than the newest: this very commit breaks the line.
    let here = (current != Some(newest.snapshot_id())).then(|| base.metadata().next_sequence_number());
    let found = here.or_else(|| forked_at(&snapshots))?;
    noted(base).is_none_or(|noted| noted < found).then_some(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use iceberg::spec::{Operation, Snapshot, Summary};

    use super::*;

    fn history(snapshots: &[(i64, i64, Option<i64>)]) -> Option<i64> {
        let made: Vec<SnapshotRef> = snapshots
            .iter()
            .map(|&(sequence_number, id, parent)| {
                let summary = Summary {
                    operation: Operation::Append,
                    additional_properties: [].into(),
                };
                Arc::new(
                    Snapshot::builder()
                        .with_snapshot_id(id)
                        .with_parent_snapshot_id(parent)
                        .with_sequence_number(sequence_number)
                        .with_timestamp_ms(sequence_number)
                        .with_manifest_list(String::new())
                        .with_summary(summary)
                        .build(),
                )
            })
            .collect();
        forked_at(&made.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_line_with_gaps_is_told_from_forks() {
        assert_eq!(history(&[]), None);
        assert_eq!(history(&[(4, 40, Some(30))]), None);
        assert_eq!(history(&[(1, 10, None), (2, 20, Some(10)), (3, 30, Some(20))]), None);
        // 2 to 6 are gone.
        assert_eq!(history(&[(1, 10, None), (7, 70, Some(60)), (8, 80, Some(70))]), None);
        // Rolled back to 1 after 3; the latest break is what counts.
        let rolled_back = [(1, 10, None), (2, 20, Some(10)), (3, 30, Some(20)), (4, 40, Some(10))];
        assert_eq!(history(&rolled_back), Some(4));
        // The parent is gone, but its successor is not: it cannot have been 3's.
        assert_eq!(
            history(&[(3, 30, Some(20)), (4, 40, Some(10)), (5, 50, Some(40))]),
            Some(4)
        );
        // On top of a tag, over a gap.
        assert_eq!(history(&[(1, 10, None), (7, 70, Some(10))]), Some(7));
        // A table that was replaced, and one of version 1.
        assert_eq!(history(&[(1, 10, None), (2, 20, None)]), Some(2));
        assert_eq!(history(&[(0, 10, None), (0, 20, Some(10))]), Some(1));
    }
}

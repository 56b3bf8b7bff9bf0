//! Which offsets of a bronze table are merged next.
//!
//! The current incarnation of the topic is merged up to what the bronze table records. Of a former incarnation the table records no
//! end, but nothing is ever added to it any more: so its last range is open, it ends at [`END_OF_INCARNATION`], and a cursor that
//! stands there says that all of it is merged. No row is passed over, whatever is known of how far the incarnation went; what is known
//! of that ([`BronzeOffsets::closed`]) only cuts it into chunks.

use std::collections::{BTreeMap, BTreeSet};

use crate::merge::MergeState;
use crate::offsets::{Offset, OffsetRange, PartitionId, Ranges};
use crate::state::StreamState;

/// End of the last range of a former incarnation: no partition gets that far (a million records a second for 35 years), sums of
/// it over thousands of partitions fit 64 bits, and it is exact in every reader of JSON.
pub const END_OF_INCARNATION: Offset = 1 << 50;

/// Offsets by incarnation and partition.
pub type ByPartition<T> = BTreeMap<i32, BTreeMap<PartitionId, T>>;

/// What a bronze table says of its offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BronzeOffsets {
    /// How far the current incarnation goes.
    pub state: StreamState,
    /// Where each partition was begun.
    pub first: ByPartition<Offset>,
    /// Offsets that were lost before they were read, ordered and apart: they count for nothing in a chunk's size.
    pub gaps: ByPartition<Vec<OffsetRange>>,
    /// Former incarnations: outside of these offsets there is no row. May be wider than the rows are.
    pub closed: ByPartition<OffsetRange>,
}

/// The bronze table has not (any more) what was merged already: it was rolled back or restored. Silver must wait until bronze has
/// read these records again from Kafka, or, where what it holds is another history, be rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "partition {partition} (incarnation {incarnation}) is merged up to offset {merged}, the source holds it up to {}: the source was rolled \
     back; wait until it has caught up, or rebuild this table", .source_next.map_or_else(|| "no offset".to_owned(), |next| next.to_string())
)]
pub struct SourceBehind {
    /// Incarnation of the topic.
    pub incarnation: i32,
    /// The partition.
    pub partition: PartitionId,
    /// Next offset to be merged.
    pub merged: Offset,
    /// Next offset to be read into the bronze table; `None` where it knows nothing of the partition.
    pub source_next: Option<Offset>,
}

/// What of one partition is not merged yet.
struct Backlog {
    incarnation: i32,
    partition: PartitionId,
    /// Where the range starts.
    start: Offset,
    /// From here on there may be rows.
    rows_from: Offset,
    /// And up to here.
    rows_to: Offset,
    /// Where the range ends if all of it is taken.
    end: Offset,
    /// Offsets that may have rows.
    size: u64,
}

/// The ranges to be merged next: of each partition with a backlog some, of former incarnations too, `max_offsets` in all (at least one a
/// partition); a short backlog leaves its share to the others. An offset has at most one row. `None`: all is merged.
///
/// # Errors
/// [`SourceBehind`].
pub fn next_chunk(
    cursor: &MergeState,
    bronze: &BronzeOffsets,
    max_offsets: u64,
) -> Result<Option<BTreeMap<i32, Ranges>>, SourceBehind> {
    check_source(cursor, &bronze.state)?;
    let mut backlogs = bronze.former_backlogs(cursor);
    backlogs.extend(bronze.current_backlogs(cursor));
    backlogs.sort_by_key(|backlog| backlog.size);
    let (mut left, mut waiting) = (max_offsets, backlogs.len() as u64);
    let mut chunk: BTreeMap<i32, Ranges> = BTreeMap::new();
    for backlog in backlogs {
        let share = (left / waiting).max(1);
        left = left.saturating_sub(share.min(backlog.size));
        waiting -= 1;
        let end = match backlog.size <= share {
            true => backlog.end,
            false => bronze.advanced(&backlog, share),
        };
        let ranges = chunk.entry(backlog.incarnation).or_default();
        ranges.0.insert(backlog.partition, OffsetRange::new(backlog.start, end));
    }
    Ok((!chunk.is_empty()).then_some(chunk))
}

/// Whether the source holds all that was merged.
fn check_source(cursor: &MergeState, state: &StreamState) -> Result<(), SourceBehind> {
    for (&incarnation, merged) in cursor.next.range(state.incarnation..) {
        for (&partition, &merged) in merged {
            let recorded = state.next.get(&partition).copied();
            let source_next = recorded.filter(|_| incarnation == state.incarnation);
            if source_next.is_none_or(|next| next < merged) {
                return Err(SourceBehind {
                    incarnation,
                    partition,
                    merged,
                    source_next,
                });
            }
        }
    }
    Ok(())
}

impl BronzeOffsets {
    fn current_backlogs(&self, cursor: &MergeState) -> Vec<Backlog> {
        let incarnation = self.state.incarnation;
        let backlog = |(&partition, &next): (&PartitionId, &Offset)| {
            let first = of(&self.first, incarnation, partition).copied().unwrap_or(0);
            let start = cursor.next(incarnation, partition).unwrap_or(first.min(next));
            let backlog = self.backlog((incarnation, partition), start, OffsetRange::new(start, next), next);
            (start < next).then_some(backlog)
        };
        self.state.next.iter().filter_map(backlog).collect()
    }

    fn former_backlogs(&self, cursor: &MergeState) -> Vec<Backlog> {
        let mut known: BTreeSet<(i32, PartitionId)> = keys(&self.first).collect();
        known.extend(keys(&self.closed));
        known.extend(keys(&cursor.next));
        let former = known
            .into_iter()
            .filter(|(incarnation, _)| *incarnation < self.state.incarnation);
        let backlog = |(incarnation, partition)| {
            // From 0 on: where it began matters no more, and a range without rows costs nothing.
            let start = cursor.next(incarnation, partition).unwrap_or(0);
            let rows = of(&self.closed, incarnation, partition).copied();
            let rows = rows.unwrap_or(OffsetRange::new(start, start));
            let from = rows.start.max(start);
            let rows = OffsetRange::new(from, rows.end.max(from));
            let end = rows.end.max(END_OF_INCARNATION);
            (start < END_OF_INCARNATION).then(|| self.backlog((incarnation, partition), start, rows, end))
        };
        former.filter_map(backlog).collect()
    }

    fn backlog(
        &self,
        (incarnation, partition): (i32, PartitionId),
        start: Offset,
        rows: OffsetRange,
        end: Offset,
    ) -> Backlog {
        let gaps = self.gaps_of(incarnation, partition).iter();
        let lost: u64 = gaps.filter_map(|gap| common(gap, &rows)).map(|gap| gap.len()).sum();
        Backlog {
            incarnation,
            partition,
            start,
            rows_from: rows.start,
            rows_to: rows.end,
            end,
            size: rows.len().saturating_sub(lost),
        }
    }

    /// Where a range ends that takes `share` offsets of a backlog, those in gaps not counted.
    fn advanced(&self, backlog: &Backlog, share: u64) -> Offset {
        let (mut position, mut left) = (backlog.rows_from, share);
        for gap in self.gaps_of(backlog.incarnation, backlog.partition) {
            let before = u64::try_from(gap.start - position).unwrap_or(0);
            if gap.end <= position {
                continue;
            }
            if before >= left {
                break;
            }
            left -= before;
            position = gap.end;
        }
        let left = Offset::try_from(left).unwrap_or(Offset::MAX);
        position.saturating_add(left).min(backlog.rows_to)
    }

    fn gaps_of(&self, incarnation: i32, partition: PartitionId) -> &[OffsetRange] {
        of(&self.gaps, incarnation, partition).map_or(&[], Vec::as_slice)
    }
}

fn of<T>(all: &ByPartition<T>, incarnation: i32, partition: PartitionId) -> Option<&T> {
    all.get(&incarnation)?.get(&partition)
}

fn keys<T>(all: &ByPartition<T>) -> impl Iterator<Item = (i32, PartitionId)> {
    all.iter()
        .flat_map(|(incarnation, partitions)| partitions.keys().map(|partition| (*incarnation, *partition)))
}

fn common(a: &OffsetRange, b: &OffsetRange) -> Option<OffsetRange> {
    let (start, end) = (a.start.max(b.start), a.end.min(b.end));
    (start < end).then(|| OffsetRange::new(start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    type At = (i32, PartitionId);

    fn cursor(next: &[(At, Offset)]) -> MergeState {
        let mut state = MergeState::new("c", "bronze.t", 1);
        for &((incarnation, partition), offset) in next {
            state.next.entry(incarnation).or_default().insert(partition, offset);
        }
        state
    }

    fn bronze(incarnation: i32, next: &[(PartitionId, Offset)]) -> BronzeOffsets {
        let mut state = StreamState::new("c", "t");
        state.incarnation = incarnation;
        state.next = next.iter().copied().collect();
        BronzeOffsets {
            state,
            first: ByPartition::new(),
            gaps: ByPartition::new(),
            closed: ByPartition::new(),
        }
    }

    /// All chunks until nothing is left, as (incarnation, partition, start, end).
    fn walk(mut cursor: MergeState, bronze: &BronzeOffsets, max: u64) -> Vec<Vec<(i32, PartitionId, Offset, Offset)>> {
        let mut chunks = Vec::new();
        while let Some(chunk) = next_chunk(&cursor, bronze, max).unwrap() {
            let mut found = Vec::new();
            for (incarnation, ranges) in chunk {
                for (partition, range) in ranges.0 {
                    assert!(!range.is_empty(), "progress");
                    let known = cursor.next.entry(incarnation).or_default();
                    let before = known.insert(partition, range.end);
                    assert!(before.is_none_or(|before| before == range.start), "contiguous");
                    found.push((incarnation, partition, range.start, range.end));
                }
            }
            chunks.push(found);
            assert!(chunks.len() < 1000, "it comes to an end");
        }
        chunks
    }

    #[test]
    fn a_short_backlog_leaves_its_share_to_the_others() {
        let mut source = bronze(0, &[(0, 100), (1, 1000), (2, 7), (3, 50)]);
        source.first = [(0, [(0, 90), (1, 0), (2, 0), (3, 40)].into())].into();
        let merged = cursor(&[((0, 2), 7)]);
        // Partition 2 is level; 10 + 10 of the short ones, the rest to the long one.
        let chunk = &walk(merged, &source, 100)[0];
        assert_eq!(chunk, &[(0, 0, 90, 100), (0, 1, 0, 80), (0, 3, 40, 50)]);
    }

    #[test]
    fn every_offset_is_in_one_chunk_whatever_their_size() {
        let mut source = bronze(0, &[(0, 103), (1, 40), (7, 9)]);
        source.first = [(0, [(0, 3), (1, 0)].into())].into();
        for max in [1, 2, 3, 10, 64, 1000] {
            let mut sums: BTreeMap<PartitionId, u64> = BTreeMap::new();
            for chunk in walk(cursor(&[]), &source, max) {
                let size: u64 = chunk.iter().map(|(_, _, start, end)| (end - start) as u64).sum();
                assert!(size <= max.max(3), "{max}: {chunk:?}");
                for (_, partition, start, end) in chunk {
                    *sums.entry(partition).or_default() += (end - start) as u64;
                }
            }
            assert_eq!(sums, [(0, 100), (1, 40), (7, 9)].into(), "{max}");
        }
    }

    #[test]
    fn a_gap_takes_no_share() {
        let mut source = bronze(0, &[(0, 1_000_000_030)]);
        let gap = |start, end| OffsetRange::new(start, end);
        source.gaps = [(0, [(0, vec![gap(5, 10), gap(15, 1_000_000_000)])].into())].into();
        assert_eq!(
            walk(cursor(&[]), &source, 20),
            [
                vec![(0, 0, 0, 1_000_000_010)],
                vec![(0, 0, 1_000_000_010, 1_000_000_030)]
            ]
        );
        // A cursor within a gap.
        let chunks = walk(cursor(&[((0, 0), 900)]), &source, 20);
        assert_eq!(chunks[0], [(0, 0, 900, 1_000_000_020)]);
    }

    #[test]
    fn a_former_incarnation_is_merged_to_its_open_end_and_then_never_again() {
        let mut source = bronze(1, &[(0, 4)]);
        source.first = [(0, [(0, 500)].into()), (1, [(0, 0)].into())].into();
        // The files tell of a partition that the property does not know.
        source.closed = [(0, [(0, OffsetRange::new(500, 530)), (1, OffsetRange::new(3, 9))].into())].into();
        let chunks = walk(cursor(&[]), &source, 30);
        assert_eq!(
            chunks,
            [
                vec![(0, 0, 0, 520), (0, 1, 0, END_OF_INCARNATION), (1, 0, 0, 4)],
                vec![(0, 0, 520, END_OF_INCARNATION)]
            ]
        );
        let level = cursor(&[((0, 0), END_OF_INCARNATION), ((0, 1), END_OF_INCARNATION), ((1, 0), 4)]);
        assert_eq!(next_chunk(&level, &source, 30).unwrap(), None);
        // What a later look at the files says of it does not matter any more.
        source.closed = [(0, [(0, OffsetRange::new(0, 999_999))].into())].into();
        assert_eq!(next_chunk(&level, &source, 30).unwrap(), None);
    }

    #[test]
    fn without_knowledge_of_its_end_a_former_incarnation_is_one_open_range() {
        let source = bronze(1, &[]);
        let chunks = walk(cursor(&[((0, 3), 40)]), &source, 30);
        assert_eq!(chunks, [[(0, 3, 40, END_OF_INCARNATION)]]);
    }

    #[test]
    fn a_source_that_was_rolled_back_is_no_empty_source() {
        let behind = |merged: &[(At, Offset)], source: &BronzeOffsets| {
            next_chunk(&cursor(merged), source, 10).unwrap_err().source_next
        };
        assert_eq!(behind(&[((0, 0), 10)], &bronze(0, &[(0, 9), (1, 50)])), Some(9));
        assert_eq!(behind(&[((0, 0), 10)], &bronze(0, &[(1, 50)])), None);
        // Rolled back to before the topic was adopted.
        let before = bronze(0, &[(0, 90)]);
        assert_eq!(behind(&[((1, 0), 10)], &before), None);
        assert_eq!(behind(&[((0, 0), END_OF_INCARNATION)], &before), Some(90));
        let error = next_chunk(&cursor(&[((0, 0), 10)]), &bronze(0, &[(0, 9)]), 10).unwrap_err();
        assert!(error.to_string().contains("up to 9: the source was rolled"), "{error}");
    }
}

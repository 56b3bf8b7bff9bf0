//! Kafka offsets as half-open ranges, one a partition.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Number of a Kafka partition within its topic.
pub type PartitionId = i32;

/// Offset in one partition. Never negative in this program: logical offsets (`earliest`, `latest`) are resolved before.
pub type Offset = i64;

/// Offsets `start..end` of one partition; `end` is the next offset to read.
///
/// A range covers offsets, not rows: control records, aborted transactions and compacted records lie inside a range and
/// have no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Offset, Offset)", into = "(Offset, Offset)")]
pub struct OffsetRange {
    /// First offset covered.
    pub start: Offset,
    /// First offset not covered.
    pub end: Offset,
}

impl OffsetRange {
    /// The range `start..end`.
    ///
    /// # Panics
    /// If `end < start` or `start < 0`: such a range has no meaning and must never reach a commit.
    pub fn new(start: Offset, end: Offset) -> Self {
        assert!(0 <= start && start <= end, "not an offset range: {start}..{end}");
        Self { start, end }
    }

    /// Number of offsets covered (not of rows).
    pub fn len(&self) -> u64 {
        u64::try_from(self.end - self.start).expect("end >= start holds for every range")
    }

    /// Whether no offset is covered.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether `offset` is covered.
    pub fn contains(&self, offset: Offset) -> bool {
        (self.start..self.end).contains(&offset)
    }
}

impl From<(Offset, Offset)> for OffsetRange {
    fn from((start, end): (Offset, Offset)) -> Self {
        Self { start, end }
    }
}

impl From<OffsetRange> for (Offset, Offset) {
    fn from(range: OffsetRange) -> Self {
        (range.start, range.end)
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// The ranges that one commit covers of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ranges(pub BTreeMap<PartitionId, OffsetRange>);

impl Ranges {
    /// Adds `next` behind what is already covered of `partition`.
    ///
    /// # Errors
    /// [`NotContiguous`] when `next` does not start where the covered range ends.
    pub fn extend(&mut self, partition: PartitionId, next: OffsetRange) -> Result<(), NotContiguous> {
        match self.0.get_mut(&partition) {
            None => {
                self.0.insert(partition, next);
            }
            Some(range) if range.end == next.start => range.end = next.end,
            Some(range) => {
                return Err(NotContiguous {
                    partition,
                    expected: range.end,
                    found: next.start,
                });
            }
        }
        Ok(())
    }

    /// Whether no offset is covered at all.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(OffsetRange::is_empty)
    }

    /// Offsets covered, summed over the partitions.
    pub fn len(&self) -> u64 {
        self.0.values().map(OffsetRange::len).sum()
    }
}

/// Two ranges of one partition that should touch and do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("partition {partition}: range starts at offset {found}, expected {expected}")]
pub struct NotContiguous {
    /// The partition.
    pub partition: PartitionId,
    /// Where the range had to start.
    pub expected: Offset,
    /// Where it starts.
    pub found: Offset,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extends_only_contiguously() {
        let mut ranges = Ranges::default();
        ranges.extend(0, OffsetRange::new(5, 9)).unwrap();
        ranges.extend(0, OffsetRange::new(9, 9)).unwrap();
        ranges.extend(0, OffsetRange::new(9, 12)).unwrap();
        assert_eq!(ranges.0[&0], OffsetRange::new(5, 12));
        let gap = ranges.extend(0, OffsetRange::new(13, 14)).unwrap_err();
        assert_eq!((gap.expected, gap.found), (12, 13));
        let overlap = ranges.extend(0, OffsetRange::new(11, 14)).unwrap_err();
        assert_eq!((overlap.expected, overlap.found), (12, 11));
        assert_eq!(ranges.len(), 7);
    }

    #[test]
    fn ranges_are_pairs_in_json() {
        let mut ranges = Ranges::default();
        ranges.extend(3, OffsetRange::new(0, 7)).unwrap();
        let json = serde_json::to_string(&ranges).unwrap();
        assert_eq!(json, r#"{"3":[0,7]}"#);
        assert_eq!(serde_json::from_str::<Ranges>(&json).unwrap(), ranges);
    }

    #[test]
    #[should_panic(expected = "not an offset range")]
    fn a_backward_range_panics() {
        OffsetRange::new(5, 4);
    }
}

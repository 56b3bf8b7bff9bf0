//! Recorded offsets that Kafka's log does not hold.

use crate::offsets::{Offset, OffsetRange, PartitionId};

/// The next offset of a partition, outside of what Kafka holds of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostOffset {
    /// The partition.
    pub partition: PartitionId,
    /// The offset to be read next.
    pub expected: Offset,
    /// What Kafka holds.
    pub log: OffsetRange,
}

impl LostOffset {
    /// `None` where the log holds `expected`, or ends with it.
    pub fn find(partition: PartitionId, expected: Offset, log: OffsetRange) -> Option<Self> {
        let is_held = (log.start..=log.end).contains(&expected);
        (!is_held).then_some(Self {
            partition,
            expected,
            log,
        })
    }

    /// The offsets that were gone before they were read; `None` where the log was cut at its end instead.
    pub fn gap(&self) -> Option<OffsetRange> {
        (self.expected < self.log.start).then(|| OffsetRange::new(self.expected, self.log.start))
    }

    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self.gap() {
            Some(_) => "offset_lost",
            None => "log_truncated",
        }
    }

    /// What happened, and the way out for `topic`.
    pub fn explain(&self, topic: &str) -> String {
        let Self {
            partition,
            expected,
            log,
        } = self;
        match self.gap() {
            Some(gap) => format!(
                "partition {partition}: offsets {gap} are gone from Kafka before they were read (retention); `tapehouse \
                 offsets accept-gap {topic} --partition {partition}` goes on behind them"
            ),
            None => format!(
                "partition {partition}: the table has read up to offset {expected}, the log ends at {} and the topic is \
                 the same one: its log was truncated; `tapehouse offsets adopt-topic {topic}` reads the partition anew",
                log.end
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_the_log_hold() {
        let log = OffsetRange::new(10, 20);
        assert_eq!(LostOffset::find(0, 10, log), None);
        assert_eq!(LostOffset::find(0, 20, log), None);
        let before = LostOffset::find(0, 9, log).unwrap();
        assert_eq!(
            (before.code(), before.gap()),
            ("offset_lost", Some(OffsetRange::new(9, 10)))
        );
        assert!(before.explain("t").contains("accept-gap t --partition 0"));
        let behind = LostOffset::find(0, 21, log).unwrap();
        assert_eq!((behind.code(), behind.gap()), ("log_truncated", None));
        assert!(behind.explain("t").contains("adopt-topic t"));
    }
}

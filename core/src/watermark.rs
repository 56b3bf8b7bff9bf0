//! Watermarks: "something was committed, look". Hints only; what to do is derived from the tables.

use std::collections::BTreeSet;

use crate::offsets::Ranges;

/// Announces one commit of a table to whoever builds on that table. A subscriber that lags behind has lost nothing: offsets and day
/// versions of the tables say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// Full table name, for instance `bronze.raw_trades`.
    pub table: String,
    /// The snapshot committed.
    pub snapshot: i64,
    /// Rows added.
    pub rows: u64,
    /// What is new.
    pub touched: Touched,
}

/// What a commit has touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Bronze: offsets that are new.
    Offsets {
        /// Kafka ranges that the commit covers.
        ranges: Ranges,
        /// Incarnation of the topic that the ranges belong to.
        incarnation: i32,
        /// Earliest and latest event time among the rows, in microseconds since 1970-01-01 UTC; `None` where no row has one.
        event_time_span_us: Option<(i64, i64)>,
    },
    /// Silver and what is derived from it: days that got rows or lost rows, in days since 1970-01-01. A correction that moves a row
    /// touches the day that it leaves and the day that it comes to.
    Days(BTreeSet<i32>),
}

impl Touched {
    /// The days; none of a bronze commit.
    pub fn days(&self) -> Option<&BTreeSet<i32>> {
        match self {
            Self::Offsets { .. } => None,
            Self::Days(days) => Some(days),
        }
    }
}

//! Watermarks: "something was committed, look". Hints only; what to do is derived from the tables.

use crate::offsets::Ranges;

/// Announces one commit of a table to whoever builds on that table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// Full table name, for instance `bronze.raw_trades`.
    pub table: String,
    /// The snapshot committed.
    pub snapshot: i64,
    /// Kafka ranges that it covers.
    pub ranges: Ranges,
    /// Incarnation of the topic that the ranges belong to.
    pub incarnation: i32,
    /// Rows added.
    pub rows: u64,
    /// Earliest and latest event time among the rows, in microseconds since 1970-01-01 UTC; `None` where no row has one.
    pub event_time_span_us: Option<(i64, i64)>,
}

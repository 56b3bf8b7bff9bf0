//! What a reader is told, and the client properties that it sets.

use std::time::Duration;

use tapehouse_core::failpoint;

/// Tuned for throughput: librdkafka's defaults leave the CPU idle (its queue back-off alone costs a factor of five).
pub const TUNED: [(&str, &str); 7] = [
    ("queued.min.messages", "1000000"),
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.wait.max.ms", "50"),
    // No protection, only a reason to fail: a single record may be as large as its topic permits.
    ("receive.message.max.bytes", "1073741824"),
    ("topic.metadata.refresh.interval.ms", "10000"),
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.nagle.disable", "true"),
];

/// What exactly-once depends on: users cannot override it.
pub const FIXED: [(&str, &str); 5] = [
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("isolation.level", "read_committed"),
];

/// [`FIXED`], but for what the chaos suite has taken out.
pub(super) fn fixed() -> [(&'static str, &'static str); 5] {
    FIXED.map(|(name, value)| match name {
        "auto.offset.reset" if failpoint::defence_is_off("lost_offsets") => (name, "earliest"),
        "isolation.level" if failpoint::defence_is_off("read_committed") => (name, "read_uncommitted"),
        _ => (name, value),
    })
}

/// Limits of one batch and of the client's own queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderOptions {
    /// Consumer group for informational offset commits; nothing is ever read back from it.
    pub group: String,
    /// Bound of librdkafka's prefetch queue, in bytes of payload.
    pub queue_bytes: u64,
    /// Bound of one answer of a broker's, in bytes; a larger record comes all the same.
    pub fetch_bytes: u64,
    /// A batch is sealed at so many records,
    pub max_records: usize,
    /// or so many bytes of payload and keys,
    pub max_bytes: usize,
    /// or when its first record is so old.
    pub linger: Duration,
}

/// Where a partition that was never read starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartOffsets {
    /// At its low watermark.
    #[default]
    Earliest,
    /// At its high watermark.
    Latest,
    /// At the first record with this Kafka timestamp (milliseconds) or a later one.
    TimestampMs(i64),
}

//! Generated records in one arena: no allocation a record.

use super::Topic;

/// Records in the order in which they are to be sent.
#[derive(Clone, Debug, Default)]
pub struct GeneratedBatch {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    topic: Topic,
    start: usize,
    value_start: usize,
    end: usize,
    has_key: bool,
    has_value: bool,
    timestamp_ms: i64,
}

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneratedRecord<'a> {
    /// Which of the three topics.
    pub topic: Topic,
    /// Kafka key.
    pub key: Option<&'a [u8]>,
    /// Kafka value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Kafka create time, milliseconds since 1970.
    pub timestamp_ms: i64,
}

impl GeneratedBatch {
    /// Records in it.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// True without records.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Empties it; the memory stays for the next use.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    /// The records in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = GeneratedRecord<'_>> {
        self.spans.iter().map(|span| self.record(span))
    }

    /// The newest record.
    pub fn last(&self) -> Option<GeneratedRecord<'_>> {
        self.spans.last().map(|span| self.record(span))
    }

    fn record(&self, span: &Span) -> GeneratedRecord<'_> {
        GeneratedRecord {
            topic: span.topic,
            key: span.has_key.then(|| &self.bytes[span.start..span.value_start]),
            value: span.has_value.then(|| &self.bytes[span.value_start..span.end]),
            timestamp_ms: span.timestamp_ms,
        }
    }

    /// Adds a record whose value `write_value` appends to the arena.
    pub(super) fn push(
        &mut self,
        topic: Topic,
        key: Option<&[u8]>,
        timestamp_ms: i64,
        write_value: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.unwrap_or_default());
        let value_start = self.bytes.len();
        write_value(&mut self.bytes);
        let end = self.bytes.len();
        self.spans.push(Span {
            topic,
            start,
            value_start,
            end,
            has_key: key.is_some(),
            has_value: true,
            timestamp_ms,
        });
    }

    /// Replaces the newest record's value by what `change` makes of the arena's tail; the second argument is where the
    /// value starts.
    pub(super) fn change_last_value(&mut self, change: impl FnOnce(&mut Vec<u8>, usize)) {
        if let Some(span) = self.spans.last_mut() {
            change(&mut self.bytes, span.value_start);
            span.end = self.bytes.len();
        }
    }

    /// Makes the newest record a tombstone.
    pub(super) fn drop_last_value(&mut self) {
        if let Some(span) = self.spans.last_mut() {
            self.bytes.truncate(span.value_start);
            span.end = span.value_start;
            span.has_value = false;
        }
    }
}

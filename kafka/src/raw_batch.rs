//! Records as Kafka gave them, column by column, in a few large allocations: nothing is allocated a record.

use std::ops::Range;

use tapehouse_core::freshness::ProducedAt;
use tapehouse_core::offsets::{Offset, PartitionId, Ranges};

/// A record's headers, in order; a header may lack a value.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A batch of records of one topic, in the order in which they were polled, with the offset ranges that it covers.
#[derive(Debug, Default)]
pub struct RawBatch {
    /// Partition of each record.
    pub partitions: Vec<PartitionId>,
    /// Offset of each record.
    pub offsets: Vec<Offset>,
    /// Kafka timestamp of each record in microseconds; [`NO_TIMESTAMP`] where the record has none.
    pub timestamps_us: Vec<i64>,
    keys: Arena,
    payloads: Arena,
    /// Headers of the few records that have some, by index.
    pub headers: Vec<(usize, Headers)>,
    /// What the batch covers; set when it is sealed. It may cover offsets that have no record.
    pub ranges: Ranges,
    /// Producer times of the records, for freshness.
    pub produced_at: ProducedAt,
    /// When the batch was sealed, in microseconds since 1970-01-01 UTC: the `ingestion_timestamp` of its rows.
    pub sealed_at_us: i64,
    /// Whether every partition had been read to its end when the batch was sealed.
    pub at_end: bool,
    produced_run: (i64, u64),
}

/// Marks a record without a Kafka timestamp.
pub const NO_TIMESTAMP: i64 = i64::MIN;

/// Concatenated byte strings, some of them absent.
#[derive(Debug, Default)]
struct Arena {
    bytes: Vec<u8>,
    /// End of each string; starts with the 0 before the first, as Arrow wants it.
    ends: Vec<i32>,
    absent: Vec<usize>,
}

impl Arena {
    fn push(&mut self, value: Option<&[u8]>) {
        if self.ends.is_empty() {
            self.ends.push(0);
        }
        match value {
            Some(value) => self.bytes.extend_from_slice(value),
            None => self.absent.push(self.ends.len() - 1),
        }
        let end = i32::try_from(self.bytes.len()).expect("a batch is sealed long before 2 GiB");
        self.ends.push(end);
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        if self.absent.binary_search(&index).is_ok() {
            return None;
        }
        // The conversions hold: ends are lengths, hence never negative.
        let (start, end) = (self.ends[index] as usize, self.ends[index + 1] as usize);
        Some(&self.bytes[start..end])
    }
}

/// Byte strings in Arrow's layout: concatenated bytes, `n + 1` offsets, and the indexes of the absent ones.
pub type BinaryParts = (Vec<u8>, Vec<i32>, Vec<usize>);

impl RawBatch {
    /// An empty batch with room for `records` records of `bytes` payload bytes in all.
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        let arena = |bytes| Arena {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(records + 1),
            absent: Vec::new(),
        };
        Self {
            partitions: Vec::with_capacity(records),
            offsets: Vec::with_capacity(records),
            timestamps_us: Vec::with_capacity(records),
            keys: arena(bytes / 3),
            payloads: arena(bytes),
            ..Self::default()
        }
    }

    /// Appends a record. `timestamp_ms` is Kafka's timestamp, if the record has one.
    pub fn push(
        &mut self,
        (partition, offset): (PartitionId, Offset),
        timestamp_ms: Option<i64>,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        headers: Headers,
    ) {
        if !headers.is_empty() {
            self.headers.push((self.offsets.len(), headers));
        }
        self.partitions.push(partition);
        self.offsets.push(offset);
        self.timestamps_us
            .push(timestamp_ms.map_or(NO_TIMESTAMP, |ms| ms.saturating_mul(1000)));
        self.keys.push(key);
        self.payloads.push(payload);
        if let Some(ms) = timestamp_ms {
            self.count_produced(ms);
        }
    }

    // Records of one millisecond come in runs: the histogram is touched once a run, not once a record.
    fn count_produced(&mut self, timestamp_ms: i64) {
        let (run_ms, records) = &mut self.produced_run;
        if *run_ms == timestamp_ms {
            *records += 1;
            return;
        }
        if *records > 0 {
            self.produced_at.add(*run_ms, *records);
        }
        self.produced_run = (timestamp_ms, 1);
    }

    /// Closes the batch: sets what it covers and when.
    pub fn seal(&mut self, ranges: Ranges, sealed_at_us: i64, at_end: bool) {
        let (run_ms, records) = std::mem::take(&mut self.produced_run);
        if records > 0 {
            self.produced_at.add(run_ms, records);
        }
        self.ranges = ranges;
        self.sealed_at_us = sealed_at_us;
        self.at_end = at_end;
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is no record. The batch may cover offsets all the same.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Bytes of payloads and keys.
    pub fn size_bytes(&self) -> usize {
        self.payloads.bytes.len() + self.keys.bytes.len()
    }

    /// The payload of record `index`; `None` for a tombstone.
    pub fn payload(&self, index: usize) -> Option<&[u8]> {
        self.payloads.get(index)
    }

    /// The key of record `index`.
    pub fn key(&self, index: usize) -> Option<&[u8]> {
        self.keys.get(index)
    }

    /// A copy of these records, as a batch that covers nothing: its ranges and producer times are this one's.
    pub fn piece(&self, rows: Range<usize>) -> Self {
        let bytes = rows.clone().filter_map(|row| self.payload(row)).map(<[u8]>::len).sum();
        let mut piece = Self::with_capacity(rows.len(), bytes);
        let mut headers = self.headers.iter().skip_while(|(row, _)| *row < rows.start).peekable();
        for row in rows.clone() {
            let of_row = headers.next_if(|(index, _)| *index == row);
            let headers = of_row.map(|(_, headers)| headers.clone()).unwrap_or_default();
            piece.push(
                (self.partitions[row], self.offsets[row]),
                None,
                self.key(row),
                self.payload(row),
                headers,
            );
        }
        piece.timestamps_us.clear();
        piece.timestamps_us.extend_from_slice(&self.timestamps_us[rows]);
        piece.sealed_at_us = self.sealed_at_us;
        piece.at_end = self.at_end;
        piece
    }

    /// Takes the keys out, without a copy.
    pub fn take_keys(&mut self) -> BinaryParts {
        let keys = std::mem::take(&mut self.keys);
        let ends = if keys.ends.is_empty() { vec![0] } else { keys.ends };
        (keys.bytes, ends, keys.absent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_absent_and_empty_apart() {
        let mut batch = RawBatch::default();
        batch.push((0, 5), Some(1), Some(b"k"), Some(b"pay"), vec![]);
        batch.push((0, 6), None, None, None, vec![("h".into(), None)]);
        batch.push((1, 0), Some(1), Some(b""), Some(b""), vec![]);
        assert_eq!(
            (batch.payload(0), batch.payload(1), batch.payload(2)),
            (Some(&b"pay"[..]), None, Some(&b""[..]))
        );
        assert_eq!(
            (batch.key(0), batch.key(1), batch.key(2)),
            (Some(&b"k"[..]), None, Some(&b""[..]))
        );
        assert_eq!(batch.timestamps_us, [1000, NO_TIMESTAMP, 1000]);
        assert_eq!(batch.headers[0].0, 1);
        let (bytes, ends, absent) = batch.take_keys();
        assert_eq!(
            (bytes.as_slice(), ends.as_slice(), absent.as_slice()),
            (&b"k"[..], &[0, 1, 1, 1][..], &[1][..])
        );
    }

    #[test]
    fn a_piece_has_the_same_records() {
        let mut batch = RawBatch::default();
        for offset in 0..6_u8 {
            let headers = if offset == 3 {
                vec![("h".into(), Some(vec![1]))]
            } else {
                vec![]
            };
            let payload = [offset; 3];
            let payload = (offset != 4).then_some(&payload[..]);
            batch.push(
                (1, offset.into()),
                Some(offset.into()),
                Some(&[offset]),
                payload,
                headers,
            );
        }
        let piece = batch.piece(2..5);
        assert_eq!((piece.len(), &piece.offsets[..]), (3, &[2, 3, 4][..]));
        assert_eq!(piece.timestamps_us, [2000, 3000, 4000]);
        assert_eq!(
            (piece.payload(1), piece.payload(2), piece.key(0)),
            (Some(&[3; 3][..]), None, Some(&[2][..]))
        );
        assert_eq!(piece.headers, [(1, vec![("h".to_owned(), Some(vec![1]))])]);
        assert!(piece.ranges.is_empty());
    }

    #[test]
    fn producer_times_are_counted_when_sealed() {
        let mut batch = RawBatch::default();
        for offset in 0..10 {
            batch.push((0, offset), Some(1000 + offset / 4), None, Some(b"x"), vec![]);
        }
        batch.seal(Ranges::default(), 0, false);
        assert_eq!(batch.produced_at.delays_ms(2000).map(|(_, n)| n).sum::<u64>(), 10);
    }
}

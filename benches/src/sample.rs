//! Trades without Kafka: as the consumer hands them over, decoded, and as bronze rows.

use std::sync::Arc;

use arrow_array::RecordBatch;
use tapehouse_actors::{RowSource, decode_rows};
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_kafka::decode::{MAX_BATCH_ROWS, SchemaEntry, Schemas, TopicDecoder, arrow_schema};
use tapehouse_kafka::generator::{EventClock, Generator, GeneratorOptions, SchemaIds, Topic, schemas};
use tapehouse_kafka::raw_batch::RawBatch;
use tapehouse_lake::bronze::{BronzeLayout, table_schema};

use crate::Outcome;

/// Schema id of the samples.
const SCHEMA_ID: u32 = 1;
/// 2026-01-05T15:00:00Z, a Monday's session.
const START_US: i64 = 1_767_625_200_000_000;
/// Partitions of the sampled topic.
pub const PARTITIONS: i32 = 4;

/// A source of batches whose offsets continue each other.
pub struct Trades {
    generator: Generator,
    next: [i64; PARTITIONS as usize],
    decoder: TopicDecoder,
    schemas: Schemas,
    layout: BronzeLayout,
    source: RowSource,
}

impl Trades {
    /// Trades of this seed.
    ///
    /// # Errors
    /// When the schema has no Arrow or Iceberg form.
    pub fn new(seed: u64) -> Outcome<Self> {
        let options = GeneratorOptions {
            seed,
            start_us: Some(START_US),
            clock: EventClock::Synthetic {
                trades_per_second: 5000.0,
            },
            ..GeneratorOptions::default()
        };
        let arrow = arrow_schema(SCHEMA_ID, schemas::TRADE, &[])?;
        Ok(Self {
            generator: Generator::new(options, SchemaIds::new(SCHEMA_ID, 2, 3))?,
            next: [0; PARTITIONS as usize],
            decoder: TopicDecoder::new(Vec::new()),
            schemas: Schemas::from([(SCHEMA_ID, SchemaEntry::Known(Arc::from(schemas::TRADE)))]),
            layout: BronzeLayout::new(Arc::new(table_schema(&arrow)?))?,
            source: RowSource::new("raw.trades", 0, "00000000-0000-7000-8000-000000000000", MAX_BATCH_ROWS),
        })
    }

    /// The layout of the rows; its field ids are those that a new table assigns.
    pub fn layout(&self) -> &BronzeLayout {
        &self.layout
    }

    /// The schemas that decoding needs.
    pub fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// The next `records` trades as the consumer would hand them over: fetched partition by partition.
    pub fn raw(&mut self, records: usize) -> RawBatch {
        let trades = self.generator.next_batch(Topic::Trades, records, START_US);
        let mut batch = RawBatch::with_capacity(records, trades.size_bytes());
        let before = self.next;
        let a_partition = records.div_ceil(PARTITIONS as usize).max(1);
        for (index, trade) in trades.iter().enumerate() {
            let partition = index / a_partition;
            let offset = self.next[partition];
            self.next[partition] += 1;
            let place = (i32::try_from(partition).unwrap_or(0), offset);
            batch.push(place, Some(trade.timestamp_ms), trade.key, trade.value, Vec::new());
        }
        let grown = before.iter().zip(self.next).enumerate();
        let ranges = grown
            .filter(|(_, (start, end))| *end > **start)
            .map(|(partition, (&start, end))| (i32::try_from(partition).unwrap_or(0), OffsetRange::new(start, end)));
        batch.seal(Ranges(ranges.collect()), START_US, false);
        batch
    }

    /// The next `records` trades as bronze rows, and the ranges that they cover.
    ///
    /// # Errors
    /// When a record cannot be decoded, which no sample is.
    pub fn rows(&mut self, records: usize) -> Outcome<(RecordBatch, Ranges)> {
        let raw = self.raw(records);
        let ranges = raw.ranges.clone();
        let decoded = self.decoder.decode(&raw, &self.schemas);
        let mut batches = decode_rows(raw, decoded, &self.layout, &self.source)?;
        match (batches.pop(), batches.is_empty()) {
            (Some(rows), true) => Ok((rows, ranges)),
            _ => Err("the samples have one schema and no undecodable record".into()),
        }
    }

    /// Date of all rows, in days since 1970-01-01.
    pub fn date() -> i32 {
        i32::try_from(START_US / 86_400_000_000).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_continue_each_other() {
        let mut trades = Trades::new(3).unwrap();
        let (first, ranges) = trades.rows(10).unwrap();
        assert_eq!(
            (first.num_rows(), ranges.0[&0], ranges.0[&3]),
            (10, OffsetRange::new(0, 3), OffsetRange::new(0, 1))
        );
        let (second, ranges) = trades.rows(4).unwrap();
        assert_eq!(
            (second.num_rows(), ranges.0[&0], ranges.0[&3]),
            (4, OffsetRange::new(3, 4), OffsetRange::new(1, 2))
        );
        assert_eq!(Trades::new(3).unwrap().rows(10).unwrap().0, first);
    }
}

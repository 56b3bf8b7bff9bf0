//! What the generator promises, seen through `arrow-avro` as a reader would.

mod consistency;
mod encoding;
mod faults;

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch};
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};

use super::*;

const IDS: SchemaIds = SchemaIds::new(7, 300, 70_000);
/// 2024-03-05 14:30 UTC.
const START_US: i64 = 1_709_649_000_000_000;

fn decoder() -> Decoder {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    for topic in Topic::ALL {
        store
            .set(
                Fingerprint::Id(IDS.get(topic)),
                AvroSchema::new(topic.schema().to_owned()),
            )
            .unwrap();
    }
    let first = Fingerprint::Id(IDS.get(Topic::Trades));
    ReaderBuilder::new()
        .with_batch_size(1 << 20)
        .with_writer_schema_store(store)
        .with_active_fingerprint(first)
        .build_decoder()
        .unwrap()
}

/// Decodes values of one topic; every byte must be used.
fn decode<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> RecordBatch {
    let mut decoder = decoder();
    for value in values {
        let mut used = 0;
        // A change of schema takes only the prefix, until what was decoded before is flushed.
        for _ in 0..2 {
            used += decoder.decode(&value[used..]).unwrap();
            if used < value.len() {
                assert!(decoder.flush().unwrap().is_none_or(|batch| batch.num_rows() == 0));
            }
        }
        assert_eq!(used, value.len());
    }
    decoder.flush().unwrap().unwrap()
}

fn decode_batch(batch: &GeneratedBatch) -> RecordBatch {
    decode(batch.iter().map(|record| record.value.unwrap()))
}

fn strings<'a>(batch: &'a RecordBatch, column: &str) -> Vec<Option<&'a str>> {
    batch
        .column_by_name(column)
        .unwrap()
        .as_string::<i32>()
        .iter()
        .collect()
}

fn doubles(batch: &RecordBatch, column: &str) -> Vec<Option<f64>> {
    batch
        .column_by_name(column)
        .unwrap()
        .as_primitive::<Float64Type>()
        .iter()
        .collect()
}

fn times(batch: &RecordBatch, column: &str) -> Vec<i64> {
    let column = batch.column_by_name(column).unwrap();
    assert_eq!(column.null_count(), 0);
    column.as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

/// Levels of each row as (price, size).
fn levels(batch: &RecordBatch, column: &str) -> Vec<Vec<(f64, f64)>> {
    let lists = batch.column_by_name(column).unwrap().as_list::<i32>();
    lists
        .iter()
        .map(|list| {
            let list = list.unwrap();
            let level = list.as_struct();
            let column = |name: &str| Arc::clone(level.column_by_name(name).unwrap());
            let (prices, sizes) = (column("price"), column("size"));
            let prices = prices.as_primitive::<Float64Type>().values().to_vec();
            prices
                .into_iter()
                .zip(sizes.as_primitive::<Float64Type>().values().to_vec())
                .collect()
        })
        .collect()
}

fn synthetic(options: GeneratorOptions) -> Generator {
    let clock = EventClock::Synthetic {
        trades_per_second: 1_000.0,
    };
    Generator::new(
        GeneratorOptions {
            clock,
            start_us: Some(START_US),
            ..options
        },
        IDS,
    )
    .unwrap()
}

/// Later than any synthetic event here.
const NOW_US: i64 = START_US + 365 * 86_400_000_000;

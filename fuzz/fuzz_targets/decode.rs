//! Values of records: wire format and Avro decoding.
//!
//! The first byte chooses the writer schema. Then come records: a length byte, a kind byte (well-formed header, tombstone, as it is)
//! and the body. Whatever they hold, every record must end in exactly one place: decoded, or failed with its cause.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tapehouse_kafka::decode::{Decoded, Rows, SchemaEntry, Schemas, TopicDecoder, schema_ids};
use tapehouse_kafka::generator::schemas;
use tapehouse_kafka::raw_batch::RawBatch;

/// Every type that Avro has, nested in every other.
const EVERYTHING: &str = r#"{"type": "record", "name": "Everything", "fields": [
  {"name": "flag", "type": "boolean"}, {"name": "i", "type": "int"}, {"name": "l", "type": "long"}, {"name": "f", "type": "float"},
  {"name": "b", "type": ["null", "bytes"]}, {"name": "s", "type": ["string", "null"]},
  {"name": "e", "type": {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}},
  {"name": "x", "type": {"type": "fixed", "name": "Four", "size": 4}},
  {"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4}},
  {"name": "day", "type": {"type": "int", "logicalType": "date"}},
  {"name": "t", "type": {"type": "long", "logicalType": "time-micros"}},
  {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "trade_timestamp", "type": "string"},
  {"name": "m", "type": {"type": "map", "values": {"type": "array", "items": ["null", "long"]}}},
  {"name": "a", "type": {"type": "array", "items": {"type": "record", "name": "Inner", "fields": [
    {"name": "p", "type": ["null", "double"]}, {"name": "n", "type": {"type": "array", "items": "string"}}]}}}
]}"#;

static WRITER_SCHEMAS: LazyLock<[Arc<str>; 4]> = LazyLock::new(|| {
    [
        schemas::TRADE.into(),
        schemas::ORDER_BOOK.into(),
        schemas::BAR.into(),
        EVERYTHING.into(),
    ]
});
const ID: u32 = 7;
const MAX_RECORDS: i64 = 512;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, mut rest)) = data.split_first() else { return };
    let json = &WRITER_SCHEMAS[usize::from(choice) % WRITER_SCHEMAS.len()];
    let mut batch = RawBatch::default();
    let mut offset = 0;
    while let [len, kind, tail @ ..] = rest
        && offset < MAX_RECORDS
    {
        let (body, next) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = next;
        let headed = [&[0], &ID.to_be_bytes()[..], body].concat();
        let payload = match kind % 8 {
            0 => None,
            1 => Some(body),
            _ => Some(&headed[..]),
        };
        batch.push((0, offset), None, None, payload, vec![]);
        offset += 1;
    }
    let schemas: Schemas = schema_ids(&batch)
        .into_iter()
        .filter(|id| id % 3 == ID % 3)
        .map(|id| (id, SchemaEntry::Known(Arc::clone(json))))
        .collect();
    let mut decoder = TopicDecoder::new(vec!["trade_timestamp".to_owned()]);
    // Twice: what a batch leaves in the decoder must not change the next one.
    let first = decoder.decode(&batch, &schemas);
    let second = decoder.decode(&batch, &schemas);
    assert_eq!(places(&first, batch.len()), places(&second, batch.len()));
});

/// For each record how often it was decoded, and whether it failed: each exactly one of the two.
fn places(decoded: &Decoded, records: usize) -> Vec<bool> {
    let mut good = vec![0_u32; records];
    let mut bad = vec![0_u32; records];
    for group in &decoded.groups {
        match &group.rows {
            Rows::All => {
                assert_eq!(group.columns.num_rows(), records);
                good.iter_mut().for_each(|count| *count += 1);
            }
            Rows::Some(rows) => {
                assert_eq!(group.columns.num_rows(), rows.len());
                rows.iter().for_each(|&row| good[row as usize] += 1);
            }
        }
    }
    decoded.failed.iter().for_each(|(row, _)| bad[*row as usize] += 1);
    for row in 0..records {
        assert_eq!(good[row] + bad[row], 1, "record {row}");
    }
    good.into_iter().map(|count| count == 1).collect()
}

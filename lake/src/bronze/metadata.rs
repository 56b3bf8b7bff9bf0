//! The columns that every bronze table has: where a row came from, and what could not be decoded.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::{DataType, Field, Fields, TimeUnit};

/// Column that bronze is partitioned by.
pub const PARTITION_COLUMN: &str = "ingestion_date";

/// Name and comment of each metadata column, in table order.
pub const METADATA_COLUMNS: [(&str, &str); 13] = [
    ("ingestion_timestamp", "When Tapehouse took the record from Kafka, UTC"),
    ("ingestion_date", "UTC date of ingestion_timestamp; the partition"),
    ("ingestion_run_id", "Process start that wrote the row"),
    ("kafka_topic", "Kafka topic"),
    ("topic_incarnation", "Counts adopted recreations of the topic"),
    ("kafka_partition", "Kafka partition"),
    (
        "kafka_offset",
        "Kafka offset; with incarnation and partition it names the record",
    ),
    (
        "kafka_timestamp",
        "Timestamp of the Kafka record, UTC; null where it has none",
    ),
    ("kafka_key", "Key of the Kafka record as received"),
    (
        "kafka_headers",
        "Headers of the Kafka record; the n-th repetition of a name is kept as name#n",
    ),
    ("schema_id", "Schema Registry id that the value names"),
    ("raw_value", "Value as received, where it could not be decoded"),
    ("decode_error", "Why the value could not be decoded: code, then detail"),
];

/// The arrays of the metadata columns of one batch, in the order of [`METADATA_COLUMNS`].
#[derive(Clone, Debug)]
pub struct MetadataArrays(pub [ArrayRef; METADATA_COLUMNS.len()]);

/// Arrow type of `timestamptz`.
pub(crate) fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

/// Arrow type of the headers: a map from name to value.
pub(crate) fn headers() -> DataType {
    let entries = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Binary, true),
    ]);
    DataType::Map(
        Arc::new(Field::new("key_value", DataType::Struct(entries), false)),
        false,
    )
}

fn data_type(name: &str) -> DataType {
    match name {
        "ingestion_timestamp" | "kafka_timestamp" => timestamptz(),
        "ingestion_date" => DataType::Date32,
        "topic_incarnation" | "kafka_partition" | "schema_id" => DataType::Int32,
        "kafka_offset" => DataType::Int64,
        "kafka_key" | "raw_value" => DataType::Binary,
        "kafka_headers" => headers(),
        _ => DataType::Utf8,
    }
}

/// The metadata columns as Arrow fields. All are optional, so that other engines can append rows of their own.
pub(crate) fn fields() -> impl Iterator<Item = Field> {
    METADATA_COLUMNS.iter().map(|(name, doc)| {
        Field::new(*name, data_type(name), true).with_metadata([("doc".to_owned(), (*doc).to_owned())].into())
    })
}

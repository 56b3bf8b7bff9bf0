//! `bronze.raw_trades` for tests, as ingest writes it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow_schema::{DataType, Field, Schema as ArrowSchema, TimeUnit};
use tapehouse_core::append::AppendRequest;
use tapehouse_core::identity::TopicIdentity;
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_core::state::{STATE_PROPERTY, StreamState};
use tapehouse_lake::bronze::{BronzeLayout, partition_spec, table_schema};
use tapehouse_lake::files::{FileEncoder, write_file};
use tapehouse_lake::{Lake, NewTable, StagedAppend, TableName};
use uuid::Uuid;

use crate::support::committed;

/// 2026-01-05 12:00 UTC: the same date in New York.
pub const NOON_US: i64 = 1_767_614_400_000_000;
pub const DATE: i32 = 20_458;

/// A record of incarnation 0.
#[derive(Clone, Debug)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub id: Option<String>,
    pub price: Option<f64>,
    pub side: Option<&'static str>,
    pub trade_us: i64,
    pub event_us: Option<i64>,
}

/// An empty table.
pub async fn create(lake: &Lake) -> TableName {
    let bronze: TableName = "bronze.raw_trades".parse().unwrap();
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let field = |name: &str, kind: &DataType| Field::new(name, kind.clone(), true);
    let source = ArrowSchema::new(vec![
        field("trade_id", &DataType::Utf8),
        field("symbol", &DataType::Utf8),
        field("price", &DataType::Float64),
        field("quantity", &DataType::Float64),
        field("side", &DataType::Utf8),
        field("trader_id", &DataType::Utf8),
        field("exchange", &DataType::Utf8),
        field("trade_timestamp", &time),
        field("event_timestamp", &time),
    ]);
    let schema = table_schema(&source).unwrap();
    let new = NewTable {
        partition_spec: partition_spec(&schema).unwrap(),
        schema,
        properties: HashMap::from([(
            STATE_PROPERTY.to_owned(),
            StreamState::new("cluster-1", "raw.trades").to_json(),
        )]),
    };
    lake.create_table(&bronze, new).await.unwrap();
    bronze
}

/// Commits records as those of these ranges (partition, start, end); the rows.
pub async fn append(lake: &Lake, bronze: &TableName, records: &[Record], ranges: &[(i32, i64, i64)]) -> RecordBatch {
    let table = lake.load(bronze).await.unwrap().unwrap();
    let layout = BronzeLayout::new(Arc::clone(table.metadata().current_schema())).unwrap();
    let all = rows(&layout, records);
    let mut files = Vec::new();
    if !records.is_empty() {
        let mut encoder = FileEncoder::open(layout.file(), DATE, &all).unwrap();
        encoder.push(&all).unwrap();
        let location = table.metadata().location();
        let file = write_file(lake.warehouse(), location, 0, encoder.finish().unwrap());
        files.push(file.await.unwrap());
    }
    let ranges = ranges
        .iter()
        .map(|&(partition, start, end)| (partition, OffsetRange::new(start, end)));
    let staged = StagedAppend {
        files,
        request: AppendRequest {
            topic: "raw.trades".to_owned(),
            incarnation: 0,
            owner: "cluster-1".to_owned(),
            identity: TopicIdentity::default(),
            ranges: Ranges(ranges.collect()),
        },
        summary: BTreeMap::new(),
        commit_id: Uuid::new_v4(),
        schema_id: table.metadata().current_schema_id(),
    };
    committed(lake.append(bronze, &staged).await.unwrap());
    all
}

fn rows(layout: &BronzeLayout, records: &[Record]) -> RecordBatch {
    let count = records.len();
    let times = |of: &dyn Fn(&Record) -> Option<i64>| -> ArrayRef {
        let times = TimestampMicrosecondArray::from_iter(records.iter().map(of));
        Arc::new(times.with_timezone("+00:00"))
    };
    let arrays = layout.arrow().fields().iter().map(|field| match field.name().as_str() {
        "trade_id" => Arc::new(StringArray::from_iter(
            records.iter().map(|record| record.id.as_deref()),
        )) as ArrayRef,
        "symbol" => Arc::new(StringArray::from(vec![" aapl"; count])),
        "side" => Arc::new(StringArray::from_iter(records.iter().map(|record| record.side))),
        "price" => Arc::new(Float64Array::from_iter(records.iter().map(|record| record.price))),
        "quantity" => Arc::new(Float64Array::from(vec![Some(10.0); count])),
        "kafka_timestamp" | "ingestion_timestamp" => times(&|_| Some(NOON_US)),
        "trade_timestamp" => times(&|record| Some(record.trade_us)),
        "event_timestamp" => times(&|record| record.event_us),
        "ingestion_date" => Arc::new(Date32Array::from(vec![DATE; count])),
        "topic_incarnation" => Arc::new(Int32Array::from(vec![0; count])),
        "kafka_partition" => Arc::new(Int32Array::from_iter_values(
            records.iter().map(|record| record.partition),
        )),
        "kafka_offset" => Arc::new(Int64Array::from_iter_values(records.iter().map(|record| record.offset))),
        _ => new_null_array(field.data_type(), count),
    });
    RecordBatch::try_new(Arc::clone(layout.arrow()), arrays.collect()).unwrap()
}

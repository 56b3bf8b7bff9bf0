//! Rows as names and values, to and from Arrow.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, ListArray, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields, Schema};

use super::*;
use crate::bronze::timestamptz;

/// 2026-01-05T15:00:00Z, and its date in New York.
pub const NOON_US: i64 = 1_767_625_200_000_000;
pub const NOON_DATE: i32 = 20_458;

pub type Level = Option<(Option<f64>, Option<f64>)>;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Double(f64),
    Int(i32),
    Long(i64),
    Time(i64),
    Date(i32),
    Bool(bool),
    Levels(Vec<Level>),
}

/// The values that are not null.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row(pub BTreeMap<String, Value>);

impl Row {
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    pub fn text(self, name: &str, value: &str) -> Self {
        self.with(name, Value::Text(value.to_owned()))
    }

    pub fn double(self, name: &str, value: f64) -> Self {
        self.with(name, Value::Double(value))
    }

    pub fn time(self, name: &str, value: i64) -> Self {
        self.with(name, Value::Time(value))
    }

    pub fn null(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    pub fn get_text(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            Value::Text(value) => Some(value),
            other => panic!("{name} is {other:?}"),
        }
    }

    pub fn get_double(&self, name: &str) -> Option<f64> {
        match self.0.get(name)? {
            Value::Double(value) => Some(*value),
            other => panic!("{name} is {other:?}"),
        }
    }

    pub fn get_time(&self, name: &str) -> Option<i64> {
        match self.0.get(name)? {
            Value::Time(value) => Some(*value),
            other => panic!("{name} is {other:?}"),
        }
    }

    pub fn get_levels(&self, name: &str) -> Option<&[Level]> {
        match self.0.get(name)? {
            Value::Levels(value) => Some(value),
            other => panic!("{name} is {other:?}"),
        }
    }
}

fn record() -> Row {
    Row::default()
        .with("topic_incarnation", Value::Int(0))
        .with("kafka_partition", Value::Int(3))
        .with("kafka_offset", Value::Long(77))
        .time("kafka_timestamp", NOON_US + 5)
}

/// A trade that no rule finds fault with.
pub fn trade() -> Row {
    record()
        .text("trade_id", "T001")
        .text("symbol", "AAPL")
        .double("price", 150.25)
        .double("quantity", 100.0)
        .text("side", "BUY")
        .text("trader_id", "TRD0001")
        .text("exchange", "NYSE")
        .time("trade_timestamp", NOON_US)
        .time("event_timestamp", NOON_US + 1)
}

/// Such a book.
pub fn book() -> Row {
    let levels = |prices: [f64; 2]| Value::Levels(prices.map(|price| Some((Some(price), Some(300.0)))).to_vec());
    record()
        .text("symbol", "AAPL")
        .text("exchange", "NYSE")
        .time("snapshot_timestamp", NOON_US)
        .time("event_timestamp", NOON_US + 1)
        .double("best_bid", 150.01)
        .double("best_ask", 150.03)
        .double("bid_size", 300.0)
        .double("ask_size", 200.0)
        .with("bids", levels([150.01, 150.0]))
        .with("asks", levels([150.03, 150.04]))
}

/// Such a bar.
pub fn bar() -> Row {
    record()
        .text("symbol", "AAPL")
        .text("exchange", "NYSE")
        .time("interval_start", NOON_US)
        .time("interval_end", NOON_US + 60_000_000)
        .time("event_timestamp", NOON_US + 1)
        .double("open", 10.0)
        .double("high", 12.0)
        .double("low", 9.0)
        .double("close", 11.0)
        .double("volume", 5000.0)
}

/// The rows as a bronze batch, with the columns that cleaning needs.
pub fn batch(table: SilverTable, rows: &[Row]) -> RecordBatch {
    let names = table.source_columns();
    let columns = names.iter().map(|name| column(&kind(table, name), name, rows));
    let columns: Vec<ArrayRef> = columns.collect();
    let fields: Vec<Field> = names
        .iter()
        .zip(&columns)
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn kind(table: SilverTable, name: &str) -> DataType {
    match name {
        "kafka_timestamp" => timestamptz(),
        "decode_error" => DataType::Utf8,
        _ => table.arrow().field_with_name(name).unwrap().data_type().clone(),
    }
}

macro_rules! values {
    ($rows:expr, $name:expr, $variant:ident) => {
        $rows.iter().map(|row| match row.0.get($name) {
            None => None,
            Some(Value::$variant(value)) => Some(value.clone()),
            Some(other) => panic!("{} is {other:?}", $name),
        })
    };
}

fn column(kind: &DataType, name: &str, rows: &[Row]) -> ArrayRef {
    match kind {
        DataType::Utf8 => Arc::new(values!(rows, name, Text).collect::<StringArray>()),
        DataType::Float64 => Arc::new(values!(rows, name, Double).collect::<Float64Array>()),
        DataType::Int32 => Arc::new(values!(rows, name, Int).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(values!(rows, name, Long).collect::<Int64Array>()),
        DataType::Date32 => Arc::new(values!(rows, name, Date).collect::<Date32Array>()),
        DataType::Boolean => Arc::new(values!(rows, name, Bool).collect::<BooleanArray>()),
        DataType::Timestamp(..) => {
            let times = values!(rows, name, Time).collect::<TimestampMicrosecondArray>();
            Arc::new(times.with_timezone("+00:00"))
        }
        DataType::List(_) => Arc::new(lists(values!(rows, name, Levels).collect())),
        other => panic!("{name}: {other}"),
    }
}

fn lists(lists: Vec<Option<Vec<Level>>>) -> ListArray {
    let levels: Vec<Level> = lists.iter().flatten().flatten().copied().collect();
    let price: Float64Array = levels.iter().map(|level| level.and_then(|(price, _)| price)).collect();
    let size: Float64Array = levels.iter().map(|level| level.and_then(|(_, size)| size)).collect();
    let nulls = NullBuffer::from_iter(levels.iter().map(Option::is_some));
    let fields = Fields::from(
        ["price", "size"]
            .map(|name| Field::new(name, DataType::Float64, true))
            .to_vec(),
    );
    let columns: Vec<ArrayRef> = vec![Arc::new(price), Arc::new(size)];
    let levels = StructArray::new(fields.clone(), columns, Some(nulls));
    ListArray::new(
        Arc::new(Field::new("element", DataType::Struct(fields), true)),
        OffsetBuffer::from_lengths(lists.iter().map(|list| list.as_ref().map_or(0, Vec::len))),
        Arc::new(levels),
        Some(NullBuffer::from_iter(lists.iter().map(Option::is_some))),
    )
}

/// The rows of a batch.
pub fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let schema = batch.schema();
    let row = |row: usize| {
        let columns = schema.fields().iter().zip(batch.columns());
        let valid = columns.filter(|(_, column)| column.is_valid(row));
        Row(valid
            .map(|(field, column)| (field.name().clone(), value(column, row)))
            .collect())
    };
    (0..batch.num_rows()).map(row).collect()
}

fn value(column: &ArrayRef, row: usize) -> Value {
    match column.data_type() {
        DataType::Utf8 => Value::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::Float64 => Value::Double(column.as_primitive::<Float64Type>().value(row)),
        DataType::Int32 => Value::Int(column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => Value::Long(column.as_primitive::<Int64Type>().value(row)),
        DataType::Date32 => Value::Date(column.as_primitive::<Date32Type>().value(row)),
        DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
        DataType::Timestamp(..) => Value::Time(column.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataType::List(_) => {
            let levels = column.as_list::<i32>().value(row);
            let levels = levels.as_struct();
            let number = |name: &str, level: usize| {
                let numbers = levels.column_by_name(name).unwrap().as_primitive::<Float64Type>();
                numbers.is_valid(level).then(|| numbers.value(level))
            };
            let level = |level: usize| {
                levels
                    .is_valid(level)
                    .then(|| (number("price", level), number("size", level)))
            };
            Value::Levels((0..levels.len()).map(level).collect())
        }
        other => panic!("{other}"),
    }
}

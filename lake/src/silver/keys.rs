//! Keys and order of silver rows, as cleaned or as read back from the table.

use arrow_array::cast::AsArray;
use arrow_array::temporal_conversions::timestamp_us_to_datetime;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray, RecordBatch, StringArray};

use tapehouse_core::words::one_line;

use super::SilverTable;
use super::clean::CleanError;
use crate::index::{KeyHash, Order};

/// The columns that [`orders`] needs.
pub const ORDER_COLUMNS: [&str; 4] = [
    "event_timestamp",
    "topic_incarnation",
    "kafka_partition",
    "kafka_offset",
];

/// Of a key so much is shown.
const MAX_KEY_CHARS: usize = 80;

/// Event time of a row without one: it loses to every other.
const NO_EVENT_US: i64 = i64::MIN;

/// The key of each row. Needed are the table's key columns, in silver's types and without nulls.
///
/// # Errors
/// [`CleanError::Column`] where a key column is missing or of another type.
pub fn keys(table: SilverTable, rows: &RecordBatch) -> Result<Vec<KeyHash>, CleanError> {
    match table {
        SilverTable::Trades => {
            let ids = texts(rows, "trade_id")?;
            Ok((0..ids.len())
                .map(|row| KeyHash::of(ids.value(row).as_bytes()))
                .collect())
        }
        SilverTable::OrderbookSnapshots | SilverTable::MarketData => {
            let symbols = texts(rows, "symbol")?;
            let times = primitive::<TimestampMicrosecondType>(rows, table.timestamp_column())?.values();
            let mut scratch = Vec::new();
            let key = |(row, &time_us)| KeyHash::of_text_at(symbols.value(row), time_us, &mut scratch);
            Ok(times.iter().enumerate().map(key).collect())
        }
    }
}

/// How each row compares with others of its key. Needed are `event_timestamp` and the coordinates, in silver's types.
///
/// # Errors
/// [`CleanError::Column`] where one of them is missing or of another type.
pub fn orders(rows: &RecordBatch) -> Result<Vec<Order>, CleanError> {
    let events = primitive::<TimestampMicrosecondType>(rows, "event_timestamp")?;
    let incarnations = primitive::<Int32Type>(rows, "topic_incarnation")?.values();
    let partitions = primitive::<Int32Type>(rows, "kafka_partition")?.values();
    let offsets = primitive::<Int64Type>(rows, "kafka_offset")?.values();
    let order = |row| Order {
        event_us: if events.is_null(row) {
            NO_EVENT_US
        } else {
            events.value(row)
        },
        incarnation: incarnations[row],
        partition: partitions[row],
        offset: offsets[row],
    };
    Ok((0..rows.num_rows()).map(order).collect())
}

/// The key of one row, for people; the row is as [`keys`] needs it.
pub fn key_text(table: SilverTable, rows: &RecordBatch, row: usize) -> String {
    let column = match table {
        SilverTable::Trades => "trade_id",
        SilverTable::OrderbookSnapshots | SilverTable::MarketData => "symbol",
    };
    let text = match texts(rows, column) {
        Ok(texts) if texts.is_valid(row) => one_line(texts.value(row), MAX_KEY_CHARS),
        _ => "?".to_owned(),
    };
    if table == SilverTable::Trades {
        return text;
    }
    let times = primitive::<TimestampMicrosecondType>(rows, table.timestamp_column());
    let time = times.ok().and_then(|times| timestamp_us_to_datetime(times.value(row)));
    time.map_or_else(
        || text.clone(),
        |time| format!("{text} at {}Z", time.format("%Y-%m-%dT%H:%M:%S%.f")),
    )
}

fn texts<'a>(rows: &'a RecordBatch, column: &'static str) -> Result<&'a StringArray, CleanError> {
    let found = rows.column_by_name(column);
    let array = found.and_then(|array| array.as_string_opt::<i32>());
    array.ok_or_else(|| CleanError::column(column, "string", found))
}

fn primitive<'a, T: ArrowPrimitiveType>(
    rows: &'a RecordBatch,
    column: &'static str,
) -> Result<&'a PrimitiveArray<T>, CleanError> {
    let found = rows.column_by_name(column);
    let array = found.and_then(|array| array.as_primitive_opt::<T>());
    array.ok_or_else(|| CleanError::column(column, T::DATA_TYPE.to_string(), found))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int32Array, Int64Array, TimestampMicrosecondArray};

    use super::*;

    fn rows() -> RecordBatch {
        let times = |values: Vec<Option<i64>>| TimestampMicrosecondArray::from(values).with_timezone("+00:00");
        let columns: [(&str, ArrayRef); 6] = [
            ("symbol", Arc::new(StringArray::from(vec!["A", "B"]))),
            ("interval_start", Arc::new(times(vec![Some(5), Some(6)]))),
            ("event_timestamp", Arc::new(times(vec![None, Some(-7)]))),
            ("topic_incarnation", Arc::new(Int32Array::from(vec![1, 2]))),
            ("kafka_partition", Arc::new(Int32Array::from(vec![3, 4]))),
            ("kafka_offset", Arc::new(Int64Array::from(vec![50, 60]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn a_row_without_event_time_comes_before_all_others() {
        let orders = orders(&rows()).unwrap();
        let first = Order {
            event_us: i64::MIN,
            incarnation: 1,
            partition: 3,
            offset: 50,
        };
        let second = Order {
            event_us: -7,
            incarnation: 2,
            partition: 4,
            offset: 60,
        };
        assert_eq!(orders, [first, second]);
        assert!(first < second);
    }

    #[test]
    fn a_column_that_is_not_there_is_named() {
        let keys_of = |table| keys(table, &rows());
        assert_eq!(
            keys_of(SilverTable::MarketData).unwrap(),
            [
                KeyHash::of_text_at("A", 5, &mut Vec::new()),
                KeyHash::of_text_at("B", 6, &mut Vec::new())
            ]
        );
        let error = keys_of(SilverTable::Trades).unwrap_err().to_string();
        assert_eq!(error, "column `trade_id` is missing, string is needed");
    }
}

use arrow_array::cast::AsArray as _;
use arrow_array::types::Float64Type;
use arrow_schema::{DataType, Schema};

use super::*;
use crate::bronze::timestamptz;
use crate::silver::activity::fields;

const DAY: i32 = 19_877;
/// 2024-06-03T14:30:00Z.
const TIME_US: i64 = 1_717_425_000_000_000;

/// A trade: trader, symbol, price, quantity, time, whether it needs review.
type Trade = (Option<&'static str>, &'static str, f64, f64, i64, bool);

fn trades(rows: &[Trade]) -> RecordBatch {
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.4));
    let columns: [(&str, ArrayRef); 6] = [
        (
            "trader_id",
            Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>()),
        ),
        (
            "symbol",
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1))),
        ),
        (
            "price",
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.2))),
        ),
        (
            "quantity",
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.3))),
        ),
        ("trade_timestamp", Arc::new(times.with_timezone("+00:00"))),
        (
            "needs_review",
            Arc::new(rows.iter().map(|row| Some(row.5)).collect::<BooleanArray>()),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn layout() -> ArrowSchemaRef {
    Arc::new(Schema::new(fields()))
}

const HOUR: i64 = HOUR_US;

/// Numbers by hand: 2 * 100.5 + 1 * 10.25 = 211.25.
const ROWS: [Trade; 7] = [
    (Some("T2"), "AAPL", 100.5, 2.0, TIME_US, false),
    (Some("T2"), "MSFT", 10.25, 1.0, TIME_US + 1, false),
    (Some("T2"), "AAPL", 7.0, 3.0, TIME_US + HOUR, false),
    (Some("T1"), "AAPL", 0.1, 0.1, TIME_US + HOUR / 2 - 1, false),
    (None, "AAPL", 5.0, 5.0, TIME_US, false),
    (Some("T1"), "AAPL", 0.0, 5.0, TIME_US, true),
    (Some("T3"), "AAPL", 0.0, 5.0, TIME_US, true),
];

#[test]
fn each_hour_of_each_trader_is_one_row() {
    let found = compute(&[trades(&ROWS)], DAY, &layout()).unwrap();
    let first = TIME_US - HOUR / 2;
    let expected: [(&str, i64, i64, f64, f64, i64); 3] = [
        ("T1", first, 1, 0.1, 0.1 * 0.1, 1),
        ("T2", first, 2, 3.0, 211.25, 2),
        ("T2", first + HOUR, 1, 3.0, 21.0, 1),
    ];
    let texts = found.column(0).as_string::<i32>();
    let times = found.column(1).as_primitive::<TimestampMicrosecondType>();
    let longs = |at: usize| found.column(at).as_primitive::<arrow_array::types::Int64Type>();
    let doubles = |at: usize| found.column(at).as_primitive::<Float64Type>();
    let rows: Vec<_> = (0..found.num_rows())
        .map(|row| {
            (
                texts.value(row),
                times.value(row),
                longs(2).value(row),
                doubles(3).value(row),
                doubles(4).value(row),
                longs(5).value(row),
            )
        })
        .collect();
    assert_eq!(rows, expected);
    assert_eq!(found.column(1).data_type(), &timestamptz());
    let dates = found.column(6).as_primitive::<arrow_array::types::Date32Type>();
    assert!(dates.values().iter().all(|date| *date == DAY));
    assert_eq!(found.column(6).data_type(), &DataType::Date32);
}

#[test]
fn order_and_batches_of_the_trades_do_not_matter() {
    let mut rows: Vec<Trade> = (0..500_i32)
        .map(|at| {
            let trader = ["A", "B", "C"][at as usize % 3];
            let price = f64::from(at * 7919 % 1000) / 7.0 * 10f64.powi(at % 9);
            (
                Some(trader),
                "X",
                price,
                f64::from(at) / 3.0,
                TIME_US + i64::from(at % 2) * HOUR,
                false,
            )
        })
        .collect();
    let expected = compute(&[trades(&rows)], DAY, &layout()).unwrap();
    for round in 1..20_usize {
        rows.rotate_left(round * 13 % 500);
        rows[..400].reverse();
        let (left, right) = rows.split_at(round * 20);
        assert_eq!(
            compute(&[trades(left), trades(right)], DAY, &layout()).unwrap(),
            expected
        );
    }
}

#[test]
fn no_trades_are_no_rows() {
    assert_eq!(compute(&[], DAY, &layout()).unwrap().num_rows(), 0);
    assert!(compute(&[trades(&ROWS).project(&[0, 1]).unwrap()], DAY, &layout()).is_err());
}

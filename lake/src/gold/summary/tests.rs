use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{BooleanArray, TimestampMicrosecondArray};
use arrow_schema::Schema;

use super::*;

const DAY: i32 = 19_877;

/// A trade: symbol, price, quantity, trade and event time, whether it needs review, id.
type Trade = (Option<&'static str>, f64, f64, i64, Option<i64>, bool, &'static str);

fn trades(rows: &[Trade]) -> RecordBatch {
    let doubles = |of: fn(&Trade) -> f64| Arc::new(Float64Array::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.3));
    let events: TimestampMicrosecondArray = rows.iter().map(|row| row.4).collect();
    RecordBatch::try_from_iter_with_nullable(vec![
        (
            "symbol",
            Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>()) as ArrayRef,
            true,
        ),
        ("price", doubles(|row| row.1), true),
        ("quantity", doubles(|row| row.2), true),
        ("trade_timestamp", Arc::new(times) as ArrayRef, true),
        ("event_timestamp", Arc::new(events) as ArrayRef, true),
        (
            "needs_review",
            Arc::new(rows.iter().map(|row| Some(row.5)).collect::<BooleanArray>()) as ArrayRef,
            true,
        ),
        (
            "trade_id",
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.6))) as ArrayRef,
            true,
        ),
    ])
    .unwrap()
}

/// A symbol and two numbers.
type Pair<'a> = (&'a str, Option<f64>, Option<f64>);

fn pairs(names: [&str; 2], rows: &[Pair<'_>]) -> RecordBatch {
    let doubles =
        |of: fn(&Pair<'_>) -> Option<f64>| Arc::new(rows.iter().map(of).collect::<Float64Array>()) as ArrayRef;
    RecordBatch::try_from_iter_with_nullable(vec![
        (
            "symbol",
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))) as ArrayRef,
            true,
        ),
        (names[0], doubles(|row| row.1), true),
        (names[1], doubles(|row| row.2), true),
    ])
    .unwrap()
}

fn arrow() -> ArrowSchemaRef {
    Arc::new(Schema::new(fields()))
}

fn books(summary: &mut Summary) {
    let rows = [
        ("AAPL", Some(10.0), Some(10.5)),
        ("AAPL", Some(10.0), Some(11.0)),
        ("AAPL", None, Some(11.0)),
        ("ZZZ", Some(1.0), Some(2.0)),
    ];
    summary.add_books(&pairs(["best_bid", "best_ask"], &rows)).unwrap();
}

fn bars(summary: &mut Summary) {
    let rows = [
        ("AAPL", Some(10.0), Some(10.25)),
        ("AAPL", Some(10.0), Some(9.0)),
        ("AAPL", Some(10.0), Some(10.0)),
    ];
    summary.add_bars(&pairs(["open", "close"], &rows)).unwrap();
}

/// Numbers by hand: volume 2 + 1 + 1 = 4, notional 2 * 10 + 1 * 12 + 1 * 8 = 40.
const ROWS: [Trade; 8] = [
    (Some("AAPL"), 12.0, 1.0, 200, Some(1), false, "b"),
    (Some("AAPL"), 10.0, 2.0, 100, Some(1), false, "a"),
    (Some("AAPL"), 8.0, 1.0, 300, Some(1), false, "c"),
    (Some("AAPL"), 0.0, 9.0, 50, Some(1), true, "d"),
    (None, 5.0, 9.0, 60, Some(1), true, "e"),
    (Some("MSFT"), 7.0, 0.0, 10, None, false, "f"),
    (Some("IBM"), 0.0, 1.0, 10, Some(1), true, "g"),
    (Some("MSFT"), 0.0, 1.0, 10, Some(1), true, "h"),
];

fn double(rows: &RecordBatch, name: &str, row: usize) -> Option<f64> {
    let column = rows.column_by_name(name).unwrap().as_primitive::<Float64Type>();
    column.is_valid(row).then(|| column.value(row))
}

fn long(rows: &RecordBatch, name: &str, row: usize) -> i64 {
    rows.column_by_name(name)
        .unwrap()
        .as_primitive::<Int64Type>()
        .value(row)
}

fn summary_of(rows: &[Trade], with_ids: bool) -> Summary {
    let mut summary = Summary::default();
    summary.add_trades(&trades(rows), with_ids).unwrap();
    summary
}

#[test]
fn each_formula_by_hand() {
    let mut summary = summary_of(&ROWS, false);
    books(&mut summary);
    bars(&mut summary);
    assert!(!summary.needs_ids());
    let rows = summary.finish(DAY, &arrow()).unwrap();
    // IBM has only a trade that needs review, ZZZ only a book.
    let symbols = rows.column(0).as_string::<i32>();
    assert_eq!(symbols.iter().flatten().collect::<Vec<_>>(), ["AAPL", "MSFT"]);
    let of = |name| (double(&rows, name, 0), double(&rows, name, 1));
    assert_eq!(of("open_price"), (Some(10.0), Some(7.0)));
    assert_eq!(of("close_price"), (Some(8.0), Some(7.0)));
    assert_eq!(of("high_price"), (Some(12.0), Some(7.0)));
    assert_eq!(of("low_price"), (Some(8.0), Some(7.0)));
    assert_eq!(of("total_volume"), (Some(4.0), Some(0.0)));
    assert_eq!(of("vwap"), (Some(10.0), None));
    // (0.5 + 1.0) / 2, and (0.25 - 1.0 + 0.0) / 3.
    assert_eq!(of("avg_spread"), (Some(0.75), None));
    assert_eq!(of("avg_price_change"), (Some(-0.25), None));
    assert_eq!((long(&rows, "trade_count", 0), long(&rows, "trade_count", 1)), (3, 1));
    assert_eq!((long(&rows, "review_count", 0), long(&rows, "review_count", 1)), (1, 1));
}

#[test]
fn bars_and_books_do_not_multiply_trades() {
    let alone = summary_of(&ROWS, false).finish(DAY, &arrow()).unwrap();
    let mut with = summary_of(&ROWS, false);
    for _ in 0..3 {
        books(&mut with);
        bars(&mut with);
    }
    let with = with.finish(DAY, &arrow()).unwrap();
    for name in ["total_volume", "trade_count", "vwap", "review_count"] {
        assert_eq!(alone.column_by_name(name), with.column_by_name(name), "{name}");
    }
}

#[test]
fn equal_times_are_decided_by_event_time_then_by_id() {
    let by_event = [
        (Some("A"), 1.0, 1.0, 100, Some(2), false, "a"),
        (Some("A"), 2.0, 1.0, 100, Some(1), false, "b"),
        (Some("A"), 3.0, 1.0, 100, None, false, "c"),
    ];
    let summary = summary_of(&by_event, false);
    assert!(!summary.needs_ids());
    let rows = summary.finish(DAY, &arrow()).unwrap();
    // Without an event time it is older than all others.
    assert_eq!(
        (double(&rows, "open_price", 0), double(&rows, "close_price", 0)),
        (Some(3.0), Some(1.0))
    );
    let by_id = [
        (Some("A"), 1.0, 1.0, 100, Some(1), false, "b"),
        (Some("A"), 2.0, 1.0, 100, Some(1), false, "a"),
        (Some("A"), 3.0, 1.0, 100, Some(1), false, "c"),
    ];
    assert!(summary_of(&by_id, false).needs_ids());
    for turn in 0..3 {
        let mut turned = by_id;
        turned.rotate_left(turn);
        let summary = summary_of(&turned, true);
        assert!(!summary.needs_ids());
        let rows = summary.finish(DAY, &arrow()).unwrap();
        assert_eq!(
            (double(&rows, "open_price", 0), double(&rows, "close_price", 0)),
            (Some(2.0), Some(3.0))
        );
    }
    // A later first trade decides where the earlier ones were tied.
    let mut earlier = by_id.to_vec();
    earlier.push((Some("A"), 9.0, 1.0, 99, Some(1), false, "z"));
    earlier.push((Some("A"), 8.0, 1.0, 101, Some(1), false, "y"));
    assert!(!summary_of(&earlier, false).needs_ids());
    // Where the price is the same it does not matter which it is.
    let same: Vec<Trade> = by_id
        .iter()
        .map(|trade| (trade.0, 5.0, trade.2, trade.3, trade.4, trade.5, trade.6))
        .collect();
    assert!(!summary_of(&same, false).needs_ids());
}

#[test]
fn whatever_the_order_the_bytes_are_the_same() {
    let mut rows = ROWS.to_vec();
    let expected = summary_of(&rows, true).finish(DAY, &arrow()).unwrap();
    for _ in 0..8 {
        rows.rotate_left(3);
        rows.swap(0, 5);
        assert_eq!(summary_of(&rows, true).finish(DAY, &arrow()).unwrap(), expected);
    }
}

#[test]
fn a_day_without_trades_has_no_rows() {
    let mut summary = Summary::default();
    books(&mut summary);
    assert_eq!(summary.finish(DAY, &arrow()).unwrap().num_rows(), 0);
}

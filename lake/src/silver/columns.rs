//! The columns of the silver tables.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields};

use super::SilverTable;
use crate::bronze::timestamptz;

/// What a column holds.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Double,
    Int,
    Long,
    Boolean,
    Date,
    Time,
    Levels,
}

/// Where a column's values come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// The column of this name in bronze.
    Bronze,
    /// Other columns of the row.
    Row,
}

/// A column, and whether every row has a value there: what cleaning guarantees, readers may rely on.
struct Column {
    name: &'static str,
    kind: Kind,
    required: bool,
    from: From,
    doc: &'static str,
}

const fn given(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    Column {
        name,
        kind,
        required: false,
        from: From::Bronze,
        doc,
    }
}

const fn derived(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    Column {
        from: From::Row,
        ..given(name, kind, doc)
    }
}

impl Column {
    const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

const TRADES: [Column; 12] = [
    given("trade_id", Kind::Text, "Names the trade; the key").required(),
    given(
        "symbol",
        Kind::Text,
        "Symbol, trimmed and in upper case; null where it was null or blank",
    ),
    given("price", Kind::Double, "Price; 0 where it was null").required(),
    given("quantity", Kind::Double, "Quantity; 0 where it was null").required(),
    given("side", Kind::Text, "BUY or SELL").required(),
    given("trader_id", Kind::Text, "Trader"),
    given("exchange", Kind::Text, "Exchange"),
    given("trade_timestamp", Kind::Time, "When the trade was made, UTC").required(),
    given(
        "event_timestamp",
        Kind::Time,
        "When this version was said, UTC; the latest of a key wins",
    ),
    derived(
        "trade_date",
        Kind::Date,
        "Date of trade_timestamp in America/New_York; the partition",
    )
    .required(),
    derived(
        "needs_review",
        Kind::Boolean,
        "A value was missing; left out of what is derived",
    )
    .required(),
    derived(
        "review_reason",
        Kind::Text,
        "Which values were missing: null_price, null_symbol",
    ),
];

const ORDERBOOK_SNAPSHOTS: [Column; 12] = [
    given("symbol", Kind::Text, "Symbol as received; part of the key").required(),
    given("exchange", Kind::Text, "Exchange"),
    given(
        "snapshot_timestamp",
        Kind::Time,
        "When the book was taken, UTC; part of the key",
    )
    .required(),
    given(
        "event_timestamp",
        Kind::Time,
        "When this version was said, UTC; the latest of a key wins",
    ),
    given("best_bid", Kind::Double, "Highest bid, rounded; null where nobody bids"),
    given("best_ask", Kind::Double, "Lowest ask, rounded; null where nobody asks"),
    given("bid_size", Kind::Double, "Size at the highest bid"),
    given("ask_size", Kind::Double, "Size at the lowest ask"),
    derived(
        "spread",
        Kind::Double,
        "best_ask - best_bid, rounded; null for a one-sided book",
    ),
    given("bids", Kind::Levels, "Bid levels as received, prices rounded"),
    given("asks", Kind::Levels, "Ask levels as received, prices rounded"),
    derived(
        "snapshot_date",
        Kind::Date,
        "Date of snapshot_timestamp in America/New_York; the partition",
    )
    .required(),
];

const MARKET_DATA: [Column; 11] = [
    given("symbol", Kind::Text, "Symbol as received; part of the key").required(),
    given("exchange", Kind::Text, "Exchange"),
    given("interval_start", Kind::Time, "Begin of the bar, UTC; part of the key").required(),
    given("interval_end", Kind::Time, "End of the bar, UTC"),
    given(
        "event_timestamp",
        Kind::Time,
        "When this version was said, UTC; the latest of a key wins",
    ),
    given("open", Kind::Double, "First price").required(),
    given("high", Kind::Double, "Highest price").required(),
    given("low", Kind::Double, "Lowest price").required(),
    given("close", Kind::Double, "Last price").required(),
    given("volume", Kind::Double, "Volume; 0 where it was null").required(),
    derived(
        "market_date",
        Kind::Date,
        "Date of interval_start in America/New_York; the partition",
    )
    .required(),
];

/// Which record a row was made from: the last columns of every table.
const COORDINATES: [Column; 3] = [
    given(
        "topic_incarnation",
        Kind::Int,
        "Incarnation of the topic of the record that won",
    )
    .required(),
    given("kafka_partition", Kind::Int, "Kafka partition of the record that won").required(),
    given("kafka_offset", Kind::Long, "Kafka offset of the record that won").required(),
];

/// Bronze columns that cleaning looks at and silver does not keep.
const CONSULTED: [&str; 2] = ["kafka_timestamp", "decode_error"];

fn columns(table: SilverTable) -> impl Iterator<Item = &'static Column> {
    let own: &'static [Column] = match table {
        SilverTable::Trades => &TRADES,
        SilverTable::OrderbookSnapshots => &ORDERBOOK_SNAPSHOTS,
        SilverTable::MarketData => &MARKET_DATA,
    };
    own.iter().chain(&COORDINATES)
}

/// The columns as Arrow fields, their comments as `doc`.
pub(super) fn fields(table: SilverTable) -> Vec<Field> {
    let field = |column: &Column| {
        Field::new(column.name, data_type(column.kind), !column.required)
            .with_metadata([("doc".to_owned(), column.doc.to_owned())].into())
    };
    columns(table).map(field).collect()
}

/// The bronze columns that cleaning needs.
pub(super) fn source_columns(table: SilverTable) -> Vec<&'static str> {
    let given = columns(table).filter(|column| column.from == From::Bronze);
    given.map(|column| column.name).chain(CONSULTED).collect()
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text => DataType::Utf8,
        Kind::Double => DataType::Float64,
        Kind::Int => DataType::Int32,
        Kind::Long => DataType::Int64,
        Kind::Boolean => DataType::Boolean,
        Kind::Date => DataType::Date32,
        Kind::Time => timestamptz(),
        Kind::Levels => {
            let level = Fields::from(vec![
                Field::new("price", DataType::Float64, true),
                Field::new("size", DataType::Float64, true),
            ]);
            DataType::List(Arc::new(Field::new("element", DataType::Struct(level), true)))
        }
    }
}

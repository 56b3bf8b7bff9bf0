//! The rules once more, a row at a time, as the specification says them: slow, and by other means.

use super::rows::{Level, Value};
use super::*;

const DAY_US: i64 = 86_400_000_000;

/// Summers of New York, in hours since 1970-01-01 UTC, 2023 to 2026.
const SUMMERS: [(i64, i64); 4] = [
    (466_279, 471_990),
    (475_015, 480_726),
    (483_751, 489_462),
    (492_487, 498_198),
];

fn new_york(time_us: i64) -> i32 {
    let hour = time_us.div_euclid(3_600_000_000);
    let is_summer = SUMMERS.iter().any(|&(begin, end)| begin <= hour && hour < end);
    let behind = if is_summer { 4 } else { 5 };
    (hour - behind).div_euclid(24) as i32
}

/// Half to even, on the digits before and after the point.
fn cents(price: f64) -> f64 {
    let scaled = price * 100.0;
    let (whole, rest) = (scaled.trunc(), scaled.fract());
    let up = rest > 0.5 || (rest == 0.5 && whole % 2.0 == 1.0);
    (if up { whole + 1.0 } else { whole }) / 100.0
}

/// What becomes of a bronze row.
pub fn judge(table: SilverTable, row: &Row) -> Outcome {
    let coordinates = ["topic_incarnation", "kafka_partition", "kafka_offset"];
    if coordinates.iter().any(|name| !row.0.contains_key(*name)) {
        return Outcome::Dropped("foreign");
    }
    if row.get_text("decode_error").is_some() {
        return Outcome::Dropped("undecodable");
    }
    let is_blank = |name: &str| row.get_text(name).is_none_or(|text| text.trim().is_empty());
    match table {
        SilverTable::Trades if row.get_text("trade_id").is_none_or(str::is_empty) => {
            return Outcome::Dropped("null_key");
        }
        SilverTable::OrderbookSnapshots if is_blank("symbol") => return Outcome::Dropped("null_symbol"),
        SilverTable::MarketData if is_blank("symbol") => return Outcome::Quarantined("null_symbol"),
        _ => {}
    }
    let Some(time_us) = row.get_time(table.timestamp_column()) else {
        return Outcome::Quarantined("null_timestamp");
    };
    if new_york(time_us) < 19_723 {
        return Outcome::Quarantined("before_first_date");
    }
    if row
        .get_time("kafka_timestamp")
        .is_some_and(|record_us| time_us - record_us > DAY_US)
    {
        return Outcome::Quarantined("after_record");
    }
    let numbers = numbers(row);
    if numbers.iter().any(|number| !number.is_finite()) {
        return Outcome::Quarantined("not_finite");
    }
    if numbers.iter().any(|number| *number < 0.0) {
        return Outcome::Quarantined("negative");
    }
    let silver = row
        .clone()
        .null("kafka_timestamp")
        .with(table.date_column(), Value::Date(new_york(time_us)));
    match table {
        SilverTable::Trades => trade(silver),
        SilverTable::OrderbookSnapshots => book(silver, time_us),
        SilverTable::MarketData => bar(silver),
    }
}

fn numbers(row: &Row) -> Vec<f64> {
    let of_level = |level: &Level| level.map_or([None, None], |(price, size)| [price, size]);
    row.0
        .values()
        .flat_map(|value| match value {
            Value::Double(number) => vec![*number],
            Value::Levels(levels) => levels.iter().flat_map(of_level).flatten().collect(),
            _ => vec![],
        })
        .collect()
}

fn trade(mut row: Row) -> Outcome {
    let side = row.get_text("side").unwrap_or_default().trim().to_uppercase();
    if side != "BUY" && side != "SELL" {
        return Outcome::Quarantined("unknown_side");
    }
    row = row.text("side", &side);
    let mut reasons = Vec::new();
    if row.get_double("price").is_none() {
        row = row.double("price", 0.0);
        reasons.push("null_price");
    }
    let symbol = row.get_text("symbol").unwrap_or_default().trim().to_uppercase();
    row = match symbol.is_empty() {
        true => {
            reasons.push("null_symbol");
            row.null("symbol")
        }
        false => row.text("symbol", &symbol),
    };
    let quantity = row.get_double("quantity").unwrap_or(0.0);
    row = row
        .double("quantity", quantity)
        .with("needs_review", Value::Bool(!reasons.is_empty()));
    match reasons.is_empty() {
        true => Outcome::Kept(row),
        false => Outcome::Kept(row.text("review_reason", &reasons.join(", "))),
    }
}

fn book(mut row: Row, time_us: i64) -> Outcome {
    if row
        .get_time("event_timestamp")
        .is_some_and(|event_us| event_us - time_us > 300_000_000)
    {
        return Outcome::Dropped("stale");
    }
    for name in ["best_bid", "best_ask"] {
        if let Some(price) = row.get_double(name) {
            row = row.double(name, cents(price));
        }
    }
    if let (Some(bid), Some(ask)) = (row.get_double("best_bid"), row.get_double("best_ask")) {
        if bid >= ask {
            return Outcome::Dropped("crossed_book");
        }
        row = row.double("spread", cents(ask - bid));
    }
    for name in ["bids", "asks"] {
        let Some(levels) = row.get_levels(name) else {
            continue;
        };
        let level = |level: &Level| level.map(|(price, size)| (price.map(cents), size));
        let levels = levels.iter().map(level).collect();
        row = row.with(name, Value::Levels(levels));
    }
    Outcome::Kept(row)
}

fn bar(row: Row) -> Outcome {
    let price = |name: &str| row.get_double(name);
    let (Some(open), Some(high), Some(low), Some(close)) = (price("open"), price("high"), price("low"), price("close"))
    else {
        return Outcome::Quarantined("null_price");
    };
    if !(low..=high).contains(&open) || !(low..=high).contains(&close) {
        return Outcome::Quarantined("inconsistent_bar");
    }
    let volume = row.get_double("volume").unwrap_or(0.0);
    Outcome::Kept(row.double("volume", volume))
}

/// The key of a silver row, by its bytes.
pub fn key(table: SilverTable, row: &Row) -> KeyHash {
    match table {
        SilverTable::Trades => KeyHash::of(row.get_text("trade_id").unwrap().as_bytes()),
        SilverTable::OrderbookSnapshots | SilverTable::MarketData => {
            let symbol = row.get_text("symbol").unwrap().as_bytes();
            let time_us = row.get_time(table.timestamp_column()).unwrap();
            KeyHash::of(&[&symbol.len().to_be_bytes(), symbol, &time_us.to_be_bytes()].concat())
        }
    }
}

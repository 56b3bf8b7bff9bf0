//! Avro binary encoding of the three schemas in `schemas.rs`, in Confluent's frame, straight into the batch's arena.
//!
//! Written by hand because the generator has to outrun the ingest that it measures; the tests decode every field with
//! `arrow-avro`.

use super::bars::Bar;
use super::trade::Trade;

/// Branch numbers of `["null", T]`, as zigzag varints.
const NULL: u8 = 0;
const PRESENT: u8 = 2;

/// Ticks of one cent in a price of 1.00.
pub(super) const TICKS_PER_UNIT: f64 = 100.0;

/// The number that is nearest to a price given in ticks.
pub(super) fn price(ticks: i64) -> f64 {
    ticks as f64 / TICKS_PER_UNIT
}

/// Appends Confluent's prefix: 0 and the schema id, big-endian.
pub(super) fn frame(out: &mut Vec<u8>, schema_id: u32) {
    out.push(0);
    out.extend_from_slice(&schema_id.to_be_bytes());
}

fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn string(out: &mut Vec<u8>, value: &str) {
    long(out, value.len() as i64);
    out.extend_from_slice(value.as_bytes());
}

fn optional_string(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        None => out.push(NULL),
        Some(value) => {
            out.push(PRESENT);
            string(out, value);
        }
    }
}

fn optional_double(out: &mut Vec<u8>, value: Option<f64>) {
    match value {
        None => out.push(NULL),
        Some(value) => {
            out.push(PRESENT);
            double(out, value);
        }
    }
}

/// Texts that a trade refers to by number.
pub(super) struct TradeTexts<'a> {
    /// `None` for a trade without id.
    pub trade_id: Option<&'a str>,
    pub symbol: &'a str,
    pub trader_id: &'a str,
    pub exchange: &'a str,
}

pub(super) fn trade(out: &mut Vec<u8>, trade: &Trade, texts: &TradeTexts<'_>) {
    optional_string(out, texts.trade_id);
    optional_string(out, (!trade.nulls.symbol).then_some(texts.symbol));
    let ticks = match trade.nulls.negative_price {
        true => -trade.price_ticks,
        false => trade.price_ticks,
    };
    optional_double(out, (!trade.nulls.price).then(|| price(ticks)));
    optional_double(out, (!trade.nulls.quantity).then_some(f64::from(trade.quantity)));
    string(out, if trade.is_buy { "BUY" } else { "SELL" });
    string(out, texts.trader_id);
    string(out, texts.exchange);
    long(out, trade.trade_us);
    long(out, trade.event_us);
}

/// One side's level: price in ticks, size in shares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub price_ticks: i64,
    pub size: u32,
}

/// An order book; both sides start with the best level and have at least one.
pub(super) struct Book<'a> {
    pub symbol: Option<&'a str>,
    pub exchange: &'a str,
    pub snapshot_us: i64,
    pub event_us: i64,
    pub bids: &'a [Level],
    pub asks: &'a [Level],
}

pub(super) fn book(out: &mut Vec<u8>, book: &Book<'_>) {
    optional_string(out, book.symbol);
    string(out, book.exchange);
    long(out, book.snapshot_us);
    long(out, book.event_us);
    double(out, price(book.bids[0].price_ticks));
    double(out, price(book.asks[0].price_ticks));
    double(out, f64::from(book.bids[0].size));
    double(out, f64::from(book.asks[0].size));
    levels(out, book.bids);
    levels(out, book.asks);
}

fn levels(out: &mut Vec<u8>, levels: &[Level]) {
    long(out, levels.len() as i64);
    for level in levels {
        double(out, price(level.price_ticks));
        double(out, f64::from(level.size));
    }
    // An array ends with an empty block.
    out.push(0);
}

/// `symbol` and `volume` are absent where the record is to carry nulls.
pub(super) fn bar(
    out: &mut Vec<u8>,
    bar: &Bar,
    symbol: Option<&str>,
    exchange: &str,
    event_us: i64,
    volume: Option<f64>,
) {
    optional_string(out, symbol);
    string(out, exchange);
    long(out, bar.start_us);
    long(out, bar.end_us());
    long(out, event_us);
    for ticks in [bar.open_ticks, bar.high_ticks, bar.low_ticks, bar.close_ticks] {
        double(out, price(ticks));
    }
    optional_double(out, volume);
}

#[cfg(test)]
mod tests {
    use super::long;

    #[test]
    fn longs_are_zigzag_varints() {
        for (value, bytes) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (8192, &[0x80, 0x80, 1]),
        ] {
            let mut out = Vec::new();
            long(&mut out, value);
            assert_eq!(out, bytes, "{value}");
        }
        let mut out = Vec::new();
        long(&mut out, i64::MIN);
        assert_eq!(out, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    }
}

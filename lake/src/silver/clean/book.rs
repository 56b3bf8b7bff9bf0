//! Rules of order-book snapshots.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Float64Array};

use super::bronze::Bronze;
use super::levels::Levels;
use super::numbers::{self, Rounding};
use super::origin::Origin;
use super::verdicts::Verdicts;
use super::{CleanError, Made, Rules, text};

pub(super) fn clean(
    bronze: &Bronze,
    rules: &Rules,
    origin: &Origin,
    verdicts: &mut Verdicts,
) -> Result<Made, CleanError> {
    let (symbol, exchange) = (bronze.texts("symbol")?, bronze.texts("exchange")?);
    let (time, event_time) = (bronze.times("snapshot_timestamp")?, bronze.times("event_timestamp")?);
    let (best_bid, best_ask) = (bronze.doubles("best_bid")?, bronze.doubles("best_ask")?);
    let (bid_size, ask_size) = (bronze.doubles("bid_size")?, bronze.doubles("ask_size")?);
    let bids = Levels::read(bronze, "bids")?;
    let asks = Levels::read(bronze, "asks")?;

    verdicts.drop_where("null_symbol", |row| text::is_blank(&symbol, row));
    let date = origin.judge_times(verdicts, rules, "snapshot_timestamp", &time);
    let amounts = [
        ("best_bid", &best_bid),
        ("best_ask", &best_ask),
        ("bid_size", &bid_size),
        ("ask_size", &ask_size),
    ];
    numbers::judge(verdicts, &amounts, &[("bids", &bids), ("asks", &asks)]);
    verdicts.drop_where("stale", |row| {
        let age_us = event_time.value(row).saturating_sub(time.value(row));
        age_us > rules.max_age_us && event_time.is_valid(row)
    });
    let rounding = Rounding::to_decimals(rules.price_decimals);
    let (best_bid, best_ask) = (rounding.all(&best_bid), rounding.all(&best_ask));
    verdicts.drop_where("crossed_book", |row| {
        best_bid.value(row) >= best_ask.value(row) && best_bid.is_valid(row) && best_ask.is_valid(row)
    });

    let columns: Vec<ArrayRef> = vec![
        Arc::new(symbol),
        Arc::new(exchange),
        Arc::new(time),
        Arc::new(event_time),
        Arc::new(best_bid.clone()),
        Arc::new(best_ask.clone()),
        Arc::new(bid_size),
        Arc::new(ask_size),
        Arc::new(spread(&best_bid, &best_ask, rounding)),
        bids.rounded(rounding),
        asks.rounded(rounding),
        date,
    ];
    Ok(Made {
        columns,
        defaulted: Vec::new(),
    })
}

fn spread(best_bid: &Float64Array, best_ask: &Float64Array, rounding: Rounding) -> Float64Array {
    let bids_and_asks = best_bid.iter().zip(best_ask);
    let spreads = bids_and_asks.map(|(bid, ask)| Some(rounding.round(ask? - bid?)));
    spreads.collect()
}

//! Rules of market data: bars of open, high, low, close and volume.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef};

use super::bronze::Bronze;
use super::origin::Origin;
use super::verdicts::Verdicts;
use super::{CleanError, Made, Rules, numbers, text};

pub(super) fn clean(
    bronze: &Bronze,
    rules: &Rules,
    origin: &Origin,
    verdicts: &mut Verdicts,
) -> Result<Made, CleanError> {
    let (symbol, exchange) = (bronze.texts("symbol")?, bronze.texts("exchange")?);
    let (time, end_time) = (bronze.times("interval_start")?, bronze.times("interval_end")?);
    let event_time = bronze.times("event_timestamp")?;
    let (open, high) = (bronze.doubles("open")?, bronze.doubles("high")?);
    let (low, close) = (bronze.doubles("low")?, bronze.doubles("close")?);
    let volume = bronze.doubles("volume")?;

    // The symbol is half of the key: without it nobody could correct the bar.
    verdicts.quarantine_where(
        "null_symbol",
        |row| text::is_blank(&symbol, row),
        |_| "symbol is null or blank".to_owned(),
    );
    let date = origin.judge_times(verdicts, rules, "interval_start", &time);
    let prices = [("open", &open), ("high", &high), ("low", &low), ("close", &close)];
    let amounts = [prices[0], prices[1], prices[2], prices[3], ("volume", &volume)];
    numbers::judge(verdicts, &amounts, &[]);
    for (name, price) in prices.iter().filter(|(_, price)| price.null_count() > 0) {
        verdicts.quarantine_where("null_price", |row| price.is_null(row), |_| format!("{name} is null"));
    }
    let (open_of, high_of, low_of, close_of) = (open.values(), high.values(), low.values(), close.values());
    verdicts.quarantine_where(
        "inconsistent_bar",
        |row| {
            let (high, low) = (high_of[row], low_of[row]);
            let is_within = |price: f64| price >= low && price <= high;
            !(high >= low && is_within(open_of[row]) && is_within(close_of[row]))
        },
        |row| {
            let (open, high, low, close) = (open_of[row], high_of[row], low_of[row], close_of[row]);
            format!("open {open} and close {close} are not within low {low} and high {high}")
        },
    );

    let columns: Vec<ArrayRef> = vec![
        Arc::new(symbol),
        Arc::new(exchange),
        Arc::new(time),
        Arc::new(end_time),
        Arc::new(event_time),
        Arc::new(open),
        Arc::new(high),
        Arc::new(low),
        Arc::new(close),
        numbers::or_zero(&volume),
        date,
    ];
    Ok(Made {
        columns,
        defaulted: vec![("volume", Arc::new(volume))],
    })
}

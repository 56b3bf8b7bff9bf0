//! Rules of trades.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use tapehouse_core::words::one_line;

use super::bronze::Bronze;
use super::origin::Origin;
use super::verdicts::Verdicts;
use super::{CleanError, Made, Rules, numbers, text};

/// Of a side that is none, so much is shown.
const MAX_SIDE_CHARS: usize = 40;

pub(super) fn clean(
    bronze: &Bronze,
    rules: &Rules,
    origin: &Origin,
    verdicts: &mut Verdicts,
) -> Result<Made, CleanError> {
    let trade_id = bronze.texts("trade_id")?;
    let symbol = text::symbols(&bronze.texts("symbol")?);
    let (price, quantity) = (bronze.doubles("price")?, bronze.doubles("quantity")?);
    let received_side = bronze.texts("side")?;
    let mut side = text::sides(&received_side);
    let (trader_id, exchange) = (bronze.texts("trader_id")?, bronze.texts("exchange")?);
    let (time, event_time) = (bronze.times("trade_timestamp")?, bronze.times("event_timestamp")?);

    verdicts.drop_where("null_key", |row| {
        trade_id.is_null(row) || trade_id.value_length(row) == 0
    });
    let date = origin.judge_times(verdicts, rules, "trade_timestamp", &time);
    numbers::judge(verdicts, &[("price", &price), ("quantity", &quantity)], &[]);
    if side.null_count() > 0 {
        // Every trade has a side, if an unknown one: where it is null there is nothing to take in.
        verdicts.quarantine_always(
            "unknown_side",
            |row| received_side.is_null(row),
            |_| "side is null".to_owned(),
        );
        verdicts.quarantine_where(
            "unknown_side",
            |row| side.is_null(row),
            |row| format!("side is `{}`", one_line(received_side.value(row), MAX_SIDE_CHARS)),
        );
        side = text::or_received(&side, &received_side);
    }

    let reason = text::review_reasons(price.nulls(), symbol.nulls(), bronze.len());
    // Where there is a reason; the validity bits are just that.
    let needs_review = match reason.nulls() {
        Some(nulls) => nulls.inner().clone(),
        None => BooleanBuffer::new_set(bronze.len()),
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(trade_id),
        Arc::new(symbol),
        numbers::or_zero(&price),
        numbers::or_zero(&quantity),
        Arc::new(side),
        Arc::new(trader_id),
        Arc::new(exchange),
        Arc::new(time),
        Arc::new(event_time),
        date,
        Arc::new(BooleanArray::new(needs_review, None)),
        Arc::new(reason),
    ];
    Ok(Made {
        columns,
        defaulted: vec![("price", Arc::new(price)), ("quantity", Arc::new(quantity))],
    })
}

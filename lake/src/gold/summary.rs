//! `gold.daily_trading_summary`: what each symbol did, a row a symbol and day.
//!
//! Trades, order books and bars are each brought to one row a symbol before they are put together, so that bars and books never multiply
//! trades. A symbol has a row where it has a trade that needs no review.

mod symbol;

use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, SchemaRef as ArrowSchemaRef};

use self::symbol::Symbol;
use super::DATE_COLUMN;
use crate::derived::columns::{Read, Texts, in_layout, optional, required};
use crate::derived::{DeriveError, SourceDay};

/// Name with namespace.
pub const TABLE: &str = "gold.daily_trading_summary";
/// Version of what is computed.
pub const LOGIC_VERSION: u32 = 1;
const TRADE_COLUMNS: [&str; 7] = [
    "symbol",
    "price",
    "quantity",
    "trade_timestamp",
    "event_timestamp",
    "needs_review",
    "trade_id",
];
const BOOK_COLUMNS: [&str; 3] = ["symbol", "best_bid", "best_ask"];
const BAR_COLUMNS: [&str; 3] = ["symbol", "open", "close"];

/// The columns. Their ids are those that creating the table assigns.
pub(crate) fn fields() -> Vec<Field> {
    let (double, long) = (DataType::Float64, DataType::Int64);
    vec![
        required("symbol", DataType::Utf8, "Symbol; part of the key"),
        required(
            DATE_COLUMN,
            DataType::Date32,
            "Date in America/New_York; the partition, part of the key",
        ),
        required(
            "open_price",
            double.clone(),
            "Price of the first trade by (trade_timestamp, event_timestamp, trade_id)",
        ),
        required(
            "close_price",
            double.clone(),
            "Price of the last trade by the same order",
        ),
        required("high_price", double.clone(), "Highest price"),
        required("low_price", double.clone(), "Lowest price"),
        required("total_volume", double.clone(), "Sum of quantity, exact, rounded once"),
        required("trade_count", long.clone(), "Trades that need no review"),
        optional(
            "vwap",
            double.clone(),
            "Sum of price * quantity / sum of quantity; null at zero volume",
        ),
        optional(
            "avg_spread",
            double.clone(),
            "Mean of best_ask - best_bid over the day's two-sided order books; null without",
        ),
        optional(
            "avg_price_change",
            double,
            "Mean of close - open over the day's bars; null without",
        ),
        required(
            "review_count",
            long,
            "Trades that need review and are left out of all other columns",
        ),
    ]
}

/// A day as far as it was seen. Memory follows the symbols.
#[derive(Debug, Default)]
struct Summary {
    names: Texts,
    symbols: Vec<Symbol>,
}

impl Summary {
    fn symbol(&mut self, name: &str) -> &mut Symbol {
        let number = self.names.number(name) as usize;
        if number >= self.symbols.len() {
            self.symbols.resize_with(number + 1, Symbol::default);
        }
        &mut self.symbols[number]
    }

    /// Adds trades, in any order; with `trade_id` where it was read.
    fn add_trades(&mut self, rows: &RecordBatch, with_ids: bool) -> Result<(), ArrowError> {
        let read = Read(rows);
        let symbols = read.text("symbol")?;
        let (prices, quantities) = (read.double("price")?, read.double("quantity")?);
        let (times, events) = (read.times("trade_timestamp")?, read.times("event_timestamp")?);
        let reviews = read.boolean("needs_review")?;
        let ids = with_ids.then(|| read.text("trade_id")).transpose()?;
        for row in (0..rows.num_rows()).filter(|row| symbols.is_valid(*row)) {
            let symbol = self.symbol(symbols.value(row));
            if reviews.value(row) {
                symbol.add_review();
                continue;
            }
            // Without a time of its own a version is older than every other.
            let event_us = if events.is_valid(row) {
                events.value(row)
            } else {
                i64::MIN
            };
            let id = ids.map_or("", |ids| ids.value(row));
            symbol.add_trade(
                (times.value(row), event_us, id),
                prices.value(row),
                quantities.value(row),
            );
        }
        Ok(())
    }

    fn add_books(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        let read = Read(rows);
        let (symbols, bids, asks) = (read.text("symbol")?, read.double("best_bid")?, read.double("best_ask")?);
        let is_two_sided = |row: &usize| symbols.is_valid(*row) && bids.is_valid(*row) && asks.is_valid(*row);
        for row in (0..rows.num_rows()).filter(is_two_sided) {
            self.symbol(symbols.value(row))
                .add_spread(asks.value(row) - bids.value(row));
        }
        Ok(())
    }

    fn add_bars(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        let read = Read(rows);
        let (symbols, opens, closes) = (read.text("symbol")?, read.double("open")?, read.double("close")?);
        for row in (0..rows.num_rows()).filter(|row| symbols.is_valid(*row)) {
            self.symbol(symbols.value(row))
                .add_change(closes.value(row) - opens.value(row));
        }
        Ok(())
    }

    /// Whether the first or the last trade of a symbol hangs on trade ids.
    fn needs_ids(&self) -> bool {
        self.symbols.iter().any(Symbol::needs_ids)
    }

    /// The rows of the day `date`, sorted by symbol, in the layout `arrow`.
    fn finish(self, date: i32, arrow: &ArrowSchemaRef) -> Result<RecordBatch, ArrowError> {
        let names = self.names.into_names();
        let mut rows: Vec<(&str, &Symbol)> = names.iter().map(String::as_str).zip(&self.symbols).collect();
        rows.retain(|(_, symbol)| symbol.trades() > 0);
        rows.sort_unstable_by_key(|(name, _)| *name);
        let doubles = |of: fn(&Symbol) -> Option<f64>| -> ArrayRef {
            Arc::new(rows.iter().map(|(_, symbol)| of(symbol)).collect::<Float64Array>())
        };
        let longs = |of: fn(&Symbol) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, symbol)| of(symbol))))
        };
        in_layout(
            vec![
                (
                    "symbol",
                    Arc::new(StringArray::from_iter_values(rows.iter().map(|(name, _)| name))),
                ),
                (DATE_COLUMN, Arc::new(Date32Array::from(vec![date; rows.len()]))),
                ("open_price", doubles(Symbol::open)),
                ("close_price", doubles(Symbol::close)),
                ("high_price", doubles(Symbol::high)),
                ("low_price", doubles(Symbol::low)),
                ("total_volume", doubles(Symbol::volume)),
                ("trade_count", longs(Symbol::trades)),
                ("vwap", doubles(Symbol::vwap)),
                ("avg_spread", doubles(Symbol::spread)),
                ("avg_price_change", doubles(Symbol::change)),
                ("review_count", longs(Symbol::reviews)),
            ],
            arrow,
        )
    }
}

/// The rows of a day, in the layout `arrow`.
pub(crate) async fn day(sources: &SourceDay<'_>, arrow: &ArrowSchemaRef) -> Result<RecordBatch, DeriveError> {
    // Ids are the longest column by far, and hardly ever decide: they are read only where they do.
    let mut summary = trades(sources, false).await?;
    if summary.needs_ids() {
        summary = trades(sources, true).await?;
    }
    if let Some(mut rows) = sources.rows(1, &BOOK_COLUMNS).await? {
        while let Some((_, batch)) = rows.next().await? {
            summary.add_books(&batch)?;
        }
    }
    if let Some(mut rows) = sources.rows(2, &BAR_COLUMNS).await? {
        while let Some((_, batch)) = rows.next().await? {
            summary.add_bars(&batch)?;
        }
    }
    Ok(summary.finish(sources.date, arrow)?)
}

async fn trades(sources: &SourceDay<'_>, with_ids: bool) -> Result<Summary, DeriveError> {
    let columns = if with_ids {
        &TRADE_COLUMNS[..]
    } else {
        &TRADE_COLUMNS[..6]
    };
    let mut summary = Summary::default();
    if let Some(mut rows) = sources.rows(0, columns).await? {
        while let Some((_, batch)) = rows.next().await? {
            summary.add_trades(&batch, with_ids)?;
        }
    }
    Ok(summary)
}

#[cfg(test)]
mod tests;

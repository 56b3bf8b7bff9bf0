//! From the trades of a day to its rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{
    Array as _, ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, PrimitiveArray, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{ArrowError, SchemaRef as ArrowSchemaRef};
use roaring::RoaringBitmap;
use tapehouse_core::exact_sum::ExactSum;

use crate::derived::columns::{Read, Texts, in_layout};

/// What of `silver.trades` is read.
pub(super) const SOURCE_COLUMNS: [&str; 6] = [
    "trader_id",
    "symbol",
    "price",
    "quantity",
    "trade_timestamp",
    "needs_review",
];
const HOUR_US: i64 = 3_600_000_000;

/// One trader's hour.
#[derive(Debug, Default)]
struct Hour {
    trades: i64,
    volume: ExactSum,
    notional: ExactSum,
    symbols: RoaringBitmap,
}

/// A day as far as its trades were seen. Memory follows the traders' hours and their symbols, not the trades.
#[derive(Debug, Default)]
pub struct DayActivity {
    hours: HashMap<(i64, u32), Hour>,
    traders: Texts,
    symbols: Texts,
}

struct Trades<'a> {
    traders: &'a StringArray,
    symbols: &'a StringArray,
    prices: &'a Float64Array,
    quantities: &'a Float64Array,
    times: &'a PrimitiveArray<TimestampMicrosecondType>,
    needs_review: &'a BooleanArray,
}

impl<'a> Trades<'a> {
    fn of(rows: &'a RecordBatch) -> Result<Self, ArrowError> {
        let read = Read(rows);
        Ok(Self {
            traders: read.text("trader_id")?,
            symbols: read.text("symbol")?,
            prices: read.double("price")?,
            quantities: read.double("quantity")?,
            times: read.times("trade_timestamp")?,
            needs_review: read.boolean("needs_review")?,
        })
    }

    /// Whether a row counts: of a known trader, with nothing to review.
    fn counts(&self, row: usize) -> bool {
        self.traders.is_valid(row) && !self.needs_review.value(row)
    }
}

impl DayActivity {
    /// Adds trades, in any order.
    ///
    /// # Errors
    /// When a column is missing or of another type.
    pub fn add(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        let trades = Trades::of(rows)?;
        for row in (0..rows.num_rows()).filter(|row| trades.counts(*row)) {
            let start_us = trades.times.value(row).div_euclid(HOUR_US) * HOUR_US;
            let trader = self.traders.number(trades.traders.value(row));
            let hour = self.hours.entry((start_us, trader)).or_default();
            let quantity = trades.quantities.value(row);
            hour.trades += 1;
            hour.volume.add(quantity);
            hour.notional.add(trades.prices.value(row) * quantity);
            if trades.symbols.is_valid(row) {
                hour.symbols.insert(self.symbols.number(trades.symbols.value(row)));
            }
        }
        Ok(())
    }

    /// The rows of the day `date`, sorted by (activity_hour, trader_id), in the layout `arrow`.
    ///
    /// # Errors
    /// When the layout is not the table's.
    pub fn finish(self, date: i32, arrow: &ArrowSchemaRef) -> Result<RecordBatch, ArrowError> {
        let names = self.traders.into_names();
        let mut hours: Vec<((i64, &str), Hour)> = self
            .hours
            .into_iter()
            .map(|((start_us, trader), hour)| ((start_us, names[trader as usize].as_str()), hour))
            .collect();
        hours.sort_unstable_by_key(|(key, _)| *key);
        let starts = hours.iter().map(|((start_us, _), _)| *start_us);
        let starts = TimestampMicrosecondArray::from_iter_values(starts).with_timezone("+00:00");
        let numbers = |of: fn(&Hour) -> i64| Int64Array::from_iter_values(hours.iter().map(|(_, hour)| of(hour)));
        let sums = |of: fn(&Hour) -> f64| Float64Array::from_iter_values(hours.iter().map(|(_, hour)| of(hour)));
        let traders = StringArray::from_iter_values(hours.iter().map(|((_, trader), _)| trader));
        let symbols = numbers(|hour| i64::try_from(hour.symbols.len()).unwrap_or(i64::MAX));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("trader_id", Arc::new(traders)),
            ("activity_hour", Arc::new(starts)),
            ("trade_count", Arc::new(numbers(|hour| hour.trades))),
            ("total_volume", Arc::new(sums(|hour| hour.volume.value()))),
            ("total_notional", Arc::new(sums(|hour| hour.notional.value()))),
            ("distinct_symbols", Arc::new(symbols)),
            (super::DATE_COLUMN, Arc::new(Date32Array::from(vec![date; hours.len()]))),
        ];
        in_layout(columns, arrow)
    }
}

/// The rows of the day `date` of these trades, in the layout `arrow`.
///
/// # Errors
/// When a column of the trades is missing or of another type.
pub fn compute(trades: &[RecordBatch], date: i32, arrow: &ArrowSchemaRef) -> Result<RecordBatch, ArrowError> {
    let mut day = DayActivity::default();
    for rows in trades {
        day.add(rows)?;
    }
    day.finish(date, arrow)
}

#[cfg(test)]
mod tests;

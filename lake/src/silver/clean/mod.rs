//! From bronze rows to silver rows: each is kept, dropped or quarantined, by rules that look at nothing but the row. So the outcome is the
//! same in whatever batches, in whatever order and however often rows come.
//!
//! # Rules, in the order in which they are asked; the first that holds decides
//!
//! | rule | holds where | trades | order books | market data |
//! |---|---|---|---|---|
//! | `foreign` | incarnation, partition or offset is null: not a row of ours | dropped | dropped | dropped |
//! | `undecodable` | `decode_error` is set | dropped | dropped | dropped |
//! | `null_key` | `trade_id` is null or empty | dropped | - | - |
//! | `null_symbol` | symbol is null or blank | needs review, see below | dropped | quarantined |
//! | `null_timestamp` | the row's own timestamp is null | quarantined | quarantined | quarantined |
//! | `before_first_date` | its New York date is before [`Rules::first_date`] | quarantined | quarantined | quarantined |
//! | `after_record` | it is more than a day after `kafka_timestamp`, where that is known | quarantined | quarantined | quarantined |
//! | `not_finite` | a number, of a level too, is NaN or infinite | quarantined | quarantined | quarantined |
//! | `negative` | a number, of a level too, is below 0 | quarantined | quarantined | quarantined |
//! | `unknown_side` | side, trimmed and in any case, is not BUY or SELL; null is not | quarantined | - | - |
//! | `null_price` | open, high, low or close is null | needs review, see below | - | quarantined |
//! | `inconsistent_bar` | high < low, or open or close outside of [low, high] | - | - | quarantined |
//! | `stale` | `event_timestamp` is more than [`Rules::max_age_us`] after the row's own; null is not | - | dropped | - |
//! | `crossed_book` | best bid >= best ask, both rounded; a null one is not | - | dropped | - |
//!
//! Whoever is kept has: trades a symbol trimmed and in upper case (blank ones null), side as BUY or SELL, null quantity as 0, null price as
//! 0.0; `needs_review` with `null_price`, `null_symbol` or both where price or symbol was null. Order books have prices, levels included,
//! rounded ([`Rules::price_decimals`]), and the spread of the rounded prices, itself rounded; one side of a book may be null, and then the
//! spread is. Bars have null volume as 0. Symbols of books and bars, being keys, are as received. Everything else may be null.
//!
//! Prices are rounded half to even as their product with a power of ten in binary floating point sees it: 0.125 is a tie, and so is
//! 2.675, whose product is 267.5.

mod book;
mod bronze;
mod levels;
mod market_data;
mod matching;
mod numbers;
mod origin;
mod text;
mod trades;
mod verdicts;
mod waivers;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::ArrowError;

use super::{SilverTable, keys, orders};
use crate::index::{KeyHash, Order};
use bronze::Bronze;
pub(crate) use matching::rows_of_key;
use origin::Origin;
use verdicts::Verdicts;
pub use waivers::{Coordinates, Waivers};

/// Version of the rules. Rows of other rules than these need a rebuild.
pub const RULES_VERSION: u32 = 1;

/// What of the rules can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Decimals that prices of order books are rounded to.
    pub price_decimals: u8,
    /// A book whose event is so much later than its snapshot is still taken, in microseconds.
    pub max_age_us: i64,
    /// The first day of the tables, in days since 1970-01-01.
    pub first_date: i32,
}

impl Default for Rules {
    /// 2 decimals, 300 s, 2024-01-01.
    fn default() -> Self {
        Self {
            price_decimals: 2,
            max_age_us: 300_000_000,
            first_date: 19_723,
        }
    }
}

/// What became of rows: `input` is those kept and all that were dropped and quarantined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bronze rows.
    pub input: u64,
    /// Dropped, by rule.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Quarantined, by rule.
    pub quarantined: BTreeMap<&'static str, u64>,
    /// Nulls of kept rows that were replaced by 0, by column.
    pub defaulted: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Adds those of further rows.
    pub fn add(&mut self, other: &Self) {
        self.input += other.input;
        let maps = [
            (&mut self.dropped, &other.dropped),
            (&mut self.quarantined, &other.quarantined),
            (&mut self.defaulted, &other.defaulted),
        ];
        for (sums, counts) in maps {
            for (name, count) in counts {
                *sums.entry(name).or_default() += count;
            }
        }
    }
}

/// A row that is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Row in the bronze batch.
    pub row: usize,
    /// The rule.
    pub rule: &'static str,
    /// What the rule found. May show a value of the row.
    pub reason: String,
}

/// Cleaned rows.
#[derive(Clone, Debug)]
pub struct Cleaned {
    /// The rows that stay, in the silver table's layout and in bronze's order.
    pub rows: RecordBatch,
    /// The key of each row.
    pub keys: Vec<KeyHash>,
    /// How each row compares with others of its key.
    pub orders: Vec<Order>,
    /// What became of all.
    pub counts: Counts,
    /// Rows set aside, in bronze's order.
    pub quarantined: Vec<Quarantined>,
}

/// Why rows cannot be cleaned at all: a bronze column of a type that no rule can read.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// A column is not what it must be.
    #[error("column `{column}` {found}, {wanted} is needed")]
    Column {
        /// The column.
        column: String,
        /// What it is instead.
        found: String,
        /// What it must be.
        wanted: String,
    },
    /// Arrow could not make the rows.
    #[error("rows of {table}: {source}")]
    Rows {
        /// The silver table.
        table: &'static str,
        /// Arrow's words.
        source: ArrowError,
    },
}

impl CleanError {
    pub(super) fn column(column: &str, wanted: impl Into<String>, found: Option<&ArrayRef>) -> Self {
        Self::Column {
            column: column.to_owned(),
            found: match found {
                Some(array) => format!("is {}", array.data_type()),
                None => "is missing".to_owned(),
            },
            wanted: wanted.into(),
        }
    }
}

/// What a table's own rules make of a batch: a column for each of the table's, as long as the batch; and the columns in which nulls
/// become 0, as they were received.
struct Made {
    columns: Vec<ArrayRef>,
    defaulted: Vec<(&'static str, ArrayRef)>,
}

/// Cleans bronze rows for `table`. Columns are found by name; one that is missing is null in all rows. A rule that `waivers` name for a
/// record does not set it aside: the others are asked, and where none holds the row is kept as it was received.
///
/// # Errors
/// [`CleanError`] where a column has a type that cannot be read; the rows themselves are never an error.
pub fn clean(
    table: SilverTable,
    rules: &Rules,
    waivers: &Waivers,
    bronze: &RecordBatch,
) -> Result<Cleaned, CleanError> {
    let bronze = Bronze::new(bronze);
    let origin = Origin::read(&bronze)?;
    let mut verdicts = Verdicts::new(bronze.len(), origin.waived(waivers));
    origin.judge(&mut verdicts);
    let mut made = match table {
        SilverTable::Trades => trades::clean(&bronze, rules, &origin, &mut verdicts)?,
        SilverTable::OrderbookSnapshots => book::clean(&bronze, rules, &origin, &mut verdicts)?,
        SilverTable::MarketData => market_data::clean(&bronze, rules, &origin, &mut verdicts)?,
    };
    made.columns.extend(origin.coordinates());
    let failed = |source| CleanError::Rows {
        table: table.name(),
        source,
    };
    for (column, received) in &made.defaulted {
        let nulls = verdicts.count_kept(received.nulls());
        if nulls > 0 {
            verdicts.counts.defaulted.insert(column, nulls);
        }
    }
    let columns = verdicts.select(made.columns).map_err(failed)?;
    let rows = RecordBatch::try_new(Arc::clone(table.arrow()), columns).map_err(failed)?;
    let (counts, quarantined) = verdicts.into_outcome();
    Ok(Cleaned {
        keys: keys(table, &rows)?,
        orders: orders(&rows)?,
        rows,
        counts,
        quarantined,
    })
}

//! All that all traders hold, and one day of trades that changes it.

use std::collections::{BTreeMap, HashMap};

use arrow_array::{Array as _, RecordBatch};
use arrow_schema::ArrowError;
use tapehouse_core::position::{Book, Fill, Fills, Performance, PositionError, Price, Quantity, SymbolFill};

use crate::days::date_text;
use crate::derived::DeriveError;
use crate::derived::columns::Read;

/// What of `silver.trades` is read.
pub(super) const SOURCE_COLUMNS: [&str; 9] = [
    "trader_id",
    "symbol",
    "side",
    "price",
    "quantity",
    "trade_timestamp",
    "event_timestamp",
    "trade_id",
    "needs_review",
];

/// The last price of a symbol.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LastPrice {
    pub price: f64,
    /// Its date, in days since 1970-01-01.
    pub date: i32,
}

/// What is carried from day to day.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Desk {
    /// By trader; none is empty.
    pub books: BTreeMap<String, Book>,
    /// By symbol, of all that were ever traded.
    pub prices: BTreeMap<String, LastPrice>,
}

/// The latest trade of a symbol so far: trade and event time in microseconds, id, price.
type Latest<'a> = (i64, i64, &'a str, f64);

/// A day's trades by trader, unsorted, and the last ones by symbol.
#[derive(Default)]
struct Grouped<'a> {
    numbers: HashMap<&'a str, usize>,
    traders: Vec<(&'a str, Vec<SymbolFill<'a>>)>,
    latest: HashMap<&'a str, Latest<'a>>,
}

/// One trader of a day: his book before it, his fills, and what came of them.
struct Work<'a> {
    trader: &'a str,
    book: Book,
    fills: Vec<SymbolFill<'a>>,
    performance: Option<Performance>,
}

impl Work<'_> {
    fn fold(&mut self, date: i32) -> Result<(), DeriveError> {
        let fills = Fills::sort(&mut self.fills);
        let folded = fills.and_then(|fills| self.book.day(fills));
        self.performance = folded.map_err(|source| position_error(self.trader, date, source))?;
        Ok(())
    }
}

fn position_error(trader: &str, date: i32, source: PositionError) -> DeriveError {
    DeriveError::Position {
        trader: trader.to_owned(),
        day: date_text(date),
        source,
    }
}

impl<'a> Grouped<'a> {
    fn add(&mut self, rows: &'a RecordBatch, date: i32) -> Result<(), DeriveError> {
        let read = Read(rows);
        let (traders, symbols, sides) = (read.text("trader_id")?, read.text("symbol")?, read.text("side")?);
        let (prices, quantities) = (read.double("price")?, read.double("quantity")?);
        let (times, events) = (read.times("trade_timestamp")?, read.times("event_timestamp")?);
        let (ids, reviews) = (read.text("trade_id")?, read.boolean("needs_review")?);
        let counts = |row: &usize| symbols.is_valid(*row) && !reviews.value(*row);
        for row in (0..rows.num_rows()).filter(counts) {
            let (symbol, price, trade_us, trade_id) =
                (symbols.value(row), prices.value(row), times.value(row), ids.value(row));
            // Without a time of its own a version is older than every other.
            let event_us = if events.is_valid(row) {
                events.value(row)
            } else {
                i64::MIN
            };
            let candidate = (trade_us, event_us, trade_id, price);
            let latest = self.latest.entry(symbol).or_insert(candidate);
            if (trade_us, event_us, trade_id) > (latest.0, latest.1, latest.2) {
                *latest = candidate;
            }
            // A side that an operator let pass says not who gave and who took.
            let is_sold = match sides.value(row) {
                "BUY" => false,
                "SELL" => true,
                _ => continue,
            };
            if traders.is_null(row) {
                continue;
            }
            let trader = traders.value(row);
            let failed = |source| position_error(trader, date, source);
            let quantity = Quantity::from_f64(quantities.value(row)).map_err(failed)?;
            let fill = Fill {
                trade_us,
                quantity: if is_sold { -quantity } else { quantity },
                price: Price::from_f64(price).map_err(failed)?,
            };
            let next = self.traders.len();
            let number = *self.numbers.entry(trader).or_insert(next);
            if number == next {
                self.traders.push((trader, Vec::new()));
            }
            self.traders[number].1.push(SymbolFill {
                symbol,
                event_us,
                trade_id,
                fill,
            });
        }
        Ok(())
    }
}

impl Desk {
    /// Takes in the trades of a day, in any order; what each trader with fills made, ascending by trader. Works on several threads.
    ///
    /// # Errors
    /// [`DeriveError::Rows`], [`DeriveError::Position`]: then the desk is of no use any more.
    pub(super) fn day(&mut self, trades: &[RecordBatch], date: i32) -> Result<Vec<(String, Performance)>, DeriveError> {
        let mut grouped = Grouped::default();
        for rows in trades {
            grouped.add(rows, date)?;
        }
        for (symbol, (_, _, _, price)) in &grouped.latest {
            let last = LastPrice { price: *price, date };
            match self.prices.get_mut(*symbol) {
                Some(known) => *known = last,
                None => drop(self.prices.insert((*symbol).to_owned(), last)),
            }
        }
        let mut work: Vec<Work<'_>> = grouped
            .traders
            .into_iter()
            .map(|(trader, fills)| Work {
                trader,
                book: self.books.remove(trader).unwrap_or_default(),
                fills,
                performance: None,
            })
            .collect();
        // A trader's fills do not touch another's: any split over threads gives the same.
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let part = work.len().div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            let fold = |part: &mut [Work<'_>]| part.iter_mut().try_for_each(|trader| trader.fold(date));
            let handles: Vec<_> = work
                .chunks_mut(part)
                .map(|part| scope.spawn(move || fold(part)))
                .collect();
            handles.into_iter().try_for_each(|handle| {
                let interrupted = |_| DeriveError::Interrupted(format!("positions of {}", date_text(date)));
                handle.join().map_err(interrupted)?
            })
        })?;
        let mut made = Vec::with_capacity(work.len());
        for trader in work {
            made.extend(
                trader
                    .performance
                    .map(|performance| (trader.trader.to_owned(), performance)),
            );
            if trader.book.positions().next().is_some() {
                self.books.insert(trader.trader.to_owned(), trader.book);
            }
        }
        made.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(made)
    }
}

impl From<PositionError> for Carried {
    fn from(error: PositionError) -> Self {
        Self(error.to_string())
    }
}

/// Why what is carried cannot be read.
#[derive(Debug)]
pub(super) struct Carried(pub String);

impl From<ArrowError> for Carried {
    fn from(error: ArrowError) -> Self {
        Self(error.to_string())
    }
}

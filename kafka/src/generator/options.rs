//! What to generate.

use serde::{Deserialize, Serialize};
use tapehouse_core::calendar::Calendar;

use super::Topic;
use super::history::EarlierTrades;

/// Most symbols: tickers are one to five letters, and the pick table has 16,384 places.
pub(super) const MAX_SYMBOLS: usize = 5_000;
const MAX_TRADERS: usize = 9_999;
/// A trade in eleven days: some hundred over some years.
const SLOWEST_PER_SECOND: f64 = 0.000_001;

/// How event time moves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum EventClock {
    /// With the wall clock: an event carries the time at which it is generated (shifted where `start` is given).
    Live,
    /// By the count of trades: deterministic, independent of the speed of generating.
    Synthetic {
        /// Trades per second of event time.
        trades_per_second: f64,
    },
    /// Through the sessions of the New York Stock Exchange, from the opening of one to its close, then on to the next; and then it ends.
    Sessions {
        /// First date, in days since 1970-01-01.
        first_day: i32,
        /// Last date, included.
        last_day: i32,
        /// Trades of each session, evenly spread.
        trades_per_day: u32,
    },
}

/// Ways in which a record can be impossible to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadRecordKind {
    /// The Avro value ends in the middle of a field.
    Truncated,
    /// The first byte is not the wire format's 0.
    WrongMagic,
    /// A value of no bytes (not a tombstone).
    Empty,
    /// The right frame, then a string of negative length.
    Corrupt,
    /// The right frame with a schema id that nobody registered. Not among the defaults: readers wait 10 s for it.
    UnknownSchema,
    /// A null value. Not among the defaults, as it is legitimate in a compacted topic.
    Tombstone,
}

/// Options of a [`super::Generator`]. Fractions are of all records of a topic, 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeneratorOptions {
    /// The same seed and options give the same records.
    pub seed: u64,
    /// Symbols traded, by Zipf weights (exponent 1.1).
    pub symbols: usize,
    /// Traders, `T0001` upwards, equally active.
    pub traders: usize,
    /// Levels on each side of an order book.
    pub book_levels: usize,
    /// Event time of the first record, microseconds since 1970; none: the time of the first call.
    pub start_us: Option<i64>,
    /// How event time moves.
    pub clock: EventClock,
    /// Trades that correct an earlier one: same trade_id, later event_timestamp, another price. Nine in ten go to
    /// one of the last 20,000 trades, one in ten far back.
    pub corrections: f64,
    /// Corrections that also move the trade to another day, up to three away, of all corrections.
    pub moves: f64,
    /// How far back: to any trade, each equally likely, at 24 bytes of memory a trade (up to 67 million); else to one of a sample
    /// of 20,000. With it a re-send is one of the last 5,000 messages, and else the latest version of one of the last 5,000 trades.
    pub remembers_all: bool,
    /// With it: trades that there were before the first.
    pub earlier: Option<EarlierTrades>,
    /// Records sent again as they were, all topics.
    pub duplicates: f64,
    /// Trades without trade_id (and so without key).
    pub null_ids: f64,
    /// Records without symbol, all topics.
    pub null_symbols: f64,
    /// Trades without price.
    pub null_prices: f64,
    /// Trades whose price is below 0, which nobody paid. A correction says the right one.
    pub negative_prices: f64,
    /// Trades without quantity, bars without volume.
    pub null_quantities: f64,
    /// Records that cannot be decoded, all topics, of `bad_kinds` in equal parts.
    pub bad_records: f64,
    /// Kinds of undecodable records.
    pub bad_kinds: Vec<BadRecordKind>,
}

impl Default for GeneratorOptions {
    /// A clean live feed: 500 symbols, 200 traders, 5 levels, no faults.
    fn default() -> Self {
        Self {
            seed: 1,
            symbols: 500,
            traders: 200,
            book_levels: 5,
            start_us: None,
            clock: EventClock::Live,
            corrections: 0.0,
            moves: 0.0,
            remembers_all: false,
            earlier: None,
            duplicates: 0.0,
            null_ids: 0.0,
            null_symbols: 0.0,
            null_prices: 0.0,
            negative_prices: 0.0,
            null_quantities: 0.0,
            bad_records: 0.0,
            bad_kinds: vec![
                BadRecordKind::Truncated,
                BadRecordKind::WrongMagic,
                BadRecordKind::Empty,
                BadRecordKind::Corrupt,
            ],
        }
    }
}

/// Why options cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option}: {reason}")]
pub struct InvalidOptions {
    /// Field of [`GeneratorOptions`].
    pub option: &'static str,
    /// What it must be.
    pub reason: &'static str,
}

impl GeneratorOptions {
    /// What a market feed looks like on an ordinary day, as `tapehouse demo` shows it: some corrections and re-sends, few
    /// nulls, very few records that cannot be decoded.
    pub fn realistic(seed: u64) -> Self {
        Self {
            seed,
            corrections: 0.02,
            duplicates: 0.005,
            null_ids: 0.000_5,
            null_symbols: 0.000_5,
            null_prices: 0.000_5,
            negative_prices: 0.000_2,
            null_quantities: 0.000_5,
            bad_records: 0.000_5,
            ..Self::default()
        }
    }

    /// Checks ranges.
    ///
    /// # Errors
    /// The first option out of its range.
    pub fn check(&self) -> Result<(), InvalidOptions> {
        let refuse = |option, reason| Err(InvalidOptions { option, reason });
        if !(1..=MAX_SYMBOLS).contains(&self.symbols) {
            return refuse("symbols", "must be 1 to 5000");
        }
        if !(1..=MAX_TRADERS).contains(&self.traders) {
            return refuse("traders", "must be 1 to 9999");
        }
        if !(1..=50).contains(&self.book_levels) {
            return refuse("book_levels", "must be 1 to 50");
        }
        if let EventClock::Synthetic { trades_per_second } = self.clock
            && !(SLOWEST_PER_SECOND..=1_000_000.0).contains(&trades_per_second)
        {
            return refuse("trades_per_second", "must be 0.000001 to 1000000");
        }
        if let EventClock::Sessions {
            first_day,
            last_day,
            trades_per_day,
        } = self.clock
        {
            if !(1..=100_000_000).contains(&trades_per_day) {
                return refuse("trades_per_day", "must be 1 to 100000000");
            }
            match Calendar::nyse().sessions(first_day, last_day) {
                Ok(sessions) if sessions.is_empty() => {
                    return refuse("historical", "the stock exchange was closed on all of these days");
                }
                Ok(_) => {}
                Err(_) => return refuse("historical", "the trading calendar knows the days from 2020 to 2030"),
            }
        }
        for (option, fraction) in [
            ("corrections", self.corrections),
            ("moves", self.moves),
            ("duplicates", self.duplicates),
            ("null_ids", self.null_ids),
            ("null_symbols", self.null_symbols),
            ("null_prices", self.null_prices),
            ("negative_prices", self.negative_prices),
            ("null_quantities", self.null_quantities),
            ("bad_records", self.bad_records),
        ] {
            if !(0.0..=1.0).contains(&fraction) {
                return refuse(option, "is a fraction, 0 to 1");
            }
        }
        if self.corrections + self.duplicates + self.bad_records > 1.0 {
            return refuse(
                "corrections",
                "corrections, duplicates and bad_records together exceed 1",
            );
        }
        if self.bad_records > 0.0 && self.bad_kinds.is_empty() {
            return refuse("bad_kinds", "must name a kind where bad_records is not 0");
        }
        Ok(())
    }
}

/// Ids under which the registry knows the three schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaIds {
    ids: [u32; 3],
}

impl SchemaIds {
    /// Ids of trades, order books and market data.
    pub const fn new(trades: u32, orderbook: u32, marketdata: u32) -> Self {
        Self {
            ids: [trades, orderbook, marketdata],
        }
    }

    /// Sets the id of one topic.
    pub fn set(&mut self, topic: Topic, id: u32) {
        self.ids[topic.index()] = id;
    }

    /// Id of one topic.
    pub fn get(&self, topic: Topic) -> u32 {
        self.ids[topic.index()]
    }
}

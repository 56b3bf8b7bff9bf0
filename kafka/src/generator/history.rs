//! All trades of a run in few bytes each, so that corrections can go to any of them.

use rand::Rng;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};

use super::options::GeneratorOptions;
use super::recent::{LATE_ONE_IN, NEWEST, RESEND_REACH};
use super::trade::{Nulls, Trade, uuid_text, uuid_v4};

/// Trades remembered at most, 24 bytes each; of more, the latest.
const MOST: u64 = 1 << 26;
/// Trades allocated at once: growing copies nothing.
const CHUNK: u64 = 1 << 16;

/// A trade without its id, which follows from its number, and without its event's time, which a correction replaces.
#[derive(Clone, Copy, Debug)]
struct Kept {
    trade_us: i64,
    price_ticks: u32,
    quantity: u32,
    symbol: u16,
    trader: u16,
    venue: u8,
    /// Bits: is_buy, null symbol, null price, null quantity.
    flags: u8,
}

const _: () = assert!(size_of::<Kept>() == 24);

impl Kept {
    fn of(trade: &Trade) -> Self {
        let flags = [
            trade.is_buy,
            trade.nulls.symbol,
            trade.nulls.price,
            trade.nulls.quantity,
        ];
        Self {
            trade_us: trade.trade_us,
            // At 1,500 units and +-15 % the dearest symbol is far below.
            price_ticks: u32::try_from(trade.price_ticks).unwrap_or(u32::MAX),
            quantity: trade.quantity,
            symbol: trade.symbol,
            trader: trade.trader,
            venue: trade.venue,
            flags: (0..).zip(flags).map(|(bit, is_set)| u8::from(is_set) << bit).sum(),
        }
    }

    fn trade(&self, id: [u8; 16]) -> Trade {
        let is_set = |bit: u8| self.flags >> bit & 1 == 1;
        Trade {
            id,
            symbol: self.symbol,
            trader: self.trader,
            venue: self.venue,
            is_buy: is_set(0),
            nulls: Nulls {
                id: false,
                symbol: is_set(1),
                price: is_set(2),
                quantity: is_set(3),
                // Only what corrects it is made of this.
                negative_price: false,
            },
            price_ticks: i64::from(self.price_ticks),
            quantity: self.quantity,
            trade_us: self.trade_us,
            event_us: i64::MIN,
        }
    }
}

/// Trades that a feed goes on from, as if they had been sent before it began: corrections go to them too. They are functions of the
/// seed and their number, so that nothing has to remember them; a correction is always one of the trade as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierTrades {
    /// How many.
    pub trades: u64,
    /// When the first one happened, microseconds since 1970.
    pub first_us: i64,
    /// When the last one had happened: the others are evenly spread between.
    pub end_us: i64,
}

impl EarlierTrades {
    /// When the trade of this number happened, microseconds since 1970; from 0.
    pub fn trade_us(&self, number: u64) -> i64 {
        let span_us = i128::from(self.end_us - self.first_us);
        let after_us = span_us * i128::from(number) / i128::from(self.trades.max(1));
        self.first_us + i64::try_from(after_us).unwrap_or_default()
    }

    fn trade(&self, number: u64, options: &GeneratorOptions) -> Kept {
        let draw = mix(number ^ mix(options.seed));
        Kept {
            trade_us: self.trade_us(number),
            price_ticks: 1_000 + (draw % 10_000) as u32,
            quantity: 100,
            symbol: (draw % options.symbols as u64) as u16,
            trader: (draw % options.traders as u64) as u16,
            venue: 0,
            flags: 0,
        }
    }
}

/// The trade_id of the trade of this number in a feed that remembers all trades; those of [`EarlierTrades`] come first.
pub fn trade_id(seed: u64, number: u64) -> [u8; 36] {
    uuid_text(&id(seed, number))
}

/// Looks random, and need not be kept.
fn id(seed: u64, number: u64) -> [u8; 16] {
    let base = mix(seed);
    uuid_v4(mix(base ^ (2 * number)), mix(base ^ (2 * number + 1)))
}

/// Every trade in its latest version, and the latest messages as they were sent.
pub(super) struct History {
    options: GeneratorOptions,
    earlier: EarlierTrades,
    chunks: Vec<Vec<Kept>>,
    /// Trades remembered so far.
    trades: u64,
    sent: Vec<Trade>,
    /// Messages sent so far; the next one's place in `sent` follows from it.
    messages: u64,
}

impl History {
    pub fn new(options: &GeneratorOptions) -> Self {
        Self {
            earlier: options.earlier.unwrap_or(EarlierTrades {
                trades: 0,
                first_us: 0,
                end_us: 0,
            }),
            options: options.clone(),
            chunks: Vec::new(),
            trades: 0,
            sent: Vec::new(),
            messages: 0,
        }
    }

    /// Remembers a new trade and gives it its id.
    pub fn remember(&mut self, trade: &mut Trade) {
        trade.id = id(self.options.seed, self.earlier.trades + self.trades);
        let kept = Kept::of(trade);
        let (chunk, place) = place(self.trades);
        match self.chunks.get_mut(chunk) {
            None => {
                let mut chunk = Vec::with_capacity(CHUNK as usize);
                chunk.push(kept);
                self.chunks.push(chunk);
            }
            Some(chunk) if place == chunk.len() => chunk.push(kept),
            Some(chunk) => chunk[place] = kept,
        }
        self.trades += 1;
    }

    /// Corrects a trade by `change`: nine in ten times one of the latest, else any, each equally likely.
    pub fn correct(&mut self, rng: &mut SmallRng, change: impl FnOnce(&mut Trade, &mut SmallRng)) -> Option<Trade> {
        let trades = self.earlier.trades + self.trades;
        if trades == 0 {
            return None;
        }
        let reach = match rng.random_range(0..LATE_ONE_IN) {
            0 => MOST,
            _ => NEWEST as u64,
        };
        let number = rng.random_range(trades.saturating_sub(reach)..trades);
        let id = id(self.options.seed, number);
        let Some(own) = number.checked_sub(self.earlier.trades) else {
            let mut trade = self.earlier.trade(number, &self.options).trade(id);
            change(&mut trade, rng);
            return Some(trade);
        };
        let (chunk, place) = place(own);
        let kept = self.chunks.get_mut(chunk)?.get_mut(place)?;
        let mut trade = kept.trade(id);
        change(&mut trade, rng);
        *kept = Kept::of(&trade);
        Some(trade)
    }

    /// Notes a message, so that it can be sent again.
    pub fn sent(&mut self, trade: Trade) {
        let place = (self.messages % RESEND_REACH as u64) as usize;
        match self.sent.get_mut(place) {
            Some(sent) => *sent = trade,
            None => self.sent.push(trade),
        }
        self.messages += 1;
    }

    /// A message to send again, as it was: its trade may have been corrected since.
    pub fn pick_for_resend(&self, rng: &mut SmallRng) -> Option<Trade> {
        match self.sent.len() {
            0 => None,
            sent => Some(self.sent[rng.random_range(0..sent)]),
        }
    }
}

fn place(number: u64) -> (usize, usize) {
    let at = number % MOST;
    ((at / CHUNK) as usize, (at % CHUNK) as usize)
}

/// The finaliser of SplitMix64: distinct for distinct inputs.
fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

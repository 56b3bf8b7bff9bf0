//! All trades of a run in few bytes each, so that corrections can go to any of them.

use rand::Rng;
use rand::rngs::SmallRng;

use super::recent::{LATE_ONE_IN, NEWEST, RESEND_REACH};
use super::trade::{Nulls, Trade, uuid_v4};

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
            },
            price_ticks: i64::from(self.price_ticks),
            quantity: self.quantity,
            trade_us: self.trade_us,
            event_us: i64::MIN,
        }
    }
}

/// Every trade in its latest version, and the latest messages as they were sent.
pub(super) struct History {
    seed: u64,
    chunks: Vec<Vec<Kept>>,
    trades: u64,
    sent: Vec<Trade>,
    /// Messages sent so far; the next one's place in `sent` follows from it.
    messages: u64,
}

impl History {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            chunks: Vec::new(),
            trades: 0,
            sent: Vec::new(),
            messages: 0,
        }
    }

    /// Remembers a new trade and gives it its id.
    pub fn remember(&mut self, trade: &mut Trade) {
        trade.id = self.id(self.trades);
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
        if self.trades == 0 {
            return None;
        }
        let reach = match rng.random_range(0..LATE_ONE_IN) {
            0 => MOST,
            _ => NEWEST as u64,
        };
        let number = rng.random_range(self.trades.saturating_sub(reach)..self.trades);
        let id = self.id(number);
        let (chunk, place) = place(number);
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

    /// Id of the trade of this number: looks random, and need not be kept.
    fn id(&self, number: u64) -> [u8; 16] {
        let base = mix(self.seed);
        uuid_v4(mix(base ^ (2 * number)), mix(base ^ (2 * number + 1)))
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

//! Bounded memories of what was published, for corrections and re-sends.

use rand::Rng;
use rand::rngs::SmallRng;

use super::batch::GeneratedRecord;
use super::history::History;
use super::trade::Trade;

/// Trades that a correction usually hits.
pub(super) const NEWEST: usize = 20_000;
/// A uniform sample of all trades, for the corrections that come late.
const SAMPLE: usize = 20_000;
/// How far back a re-send reaches.
pub(super) const RESEND_REACH: usize = 5_000;
/// One correction in so many comes late.
pub(super) const LATE_ONE_IN: u32 = 10;
/// Encoded records that can be sent again, of order books and of bars.
const ENCODED: usize = 512;

/// Recent trades in their latest version.
pub(super) struct RecentTrades {
    newest: Vec<Trade>,
    /// Where the next trade goes in `newest`.
    next: usize,
    sample: Vec<Trade>,
    seen: u64,
}

impl RecentTrades {
    pub fn new() -> Self {
        Self {
            newest: Vec::new(),
            next: 0,
            sample: Vec::new(),
            seen: 0,
        }
    }

    pub fn remember(&mut self, trade: Trade, rng: &mut SmallRng) {
        if self.newest.len() < NEWEST {
            self.newest.push(trade);
        } else {
            self.newest[self.next] = trade;
        }
        self.next = (self.next + 1) % NEWEST;
        self.seen += 1;
        if self.sample.len() < SAMPLE {
            self.sample.push(trade);
        } else {
            let place = rng.random_range(0..self.seen);
            if place < SAMPLE as u64 {
                self.sample[place as usize] = trade;
            }
        }
    }

    /// A trade to correct; the caller changes it in place.
    pub fn pick_for_correction(&mut self, rng: &mut SmallRng) -> Option<&mut Trade> {
        let from = if rng.random_range(0..LATE_ONE_IN) == 0 {
            &mut self.sample
        } else {
            &mut self.newest
        };
        if from.is_empty() {
            return None;
        }
        let place = rng.random_range(0..from.len());
        from.get_mut(place)
    }

    /// A trade to send again.
    pub fn pick_for_resend(&self, rng: &mut SmallRng) -> Option<&Trade> {
        if self.newest.is_empty() {
            return None;
        }
        let back = rng.random_range(1..=self.newest.len().min(RESEND_REACH));
        self.newest.get((self.next + NEWEST - back) % NEWEST)
    }
}

/// What trades are remembered.
pub(super) enum TradeMemory {
    /// The latest and a sample: no more memory, however long the feed.
    Recent(RecentTrades),
    /// All of them.
    All(Box<History>),
}

impl TradeMemory {
    /// Remembers a new trade; may give it another id.
    pub fn remember(&mut self, trade: &mut Trade, rng: &mut SmallRng) {
        match self {
            Self::Recent(trades) => trades.remember(*trade, rng),
            Self::All(trades) => trades.remember(trade),
        }
    }

    /// Notes that a trade is sent, in this version.
    pub fn sent(&mut self, trade: &Trade) {
        if let Self::All(trades) = self {
            trades.sent(*trade);
        }
    }

    /// Corrects a trade by `change`; none, if there is none yet.
    pub fn correct(&mut self, rng: &mut SmallRng, change: impl FnOnce(&mut Trade, &mut SmallRng)) -> Option<Trade> {
        match self {
            Self::Recent(trades) => {
                let trade = trades.pick_for_correction(rng)?;
                change(trade, rng);
                Some(*trade)
            }
            Self::All(trades) => trades.correct(rng, change),
        }
    }

    /// A trade to send again, as it was sent.
    pub fn pick_for_resend(&self, rng: &mut SmallRng) -> Option<Trade> {
        match self {
            Self::Recent(trades) => trades.pick_for_resend(rng).copied(),
            Self::All(trades) => trades.pick_for_resend(rng),
        }
    }
}

/// Recent records as they were sent.
#[derive(Default)]
pub(super) struct RecentRecords {
    records: Vec<(Option<Vec<u8>>, Vec<u8>)>,
    next: usize,
}

impl RecentRecords {
    pub fn remember(&mut self, record: &GeneratedRecord<'_>) {
        let kept = (
            record.key.map(<[u8]>::to_vec),
            record.value.unwrap_or_default().to_vec(),
        );
        if self.records.len() < ENCODED {
            self.records.push(kept);
        } else {
            self.records[self.next] = kept;
        }
        self.next = (self.next + 1) % ENCODED;
    }

    /// Key and value of a record to send again.
    pub fn pick(&self, rng: &mut SmallRng) -> Option<(Option<&[u8]>, &[u8])> {
        if self.records.is_empty() {
            return None;
        }
        let (key, value) = &self.records[rng.random_range(0..self.records.len())];
        Some((key.as_deref(), value))
    }
}

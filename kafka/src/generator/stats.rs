//! Ground truth: what was generated.

use serde::{Deserialize, Serialize};

use super::Topic;

/// Counts of one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicStats {
    /// Records in all, each of the following included.
    pub produced: u64,
    /// Corrections of earlier trades.
    pub corrections: u64,
    /// Corrections that move a trade to another day.
    #[serde(default)]
    pub moved: u64,
    /// Records sent again as they were.
    pub duplicates: u64,
    /// Records that cannot be decoded, tombstones included.
    pub bad: u64,
    /// New records without id.
    pub null_ids: u64,
    /// New records without symbol.
    pub null_symbols: u64,
    /// New records without price.
    pub null_prices: u64,
    /// Trades with a price below 0.
    pub negative_prices: u64,
    /// New records without quantity or volume.
    pub null_quantities: u64,
    /// Bars of closed minutes that nobody asked for in time: at most 65,536 wait.
    pub bars_lost: u64,
}

/// Counts of all topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratorStats {
    /// Trades.
    pub trades: TopicStats,
    /// Order books.
    pub orderbook: TopicStats,
    /// Bars.
    pub marketdata: TopicStats,
}

impl GeneratorStats {
    /// Counts of one topic.
    pub fn topic(&self, topic: Topic) -> &TopicStats {
        match topic {
            Topic::Trades => &self.trades,
            Topic::Orderbook => &self.orderbook,
            Topic::Marketdata => &self.marketdata,
        }
    }

    pub(super) fn topic_mut(&mut self, topic: Topic) -> &mut TopicStats {
        match topic {
            Topic::Trades => &mut self.trades,
            Topic::Orderbook => &mut self.orderbook,
            Topic::Marketdata => &mut self.marketdata,
        }
    }

    /// Records of all topics.
    pub fn produced(&self) -> u64 {
        Topic::ALL.into_iter().map(|topic| self.topic(topic).produced).sum()
    }

    /// Records of all topics that cannot be decoded.
    pub fn bad(&self) -> u64 {
        Topic::ALL.into_iter().map(|topic| self.topic(topic).bad).sum()
    }
}

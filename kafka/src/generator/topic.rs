//! The three topics that can be generated.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::schemas;

/// A generated topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// Executed trades, keyed by trade_id.
    Trades,
    /// Order-book snapshots, keyed by symbol.
    Orderbook,
    /// One-minute bars, keyed by symbol.
    Marketdata,
}

/// The text names no topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown topic `{0}`: trades, orderbook or marketdata")]
pub struct UnknownTopic(pub String);

impl Topic {
    /// All of them, in the order of [`Topic::index`].
    pub const ALL: [Self; 3] = [Self::Trades, Self::Orderbook, Self::Marketdata];

    /// Position in [`Topic::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Short name, as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trades => "trades",
            Self::Orderbook => "orderbook",
            Self::Marketdata => "marketdata",
        }
    }

    /// Kafka topic unless configured otherwise.
    pub const fn kafka_topic(self) -> &'static str {
        match self {
            Self::Trades => "raw.trades",
            Self::Orderbook => "raw.orderbook",
            Self::Marketdata => "raw.marketdata",
        }
    }

    /// Avro schema of the values, as JSON.
    pub const fn schema(self) -> &'static str {
        match self {
            Self::Trades => schemas::TRADE,
            Self::Orderbook => schemas::ORDER_BOOK,
            Self::Marketdata => schemas::BAR,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(text: &str) -> Result<Self, UnknownTopic> {
        Self::ALL
            .into_iter()
            .find(|topic| topic.name() == text)
            .ok_or_else(|| UnknownTopic(text.to_owned()))
    }
}

//! Deterministic market data: trades, order books and bars that agree with each other.
//!
//! One simulated market drives all three topics. A trade moves its symbol's quotes and executes at the bid or the ask;
//! an order book shows those quotes, so that it brackets the last trade; a bar aggregates the trades of its minute.
//! The same options and the same sequence of calls give the same bytes; with [`EventClock::Synthetic`] and a `start_us`
//! it does not matter either when the calls are made.

mod avro;
mod bars;
mod batch;
mod clock;
mod engine;
mod faults;
mod history;
mod market;
mod options;
mod recent;
pub mod schemas;
mod stats;
mod topic;
mod trade;

pub use batch::{GeneratedBatch, GeneratedRecord};
pub use engine::Generator;
pub use history::{EarlierTrades, trade_id};
pub use options::{BadRecordKind, EventClock, GeneratorOptions, InvalidOptions, SchemaIds};
pub use stats::{GeneratorStats, TopicStats};
pub use topic::{Topic, UnknownTopic};

#[cfg(test)]
mod tests;

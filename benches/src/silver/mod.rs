//! Benches of the silver layer: what merging costs, how that grows with the table, how late it is, and what its files cost readers.

pub mod commits;
pub mod oracle;
pub mod scan;
pub mod seed;
pub mod size;
pub mod stream;
pub mod table;
pub mod throughput;

/// The table that all of them are about.
pub const TABLE: &str = "silver.trades";

/// Arguments of a node that runs both layers of the trades.
pub const BOTH_LAYERS: [&str; 5] = ["run", "--source", "trades", "--layers", "bronze,silver"];

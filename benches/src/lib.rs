//! What the benches share: the limit loop, sample data, measured processes, and the end-to-end benches.

pub mod commits;
pub mod freshness;
pub mod interrupt;
pub mod limit;
pub mod process;
pub mod report;
pub mod sample;
pub mod servers;
pub mod silver;
pub mod throughput;
pub mod usage;

/// Whatever went wrong, said at the top: a bench either measures or ends.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

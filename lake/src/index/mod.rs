//! The key index of a keyed table: for each live key, where its row is and what it was said last.
//!
//! A key is its 128-bit hash. The newest entries are in memory; as they become many they are written as an immutable run, sorted by
//! hash, and runs are merged by size, so that a lookup sees few of them. Of a run only a filter and the first hash of each
//! block stay in memory, some 11 bits a key: a key that is not in the table costs no read, one that is costs one block.
//!
//! Nothing of it outlives the process: it is built from the table's key columns when it starts, and again when it is damaged. Nor is
//! what it says taken on trust: a commit checks the data files that it names. ADR 0010 has the alternatives and the figures.

mod block;
mod build;
mod entry;
mod error;
mod filter;
mod key_index;
mod merge;
mod parallel;
mod run;
mod run_file;
mod scan;
mod settings;
mod shard;
#[cfg(test)]
mod tests;
mod writer;

pub use build::{Built, KeyIndexBuilder};
pub use entry::{Entry, KeyHash, Location, Order};
pub use error::IndexError;
pub use filter::KeyFilter;
pub use key_index::KeyIndex;
pub use settings::IndexSettings;

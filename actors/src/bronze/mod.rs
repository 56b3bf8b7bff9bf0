//! From raw records to encoded bronze rows: pure CPU work, run on the pool.

mod open_set;
pub(crate) mod rows;
mod schemas;

pub use rows::decode_rows;

pub(crate) use open_set::{Absorber, OpenSet};
pub(crate) use schemas::SchemaBook;

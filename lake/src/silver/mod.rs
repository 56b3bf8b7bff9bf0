//! Silver tables: one row a key, the latest event, cleaned by rule.

pub mod activity;
pub mod clean;
mod columns;
mod keys;
mod layout;
pub mod merge;
pub mod source;

pub use keys::{ORDER_COLUMNS, keys, orders};
pub use layout::SilverTable;

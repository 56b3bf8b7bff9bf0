//! Silver tables: one row a key, the latest event, cleaned by rule.

pub mod activity;
pub mod clean;
mod columns;
pub mod explain;
mod keys;
mod layout;
pub mod merge;
pub mod quarantine;
pub mod source;

pub use keys::{ORDER_COLUMNS, key_text, keys, orders};
pub use layout::SilverTable;

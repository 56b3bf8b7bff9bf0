//! Gold: what a desk opens after the close, always right for what silver says.
//!
//! [`summary`] and [`overview`] are computed a day at a time from the same day of their sources ([`crate::derived`]). [`positions`] carries
//! what traders hold from day to day.

pub mod overview;
pub mod positions;
pub mod summary;

/// The column that all gold tables are partitioned by: the date in New York.
pub const DATE_COLUMN: &str = "trading_date";

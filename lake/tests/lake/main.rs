//! The lake against real parts: SQLite, PostgreSQL, a REST catalog, local files, PyIceberg and DuckDB as readers and as other writers.

#![allow(clippy::unwrap_used)]

mod append;
mod catalogs;
#[cfg(feature = "chaos")]
mod chaos;
mod compaction;
mod day_versions;
mod expiry;
mod fold;
mod gold;
mod lost_answers;
mod market;
mod outage;
mod place;
mod positions;
mod postgres;
mod quarantine;
mod races;
mod raw_trades;
mod readers;
mod rest;
mod retention;
mod row_delta;
mod s3;
mod schema;
mod silver_merge;
mod silver_source;
mod support;
mod tiers;
mod trader_activity;
mod verify;
mod verify_silver;

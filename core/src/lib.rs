//! The pure domain of Tapehouse: what must be decided, without any I/O.
//!
//! Everything here is a function of its arguments: offsets and ranges, the decision whether a commit may happen, the
//! invariants that `verify`, the property tests and the chaos tests share, and retry delays.

pub mod append;
pub mod assets;
pub mod backoff;
pub mod calendar;
pub mod chunk;
pub mod clock;
pub mod codes;
pub mod coverage;
pub mod derive;
pub mod exact_sum;
pub mod failpoint;
pub mod fingerprint;
pub mod freshness;
pub mod identity;
pub mod ledger;
pub mod lost;
pub mod merge;
pub mod new_york;
pub mod offsets;
pub mod position;
pub mod quarantine;
pub mod rebuild;
pub mod schedule;
pub mod secret;
pub mod state;
pub mod watermark;
pub mod words;

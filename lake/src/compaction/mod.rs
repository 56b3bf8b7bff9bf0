//! Compaction: many small files become few large ones, with the same rows.

pub mod bronze;
pub mod plan;

pub use bronze::{CompactionError, SmallFiles, rewrite};
pub use plan::{Candidate, CompactionSettings, Group, plan, plan_rest};

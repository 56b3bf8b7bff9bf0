//! Compaction: many small files become few large ones.

pub mod plan;

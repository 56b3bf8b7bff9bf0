//! Bronze rows by their Kafka coordinates, out of the current snapshot of the bronze table.
//!
//! What is merged already is a set of offsets, never a snapshot: so compaction, expiry and rollback of bronze do not matter. Of the
//! live data files those are left out that surely hold no wanted row, by one of two proofs:
//!
//! 1. *By age.* A retained snapshot of the current history records a state that ends before each wanted range begins. No row of these
//!    ranges was in the table then, so none is in a data file of that snapshot's sequence number or a lower one; compaction, which
//!    gives its outputs the highest data sequence number of its inputs, keeps that true. Whole manifests are left out so, unread:
//!    what a read costs follows what is new, not the table.
//! 2. *By bounds.* No wanted range meets the bounds of the coordinates that the manifest keeps; where these leave many files, no
//!    wanted range meets the offsets that the file holds, which are looked up in it once.
//!
//! Neither is needed for the result: rows are filtered by their coordinates, and rows without them are never read.

mod bounds;
pub(crate) mod columns;
pub(crate) mod deletes;
mod error;
mod extents;
pub(crate) mod file;
mod offsets;
mod rows;
mod select;
mod wanted;

pub use error::SourceError;
pub(crate) use extents::ExtentsCache;
pub use offsets::bronze_offsets;
pub use rows::{BronzeRows, SourceStats};
pub(crate) use select::of_day;

/// The columns that name a Kafka record: incarnation, partition, offset.
const COORDINATES: [&str; 3] = ["topic_incarnation", "kafka_partition", "kafka_offset"];

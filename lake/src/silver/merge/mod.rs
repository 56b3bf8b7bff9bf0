//! Merging cleaned rows into a keyed table: of each key the latest event stays.
//!
//! A row that takes the place of another is written to a new data file, and the other one is named by a position delete; both in one
//! snapshot with the ranges of bronze that they come from. Which row has which key says the key index: it is made from the
//! table's key columns when the table is opened, and follows each commit. The commit checks the files that it names, so that an index
//! that does not fit the table is noticed and never makes a wrong row.

mod book;
mod compact;
mod compacting;
mod open;
mod plan;
mod stage;

use arrow_schema::ArrowError;
use tapehouse_core::merge::{MergeRefusal, MergeState};

pub use compact::{Compacted, Compaction, StagedCompaction};
pub use open::{KeyedTable, Merger};
pub use plan::{KeyedRows, Plan};
pub use stage::Staged;

use crate::commit::MovedFile;
use crate::error::{CommitError, LakeError};
use crate::files::FileError;
use crate::index::IndexError;
use crate::silver::clean::CleanError;
use crate::table::StateError;

/// Why rows were not merged. Whatever it is, the table is whole, and opening it again is a way out unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The table or its files.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The state that the table records.
    #[error(transparent)]
    State(#[from] StateError),
    /// A data file or delete file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Rows that are not in the table's layout.
    #[error(transparent)]
    Rows(#[from] ArrowError),
    /// Rows without a key or coordinates.
    #[error(transparent)]
    Keys(#[from] CleanError),
    /// The commit.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The ranges do not continue what the table records.
    #[error("{0}")]
    Refused(MergeRefusal, Box<MergeState>),
    /// Somebody else has committed to the table.
    #[error("the table is at snapshot {found:?}, its keys were looked up at {expected:?}")]
    OtherBase {
        /// Snapshot that the index is of.
        expected: Option<i64>,
        /// Snapshot of the table.
        found: Option<i64>,
    },
    /// The table's files are not those that the index knows.
    #[error(transparent)]
    Moved(#[from] MovedFile),
}

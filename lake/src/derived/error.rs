//! Why days were not computed.

use arrow_schema::ArrowError;
use tapehouse_core::calendar::UnknownYear;
use tapehouse_core::derive::DeriveRefusal;
use tapehouse_core::position::PositionError;

use crate::error::{CommitError, LakeError};
use crate::files::FileError;
use crate::silver::source::SourceError;
use crate::table::StateError;

/// Why days were not computed.
#[derive(Debug, thiserror::Error)]
pub enum DeriveError {
    /// Catalog or warehouse.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// Rows of a source could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What a table records cannot be trusted.
    #[error(transparent)]
    State(#[from] StateError),
    /// A data file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A source is not in the layout of its table.
    #[error(transparent)]
    Rows(#[from] ArrowError),
    /// A day beyond the calendar's years.
    #[error(transparent)]
    Calendar(#[from] UnknownYear),
    /// Fills that cannot be reckoned with.
    #[error("fills of {trader} on {day}: {source}")]
    Position {
        /// The trader.
        trader: String,
        /// The date.
        day: String,
        /// What is wrong with them.
        source: PositionError,
    },
    /// What is carried from day to day cannot be read.
    #[error("the carried state of {day} cannot be read: {reason}")]
    Carried {
        /// The date.
        day: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A thread that computed a day ended before it was done.
    #[error("computing {0} was interrupted")]
    Interrupted(String),
    /// The commit.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The table rests on newer sources, or belongs to somebody else.
    #[error(transparent)]
    Refused(#[from] DeriveRefusal),
}

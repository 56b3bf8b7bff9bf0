//! `ops.quarantine`: the rows that rules have set aside, and what was decided about them.
//!
//! One table with two kinds of rows, in partitions of their own. Rows set aside are recorded before silver's own commit; which are
//! recorded already says a cursor in the table's state ([`tapehouse_core::quarantine`]). Decisions are numbered, and never change:
//! silver is the fold of bronze and decisions.

mod columns;
mod decide;
mod entry;
mod json;
mod read;
mod record;
mod standing;

use arrow_schema::ArrowError;
use tapehouse_core::quarantine::QuarantineState;

pub use decide::{Decided, NewDecision, NotDecided, decide};
pub use entry::{Decision, Entry, RecordId, Verdict, entries_of};
pub use read::{Decisions, Quarantine, applied, decisions};
pub use record::{NotRecorded, RecordRows, begin_generation, record};
pub use standing::{Standing, refusal, standings};

use crate::error::{CommitError, LakeError};
use crate::files::FileError;
use crate::lake::Lake;
use crate::table::{LoadedTable, StateError};

/// The table's name.
pub const QUARANTINE_TABLE: &str = "ops.quarantine";

/// Why `ops.quarantine` could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// The table or its files.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The state that it records.
    #[error(transparent)]
    State(#[from] StateError),
    /// A data file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The commit.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Rows that are not in the table's layout.
    #[error("{QUARANTINE_TABLE}: {0}")]
    Rows(#[from] ArrowError),
    /// The table belongs to another cluster of Tapehouse.
    #[error("{QUARANTINE_TABLE} is written by cluster `{recorded}`, not by `{wanted}`")]
    OtherOwner {
        /// Owner in the table's state.
        recorded: String,
        /// Who wants to write.
        wanted: String,
    },
}

impl QuarantineError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Lake(error) => error.code(),
            Self::State(_) => "state_invalid",
            Self::File(error) => error.code(),
            Self::Commit(error) => error.code(),
            Self::Rows(_) => "schema",
            Self::OtherOwner { .. } => "foreign_owner",
        }
    }

    /// Whether the same call may succeed later by itself.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Lake(error) => error.is_retryable(),
            Self::Commit(error) => error.is_retryable(),
            Self::File(_) => true,
            Self::State(_) | Self::Rows(_) | Self::OtherOwner { .. } => false,
        }
    }
}

/// The table, created for `owner` where it is missing.
async fn open_or_create(lake: &Lake, owner: &str) -> Result<LoadedTable, QuarantineError> {
    let table = lake.create_table(&columns::ident(), columns::new_table(owner)).await?;
    demand_owner(&table.quarantine_state()?, owner)?;
    Ok(table)
}

fn demand_owner(state: &QuarantineState, owner: &str) -> Result<(), QuarantineError> {
    match state.owner == owner {
        true => Ok(()),
        false => Err(QuarantineError::OtherOwner {
            recorded: state.owner.clone(),
            wanted: owner.to_owned(),
        }),
    }
}

//! Why computing stopped for now, sorted by what helps.

use tapehouse_core::derive::DeriveRefusal;
use tapehouse_lake::derived::DeriveError;

use crate::failure::ErrorCode;
use crate::follow::PassFailure;
use crate::pool::JobPanicked;

/// End of one pass.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeriveFailure {
    /// Reading, computing, writing or committing.
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// A panic, caught at the boundary of a job.
    #[error(transparent)]
    Panic(#[from] JobPanicked),
}

impl PassFailure for DeriveFailure {
    fn needs_an_operator(&self) -> bool {
        match self {
            Self::Derive(error) => match error {
                DeriveError::Lake(error) => !error.is_retryable(),
                DeriveError::Source(error) => !error.is_retryable(),
                DeriveError::Commit(error) => !error.is_retryable(),
                DeriveError::State(_) | DeriveError::Rows(_) | DeriveError::Calendar(_) => true,
                DeriveError::Position { .. } | DeriveError::Carried { .. } => true,
                DeriveError::Refused(refusal) => !matches!(refusal, DeriveRefusal::Stale { .. }),
                DeriveError::File(_) | DeriveError::Interrupted(_) => false,
            },
            Self::Panic(_) => false,
        }
    }

    fn may_repeat(&self) -> bool {
        matches!(self, Self::Derive(DeriveError::Commit(error)) if error.is_retryable())
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Derive(error) => match error {
                DeriveError::Lake(error) => error.code(),
                DeriveError::Source(error) => error.code(),
                DeriveError::State(_) => "state_invalid",
                DeriveError::File(error) => error.code(),
                DeriveError::Rows(_) => "schema",
                DeriveError::Calendar(_) => "unknown_year",
                DeriveError::Position { .. } => "position",
                DeriveError::Carried { .. } => "state_invalid",
                DeriveError::Interrupted(_) => "panic",
                DeriveError::Commit(error) => error.code(),
                DeriveError::Refused(DeriveRefusal::OtherOwner { .. }) => "foreign_owner",
                DeriveError::Refused(DeriveRefusal::Stale { .. }) => "source_behind",
                DeriveError::Refused(_) => "refused",
            },
            Self::Panic(_) => "panic",
        }
    }
}

//! Why computing stopped for now, sorted by what helps.

use tapehouse_core::derive::DeriveRefusal;
use tapehouse_lake::silver::activity::ActivityError;

use crate::failure::ErrorCode;
use crate::follow::PassFailure;
use crate::pool::JobPanicked;

/// End of one pass.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActivityFailure {
    /// Reading, computing, writing or committing.
    #[error(transparent)]
    Activity(#[from] ActivityError),
    /// A panic, caught at the boundary of a job.
    #[error(transparent)]
    Panic(#[from] JobPanicked),
}

impl PassFailure for ActivityFailure {
    fn needs_an_operator(&self) -> bool {
        match self {
            Self::Activity(error) => match error {
                ActivityError::Lake(error) => !error.is_retryable(),
                ActivityError::Source(error) => !error.is_retryable(),
                ActivityError::Commit(error) => !error.is_retryable(),
                ActivityError::State(_) | ActivityError::Rows(_) => true,
                ActivityError::Refused(refusal) => !matches!(refusal, DeriveRefusal::Stale { .. }),
                ActivityError::File(_) => false,
            },
            Self::Panic(_) => false,
        }
    }

    fn may_repeat(&self) -> bool {
        matches!(self, Self::Activity(ActivityError::Commit(error)) if error.is_retryable())
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Activity(error) => match error {
                ActivityError::Lake(error) => error.code(),
                ActivityError::Source(error) => error.code(),
                ActivityError::State(_) => "state_invalid",
                ActivityError::File(error) => error.code(),
                ActivityError::Rows(_) => "schema",
                ActivityError::Commit(error) => error.code(),
                ActivityError::Refused(DeriveRefusal::OtherOwner { .. }) => "foreign_owner",
                ActivityError::Refused(DeriveRefusal::Stale { .. }) => "source_behind",
                ActivityError::Refused(_) => "refused",
            },
            Self::Panic(_) => "panic",
        }
    }
}

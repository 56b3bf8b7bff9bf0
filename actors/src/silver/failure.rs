//! Why merging stopped for now, sorted by what helps.

use tapehouse_core::chunk::SourceBehind;
use tapehouse_core::merge::MergeRefusal;
use tapehouse_lake::silver::clean::CleanError;
use tapehouse_lake::silver::merge::MergeError;
use tapehouse_lake::silver::quarantine::{NotRecorded, QuarantineError};
use tapehouse_lake::silver::source::SourceError;
use tapehouse_lake::{LakeError, StateError, StorageFault};

use crate::failure::ErrorCode;
use crate::follow::PassFailure;
use crate::pool::JobPanicked;

/// End of one generation of a merge.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SilverFailure {
    /// Catalog or warehouse.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// What the bronze table records cannot be trusted.
    #[error(transparent)]
    Source(#[from] StateError),
    /// The bronze table was rolled back.
    #[error(transparent)]
    Behind(#[from] SourceBehind),
    /// Rows of bronze could not be read.
    #[error(transparent)]
    Read(#[from] SourceError),
    /// A bronze column has a type that the rules know nothing of.
    #[error(transparent)]
    Clean(#[from] CleanError),
    /// Plan, files or commit.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// Rows set aside could not be recorded, or decisions not be read.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// The table was rebuilt, or decisions were made, since it was looked at.
    #[error("the table was rebuilt or decided about meanwhile ({0:?}): it is opened again")]
    Decided(NotRecorded),
    /// Rows that are not what they were read as.
    #[error("rows of bronze: {0}")]
    Rows(#[from] arrow_schema::ArrowError),
    /// A panic, caught at the boundary of a job.
    #[error(transparent)]
    Panic(#[from] JobPanicked),
}

impl PassFailure for SilverFailure {
    fn needs_an_operator(&self) -> bool {
        match self {
            Self::Source(_) | Self::Clean(_) => true,
            Self::Lake(error) | Self::Merge(MergeError::Lake(error)) => !error.is_retryable(),
            Self::Merge(MergeError::State(_)) => true,
            Self::Merge(MergeError::Refused(refusal, _)) => !matches!(
                refusal,
                MergeRefusal::NotContiguous { .. } | MergeRefusal::OtherDecisions { .. }
            ),
            Self::Quarantine(error) => !error.is_retryable(),
            Self::Merge(MergeError::Commit(error)) => !error.is_retryable(),
            _ => false,
        }
    }

    fn may_repeat(&self) -> bool {
        match self {
            Self::Merge(MergeError::Commit(error)) => error.is_retryable(),
            Self::Quarantine(error) => error.is_retryable(),
            _ => false,
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Lake(error) | Self::Merge(MergeError::Lake(error)) => error.code(),
            Self::Source(_) | Self::Merge(MergeError::State(_)) => "state_invalid",
            Self::Behind(_) => "source_behind",
            Self::Read(error) => error.code(),
            Self::Clean(_) | Self::Merge(MergeError::Rows(_) | MergeError::Keys(_)) => "schema",
            Self::Merge(MergeError::File(error)) => error.code(),
            Self::Merge(MergeError::Commit(error)) => error.code(),
            Self::Merge(MergeError::Index(error)) => match StorageFault::behind(error) {
                Some(fault) => fault.code(),
                None => "key_index",
            },
            Self::Merge(MergeError::Refused(MergeRefusal::OtherOwner { .. }, _)) => "foreign_owner",
            Self::Merge(MergeError::Refused(..) | MergeError::OtherBase { .. } | MergeError::Moved(_)) => "refused",
            Self::Quarantine(error) => error.code(),
            Self::Decided(_) => "refused",
            Self::Rows(_) => "schema",
            Self::Panic(_) => "panic",
        }
    }
}

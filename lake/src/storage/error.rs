//! What can go wrong with a file of the warehouse, sorted by what helps.

/// A file could not be read, written, listed or deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action} {location}: {problem}")]
pub struct StorageError {
    /// What was being done.
    pub action: &'static str,
    /// Which file or folder.
    pub location: String,
    /// What went wrong.
    pub problem: StorageProblem,
}

/// What went wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageProblem {
    /// The location is none that can be used.
    #[error("this is no location that can be used: {0}")]
    NoLocation(&'static str),
    /// The file lies outside of the table's folder.
    #[error("the file lies outside of {0}, and only what lies below is read, written or deleted")]
    Outside(String),
    /// There is no such file.
    #[error("there is no such file")]
    NotFound,
    /// There is such a file already, and it holds something else. Names are unique: nobody else should have made it.
    #[error("there is such a file already, with another content")]
    AlreadyExists,
    /// The bucket does not exist.
    #[error("the bucket does not exist; create it, or mend warehouse.path")]
    NoSuchBucket,
    /// S3 does not know the key, the signature is wrong, or a policy denies the request.
    #[error("S3 denies access ({0}); check s3.access_key_id, s3.secret_access_key, s3.region and the bucket's policy")]
    Denied(String),
    /// This machine's clock and S3's differ too much for signatures to be accepted.
    #[error("S3 refuses the request's time; set this machine's clock ({0})")]
    ClockSkewed(String),
    /// S3 asks for fewer requests.
    #[error("S3 asks to slow down ({0})")]
    SlowDown(String),
    /// No connection, or no answer in time.
    #[error("S3 does not answer ({0}); check s3.endpoint, and that it runs")]
    Unreachable(String),
    /// Another failure of the server.
    #[error("S3 failed: {0}")]
    Server(String),
    /// Another refusal.
    #[error("S3 refused the request: {0}")]
    Rejected(String),
}

impl StorageError {
    pub(crate) fn new(action: &'static str, location: &str, problem: StorageProblem) -> Self {
        Self {
            action,
            location: location.to_owned(),
            problem,
        }
    }

    /// The error that this one was wrapped from, if it comes from the warehouse.
    pub(crate) fn in_source_of(error: &iceberg::Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }
}

impl StorageProblem {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoLocation(_) | Self::Outside(_) => "file_outside",
            Self::NotFound => "file_missing",
            Self::NoSuchBucket => "s3_no_bucket",
            Self::Denied(_) => "s3_denied",
            Self::ClockSkewed(_) => "s3_clock_skew",
            Self::SlowDown(_) => "s3_slow_down",
            Self::Unreachable(_) => "s3_unreachable",
            Self::AlreadyExists | Self::Server(_) | Self::Rejected(_) => "s3_failed",
        }
    }

    /// Whether the same call may succeed later by itself: servers come back, clocks are set, credentials are renewed, policies
    /// take effect. What a location says does not heal.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoLocation(_) | Self::Outside(_) | Self::NotFound | Self::AlreadyExists => false,
            Self::NoSuchBucket | Self::Denied(_) | Self::ClockSkewed(_) | Self::SlowDown(_) => true,
            Self::Unreachable(_) | Self::Server(_) | Self::Rejected(_) => true,
        }
    }
}

impl From<StorageError> for iceberg::Error {
    fn from(error: StorageError) -> Self {
        let kind = match error.problem.is_retryable() {
            true => iceberg::ErrorKind::Unexpected,
            false => iceberg::ErrorKind::DataInvalid,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}

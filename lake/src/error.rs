//! What can go wrong with the lake, kept apart by what the caller can do about it.

use std::path::PathBuf;

use crate::catalog::RestError;
use crate::fault::StorageFault;
use crate::name::TableName;
use crate::storage::StorageError;

/// An error of the catalog, the warehouse or a file in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LakeError {
    /// A location or catalog of a kind that this program does not speak.
    #[error("{what} `{value}` is not supported: {expected}")]
    Unsupported {
        /// Which setting.
        what: &'static str,
        /// Its value.
        value: String,
        /// What would be.
        expected: &'static str,
    },
    /// Something that must exist does not.
    #[error("{what} does not exist: {path}")]
    Missing {
        /// What kind of thing.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The table is not in the catalog.
    #[error("table {0} does not exist")]
    NoSuchTable(TableName),
    /// The table is in the catalog but cannot be used by this program.
    #[error("table {table} cannot be used: {reason}")]
    Unusable {
        /// The table.
        table: TableName,
        /// Why not.
        reason: String,
    },
    /// The catalog's database failed.
    #[error("catalog: {action}: {source}")]
    Catalog {
        /// What was being done.
        action: &'static str,
        /// The database's error.
        source: sqlx::Error,
    },
    /// The REST catalog failed.
    #[error("catalog: {action}: {source}")]
    Rest {
        /// What was being done.
        action: &'static str,
        /// What came back.
        source: Box<RestError>,
    },
    /// Metadata, a manifest or a data file could not be read, written or understood.
    #[error("{action}: {source}")]
    Iceberg {
        /// What was being done.
        action: String,
        /// Iceberg's error.
        source: Box<iceberg::Error>,
    },
    /// A file of the warehouse, in S3 or outside of where it must be.
    #[error("{context}: {source}")]
    Storage {
        /// What the file was needed for.
        context: String,
        /// What went wrong with it.
        source: Box<StorageError>,
    },
    /// A data file could not be read as Parquet.
    #[error("reading {path}: {source}")]
    Parquet {
        /// The file.
        path: String,
        /// Parquet's error.
        source: parquet::errors::ParquetError,
    },
    /// A file could not be read, written or made durable.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A task of the program itself ended without a result.
    #[error("{0} was cut short")]
    Interrupted(&'static str),
}

impl LakeError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchTable(_) => "no_such_table",
            Self::Storage { source, .. } => source.problem.code(),
            other => StorageFault::behind(other).map_or("lake", |fault| fault.code()),
        }
    }

    /// Whether the same call may succeed later without anybody changing anything: full disks get space, locks are released.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unsupported { .. } | Self::NoSuchTable(_) | Self::Unusable { .. } | Self::Parquet { .. } => false,
            Self::Storage { source, .. } => source.problem.is_retryable(),
            Self::Iceberg { source, .. } => source.kind() == iceberg::ErrorKind::Unexpected,
            Self::Rest { source, .. } => source.is_retryable(),
            Self::Missing { .. } | Self::Catalog { .. } | Self::Io { .. } | Self::Interrupted(_) => true,
        }
    }

    pub(crate) fn iceberg(action: impl Into<String>) -> impl FnOnce(iceberg::Error) -> Self {
        let action = action.into();
        move |source| match StorageError::in_source_of(&source) {
            Some(storage) => Self::Storage {
                context: action,
                source: Box::new(storage.clone()),
            },
            None => Self::Iceberg {
                action,
                source: Box::new(source),
            },
        }
    }

    pub(crate) fn catalog(action: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Catalog { action, source }
    }

    pub(crate) fn rest(action: &'static str) -> impl FnOnce(RestError) -> Self {
        move |source| Self::Rest {
            action,
            source: Box::new(source),
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

impl From<StorageError> for LakeError {
    fn from(source: StorageError) -> Self {
        Self::Storage {
            context: "warehouse".to_owned(),
            source: Box::new(source),
        }
    }
}

/// Why a commit did not happen, or may have happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Others committed first, again and again; nothing was changed.
    #[error("{table}: lost the race for the table {attempts} times in {elapsed_ms} ms")]
    Conflict {
        /// The table.
        table: TableName,
        /// Attempts made.
        attempts: u32,
        /// Time spent, in milliseconds.
        elapsed_ms: u64,
    },
    /// The catalog's answer was lost and could not be learnt in time. The commit may have happened: only a call with the
    /// same commit id tells.
    #[error("{table}: the outcome of the commit is unknown after {elapsed_ms} ms: {source}")]
    Unknown {
        /// The table.
        table: TableName,
        /// Time spent, in milliseconds.
        elapsed_ms: u64,
        /// The last error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The change does not fit the table as it is now.
    #[error("{table}: {reason}")]
    Validation {
        /// The table.
        table: TableName,
        /// What does not fit, and what to do about it.
        reason: String,
    },
    /// Everything else; nothing was committed.
    #[error("{table}: {source}")]
    Fatal {
        /// The table.
        table: TableName,
        /// The cause.
        source: LakeError,
    },
}

impl CommitError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match (StorageFault::behind(self), self) {
            (Some(fault), _) => fault.code(),
            (
                None,
                Self::Fatal {
                    source: source @ LakeError::Storage { .. },
                    ..
                },
            ) => source.code(),
            (None, _) => "commit",
        }
    }

    /// Whether the same call (same commit id) may succeed later by itself.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Conflict { .. } | Self::Unknown { .. } => true,
            Self::Validation { .. } => false,
            Self::Fatal { source, .. } => source.is_retryable(),
        }
    }

    pub(crate) fn fatal(table: &TableName) -> impl FnOnce(LakeError) -> Self + use<> {
        let table = table.clone();
        move |source| Self::Fatal { table, source }
    }

    pub(crate) fn validation(table: &TableName) -> impl Fn(String) -> Self + use<> {
        let table = table.clone();
        move |reason| Self::Validation {
            table: table.clone(),
            reason,
        }
    }
}

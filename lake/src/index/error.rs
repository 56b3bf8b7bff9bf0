//! Why an index cannot be used.

use std::path::{Path, PathBuf};

/// Why an index cannot be used. It is a copy of what the table says: where no retry helps, it is built anew.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file system: a full disk, no file descriptor left. The index is as right as before; the same can be tried again.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What came of it.
        source: std::io::Error,
    },
    /// A run is not what was written. Only building the index anew helps.
    #[error("{0} is damaged")]
    Damaged(PathBuf),
    /// More had to be recorded than fits in memory while nothing could be written, and was not: the index does not know all
    /// that the table holds. Only building it anew helps.
    #[error("the key index is behind its table: it could not be written for too long")]
    Behind,
}

impl IndexError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path: path.clone(),
            source,
        }
    }
}

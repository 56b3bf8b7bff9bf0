//! What can go wrong in the harness, sorted by what a test does about it.

use std::path::PathBuf;
use std::time::Duration;

/// A test that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something that the test needs is not on this machine: the test is skipped, unless it is required.
    #[error("needs {0}")]
    Needs(String),
    /// The operating system.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A program ended otherwise than it should have.
    #[error("{program} ended with {status}:\n{output}")]
    Program {
        /// Program and arguments.
        program: String,
        /// How it ended.
        status: String,
        /// The end of what it wrote.
        output: String,
    },
    /// Something did not happen in time.
    #[error("{what}: not within {after:?}")]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// A file or an answer is not what it should be.
    #[error("{0}")]
    Unexpected(String),
    /// An invariant does not hold: what the tests look for.
    #[error("{what}\n  {}\n  kept for inspection: {site}", violations.join("\n  "))]
    Violated {
        /// Which oracle says so.
        what: String,
        /// What it found.
        violations: Vec<String>,
        /// Folder with catalog, warehouse and logs.
        site: PathBuf,
    },
}

impl Error {
    /// For `map_err`: an error of the operating system.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }

    /// Something that is not what it should be.
    pub fn unexpected(what: impl Into<String>) -> Self {
        Self::Unexpected(what.into())
    }
}

//! How commits retry and what they retain.

use std::time::Duration;

use tapehouse_core::backoff::Backoff;

use super::Retention;

/// How commits retry and what they retain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitPolicy {
    /// Delays between attempts.
    pub backoff: Backoff,
    /// Attempts of one call at most.
    pub max_attempts: u32,
    /// No attempt begins later than this after the call.
    pub deadline: Duration,
    /// What is dropped by commits.
    pub retention: Retention,
}

impl Default for CommitPolicy {
    fn default() -> Self {
        Self {
            backoff: Backoff::COMMIT,
            max_attempts: 50,
            deadline: Duration::from_secs(60),
            retention: Retention::default(),
        }
    }
}

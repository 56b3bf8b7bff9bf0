//! What a REST catalog answers that is no success.

use std::error::Error as _;

/// Why a request did not succeed, kept apart by what it says about whether it was carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestError {
    /// The settings cannot be used.
    #[error("{0}")]
    Settings(String),
    /// No connection: the request was never sent.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// `host:port`.
        host: String,
        /// Why.
        reason: String,
    },
    /// The connection broke, or no answer came in time: the request may have been carried out.
    #[error("no answer of {host}: {reason}")]
    NoAnswer {
        /// `host:port`.
        host: String,
        /// Why.
        reason: String,
    },
    /// 401 or 419, with a fresh token too.
    #[error("the catalog does not let us in ({status}): {message}")]
    Unauthorized {
        /// HTTP status.
        status: u16,
        /// The catalog's words.
        message: String,
    },
    /// Another answer below 500: the catalog did not carry it out and never will.
    #[error("the catalog refuses ({status}): {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The catalog's words.
        message: String,
    },
    /// 429: later.
    #[error("the catalog is asked too often (429): {message}")]
    TooMany {
        /// The catalog's words.
        message: String,
    },
    /// 5xx: it may have been carried out.
    #[error("the catalog failed ({status}): {message}")]
    Server {
        /// HTTP status.
        status: u16,
        /// The catalog's words.
        message: String,
    },
    /// The answer is none of the REST catalog protocol, or larger than any answer should be.
    #[error("the answer of {what} cannot be used: {reason}")]
    Malformed {
        /// What was asked for.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl RestError {
    /// Whether the same request may succeed later by itself. A token that is refused may be exchanged while we wait.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Settings(_) | Self::Refused { .. } => false,
            Self::Unreachable { .. }
            | Self::NoAnswer { .. }
            | Self::Unauthorized { .. }
            | Self::TooMany { .. }
            | Self::Server { .. }
            | Self::Malformed { .. } => true,
        }
    }

    /// Whether the request may have been carried out in spite of the error.
    pub(super) fn may_have_happened(&self) -> bool {
        matches!(
            self,
            Self::NoAnswer { .. } | Self::Server { .. } | Self::Malformed { .. }
        )
    }

    /// Whether asking again at once is worth it, for requests that change nothing.
    pub(super) fn is_passing(&self) -> bool {
        self.may_have_happened() || matches!(self, Self::Unreachable { .. } | Self::TooMany { .. })
    }

    pub(super) fn is_status(&self, wanted: u16) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == wanted)
    }

    /// An error of the HTTP client. Its URL is left out: it may hold what is no one's business.
    pub(super) fn transport(host: &str, error: reqwest::Error) -> Self {
        let unsent = error.is_connect() || error.is_builder();
        let error = error.without_url();
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        let host = host.to_owned();
        match unsent {
            true => Self::Unreachable { host, reason },
            false => Self::NoAnswer { host, reason },
        }
    }
}

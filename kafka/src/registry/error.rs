//! What can go wrong between Tapehouse and the registry, by what must be done about it.

/// Failure of a registry call. The class is what ingest decides on: an unknown id becomes a `decode_error` after its
/// retries, whatever [`RegistryError::is_retryable`] says yes to makes the topic wait.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The registry answered, and has no such schema.
    #[error("schema id {id} is unknown to the registry")]
    Unknown {
        /// The id asked for.
        id: u32,
    },
    /// 401 or 403: credentials are missing, wrong or not sufficient.
    #[error("the registry refused the credentials (HTTP {status})")]
    Unauthorized {
        /// 401 or 403.
        status: u16,
    },
    /// No answer: name, connection, TLS or time-out; the text is the chain of causes, without the URL.
    #[error("the registry cannot be reached: {0}")]
    Unreachable(String),
    /// An answer that no client can help: 5xx, 429, or a 404 that does not come from a registry (wrong path).
    #[error("the registry answered with HTTP {status}")]
    Server {
        /// HTTP status.
        status: u16,
    },
    /// An answer that is not what the protocol promises (too long, no JSON, a proxy's page).
    #[error("the registry's answer cannot be understood: {0}")]
    Malformed(String),
    /// The schema exists and cannot be used here: another type than Avro, or references to other schemas.
    #[error("schema id {id} cannot be used: {reason}")]
    Unsupported {
        /// The id asked for.
        id: u32,
        /// What is not supported.
        reason: String,
    },
    /// The registry refused a schema that was to be registered (incompatible or invalid).
    #[error("the registry refused the schema (HTTP {status}): {message}")]
    Rejected {
        /// HTTP status, 409 or 422 as a rule.
        status: u16,
        /// The registry's words.
        message: String,
    },
    /// The client's own settings are wrong (URL, certificate file).
    #[error("registry settings: {0}")]
    Settings(String),
}

impl RegistryError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Settings(_) => "config",
            _ => "registry",
        }
    }

    /// True where the same call may succeed later without anybody changing the data: the caller waits and retries.
    /// An unknown id is not among them: it has its own, limited time
    /// ([`super::RegistryClient::schema_by_id_retrying`]).
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unauthorized { .. } | Self::Unreachable(_) | Self::Server { .. } | Self::Malformed(_) => true,
            Self::Unknown { .. } | Self::Unsupported { .. } | Self::Rejected { .. } | Self::Settings(_) => false,
        }
    }

    /// Takes over a transport failure, with all causes and without the URL, which may name hosts or tokens.
    pub(super) fn from_transport(error: reqwest::Error) -> Self {
        let is_decode = error.is_decode();
        let error = error.without_url();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        if is_decode {
            Self::Malformed(text)
        } else {
            Self::Unreachable(text)
        }
    }
}

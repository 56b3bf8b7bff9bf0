//! Why a request is refused: a gRPC status, and beside it a code that programs can read.

use tapehouse_core::codes;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::exit::{Exit, Failure};

/// Metadata key of the stable code, one of [`codes::CODES`].
pub const CODE_KEY: &str = "tapehouse-code";
/// Metadata key of what can be done about it; ASCII.
pub const HINT_KEY: &str = "tapehouse-hint";

/// Why a request is refused, where it is not a failure of something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No token, or one that nobody has.
    Unauthenticated,
    /// A token of a lower role.
    PermissionDenied,
    /// A topic that this node does not read.
    NoSuchTopic,
    /// A table that the catalog does not have.
    NoSuchTable,
    /// An argument that makes no sense.
    InvalidArgument,
    /// Bytes that are no request.
    MalformedRequest,
    /// A request that is too large.
    MessageTooLarge,
    /// A method that this version does not have.
    NoSuchMethod,
    /// Too much at once.
    Overloaded,
    /// No answer in time.
    DeadlineExceeded,
    /// The node stops.
    Draining,
    /// A bug.
    Internal,
}

impl Reason {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::NoSuchTopic => "no_such_topic",
            Self::NoSuchTable => "no_such_table",
            Self::InvalidArgument => "invalid_argument",
            Self::MalformedRequest => "malformed_request",
            Self::MessageTooLarge => "message_too_large",
            Self::NoSuchMethod => "no_such_method",
            Self::Overloaded => "overloaded",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Draining => "draining",
            Self::Internal => "internal",
        }
    }

    fn status(self) -> Code {
        match self {
            Self::Unauthenticated => Code::Unauthenticated,
            Self::PermissionDenied => Code::PermissionDenied,
            Self::NoSuchTopic | Self::NoSuchTable => Code::NotFound,
            Self::InvalidArgument => Code::InvalidArgument,
            Self::MalformedRequest | Self::Internal => Code::Internal,
            Self::MessageTooLarge => Code::OutOfRange,
            Self::NoSuchMethod => Code::Unimplemented,
            Self::Overloaded => Code::ResourceExhausted,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::Draining => Code::Unavailable,
        }
    }

    /// The reason of a status that was made by the transport, not by us.
    pub fn of_transport(status: Code) -> Self {
        match status {
            Code::OutOfRange => Self::MessageTooLarge,
            Code::Unimplemented => Self::NoSuchMethod,
            Code::DeadlineExceeded | Code::Cancelled => Self::DeadlineExceeded,
            _ => Self::MalformedRequest,
        }
    }
}

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    status: Code,
    code: &'static str,
    message: String,
    hint: Option<String>,
}

impl Refusal {
    /// A refusal; its hint is that of the code's page.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self::with(reason.status(), reason.code(), message.into())
    }

    fn with(status: Code, code: &'static str, message: String) -> Self {
        Self {
            status,
            code,
            message,
            hint: codes::find(code).map(codes::Code::way_out),
        }
    }

    /// An argument that makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Reason::InvalidArgument, message)
    }

    /// The node stops.
    pub fn draining() -> Self {
        Self::new(Reason::Draining, "the node stops")
    }

    /// A bug: what ran for the request has panicked.
    pub fn panicked(error: &tokio::task::JoinError) -> Self {
        Self::new(Reason::Internal, error.to_string())
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let status = match failure.exit {
            _ if ["no_such_run", "no_such_backfill", "no_such_schedule"].contains(&failure.code) => Code::NotFound,
            _ if failure.code == "invalid_argument" => Code::InvalidArgument,
            _ if failure.code == "run_state" => Code::FailedPrecondition,
            Exit::Unreachable => Code::Unavailable,
            Exit::Config => Code::FailedPrecondition,
            _ => Code::Internal,
        };
        let mut refusal = Self::with(status, failure.code, failure.message);
        refusal.hint = failure.hint.or(refusal.hint);
        refusal
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut metadata = MetadataMap::new();
        metadata.insert(CODE_KEY, MetadataValue::from_static(refusal.code));
        let hint = refusal.hint.as_deref().map(str::parse);
        if let Some(Ok(hint)) = hint {
            metadata.insert(HINT_KEY, hint);
        }
        Self::with_metadata(refusal.status, refusal.message, metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_hint_travel_beside_the_status() {
        let status = Status::from(Refusal::invalid("no"));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.metadata().get(CODE_KEY).unwrap(), "invalid_argument");
        assert!(!status.metadata().get(HINT_KEY).unwrap().is_empty());
    }

    #[test]
    fn the_codes_of_requests_have_hints_that_can_travel() {
        let of_requests = codes::CODES.iter().filter(|code| code.met == codes::Met::Request);
        for code in of_requests {
            assert!(code.way_out().is_ascii() && !code.way_out().is_empty(), "{}", code.name);
        }
    }

    #[test]
    fn a_failure_keeps_its_class() {
        let status = Status::from(Refusal::from(Failure::unreachable("away").code("lake").hint("look")));
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.metadata().get(CODE_KEY).unwrap(), "lake");
        assert_eq!(status.metadata().get(HINT_KEY).unwrap(), "look");
    }
}

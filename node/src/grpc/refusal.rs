//! Why a request is refused: a gRPC status, and beside it a code that programs can read.

use tapehouse_core::codes;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::exit::{Exit, Failure};

/// Metadata key of the stable code, one of [`codes::CODES`].
pub const CODE_KEY: &str = "tapehouse-code";
/// Metadata key of what can be done about it; ASCII.
pub const HINT_KEY: &str = "tapehouse-hint";

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
    pub fn new(status: Code, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            hint: codes::find(code).map(codes::Code::way_out),
        }
    }

    /// An argument that makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, "invalid_argument", message)
    }

    /// The node stops.
    pub fn draining() -> Self {
        Self::new(Code::Unavailable, "draining", "the node stops")
    }

    /// A bug: what ran for the request has panicked.
    pub fn panicked(error: &tokio::task::JoinError) -> Self {
        Self::new(Code::Internal, "internal", error.to_string())
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let status = match failure.exit {
            Exit::Unreachable => Code::Unavailable,
            Exit::Config => Code::FailedPrecondition,
            _ => Code::Internal,
        };
        let mut refusal = Self::new(status, failure.code, failure.message);
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

/// The code of a status that was made by the transport, not by us.
pub fn code_of_transport(status: Code) -> &'static str {
    match status {
        Code::OutOfRange => "message_too_large",
        Code::Unimplemented => "no_such_method",
        Code::DeadlineExceeded | Code::Cancelled => "deadline_exceeded",
        _ => "malformed_request",
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

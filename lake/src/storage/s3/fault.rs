//! From the client's errors to what helps.

use std::error::Error as StdError;

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};
use tapehouse_core::words::one_line;

use crate::storage::error::{StorageError, StorageProblem};

/// Longest text taken over from a server or client, in characters.
const MAX_TEXT: usize = 300;

/// Sorts a client's error. An answer's body is never shown whole: only the code and the message in it.
pub(super) fn classify(action: &'static str, location: &str, error: &Error) -> StorageError {
    StorageError::new(action, location, problem(error))
}

pub(super) fn problem(error: &Error) -> StorageProblem {
    let innermost = innermost(error).to_string();
    let code = element(&innermost, "Code");
    let said = || match (code, element(&innermost, "Message")) {
        (Some(code), Some(message)) => short(&format!("{code}: {message}")),
        (Some(code), None) => short(code),
        // Without a code the body is no S3 answer: a proxy's page, for instance.
        (None, _) => short(innermost.split('<').next().unwrap_or_default()),
    };
    match (error, code) {
        (_, Some("NoSuchBucket")) => StorageProblem::NoSuchBucket,
        (_, Some("RequestTimeTooSkewed")) => StorageProblem::ClockSkewed(said()),
        (_, Some("SlowDown" | "ServiceUnavailable" | "TooManyRequests" | "Throttling")) => {
            StorageProblem::SlowDown(said())
        }
        (Error::NotFound { .. }, _) => StorageProblem::NotFound,
        (Error::AlreadyExists { .. } | Error::Precondition { .. }, _) => StorageProblem::AlreadyExists,
        (Error::PermissionDenied { .. } | Error::Unauthenticated { .. }, _) => StorageProblem::Denied(said()),
        // Of some requests, listings for instance, the client tells the status in words only. Tokens that ran out are a 400.
        (
            _,
            Some("AccessDenied" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken"),
        ) => StorageProblem::Denied(said()),
        _ if ["401", "403"].iter().any(|status| has_status(&innermost, status)) => StorageProblem::Denied(said()),
        (Error::InvalidPath { .. }, _) => StorageProblem::NoLocation("a segment of it cannot be a part of a key"),
        _ => match http_error(error) {
            Some(http) if http.kind() == HttpErrorKind::Decode => StorageProblem::Server(short(&innermost)),
            Some(http) if http.kind() == HttpErrorKind::Timeout => StorageProblem::Unreachable("timed out".to_owned()),
            Some(_) => StorageProblem::Unreachable(short(&innermost)),
            None if has_status(&innermost, "5") => StorageProblem::Server(said()),
            None => StorageProblem::Rejected(said()),
        },
    }
}

fn has_status(text: &str, status: &str) -> bool {
    text.split_once("status code: ")
        .is_some_and(|(_, rest)| rest.starts_with(status))
}

/// The last error of the chain: that of the server's answer, or of the connection.
fn innermost(error: &Error) -> &(dyn StdError + 'static) {
    let mut last: &(dyn StdError + 'static) = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last
}

fn http_error(error: &Error) -> Option<&HttpError> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(http) = error.downcast_ref() {
            return Some(http);
        }
        next = error.source();
    }
    None
}

/// Text of the first element `name` of S3's XML.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once("</")?;
    Some(value.trim())
}

fn short(text: &str) -> String {
    one_line(text, MAX_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Box<dyn StdError + Send + Sync> {
        text.to_owned().into()
    }

    fn body(code: &str) -> String {
        format!(
            "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m\n</Message>\
             <StringToSign>secret</StringToSign></Error>"
        )
    }

    #[test]
    fn an_answer_is_sorted_by_its_code() {
        let denied = |code: &str| {
            problem(&Error::PermissionDenied {
                path: "p".to_owned(),
                source: answer(&body(code)),
            })
        };
        assert_eq!(
            denied("AccessDenied"),
            StorageProblem::Denied("AccessDenied: m".to_owned())
        );
        assert_eq!(
            denied("RequestTimeTooSkewed"),
            StorageProblem::ClockSkewed("RequestTimeTooSkewed: m".to_owned())
        );
        let generic = |text: &str| {
            problem(&Error::Generic {
                store: "S3",
                source: answer(text),
            })
        };
        let busy = generic("status code: 503 Service Unavailable: <Error><Code>SlowDown</Code></Error>");
        assert_eq!(busy, StorageProblem::SlowDown("SlowDown".to_owned()));
        let listing = generic(&body("InvalidAccessKeyId"));
        assert_eq!(listing, StorageProblem::Denied("InvalidAccessKeyId: m".to_owned()));
        let proxy = generic("Server returned non-2xx status code: 502 Bad Gateway: <html>long page</html>");
        let text = "Server returned non-2xx status code: 502 Bad Gateway:";
        assert_eq!(proxy, StorageProblem::Server(text.to_owned()));
    }
}

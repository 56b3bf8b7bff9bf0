//! Requests: path, token, time-out, limit of the answer's size, and what each status means.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ETAG, HeaderMap, IF_NONE_MATCH};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tapehouse_core::secret::Secret;
use tapehouse_core::words::one_line;

use super::auth::Authenticator;
use super::error::RestError;
use super::wire::ErrorAnswer;

/// Largest answer that shows a table, in bytes.
pub(super) const MAX_TABLE_ANSWER_BYTES: usize = 64 << 20;
/// Largest answer of another kind, in bytes.
pub(super) const MAX_SMALL_ANSWER_BYTES: usize = 4 << 20;
/// Of an error's answer, so much is read.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// Of its message, so much is shown.
pub(super) const MAX_MESSAGE_CHARS: usize = 500;
/// Attempts of a request that changes nothing, and the pause before the second, which doubles.
const MAX_ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A request.
pub(super) struct Request<'a> {
    pub what: &'static str,
    pub method: Method,
    /// Below the catalog's URL, one after the other; each is percent-encoded.
    pub path: Vec<&'a str>,
    pub query: Vec<(&'static str, String)>,
    pub body: Option<Vec<u8>>,
    pub known_etag: Option<String>,
    pub max_bytes: usize,
}

impl<'a> Request<'a> {
    pub(super) fn get(what: &'static str, path: Vec<&'a str>) -> Self {
        Self {
            what,
            method: Method::GET,
            path,
            query: Vec::new(),
            body: None,
            known_etag: None,
            max_bytes: MAX_SMALL_ANSWER_BYTES,
        }
    }

    pub(super) fn post(what: &'static str, path: Vec<&'a str>, body: &impl Serialize) -> Result<Self, RestError> {
        let body = serde_json::to_vec(body).map_err(|error| RestError::Malformed {
            what,
            reason: format!("the request cannot be written: {error}"),
        })?;
        Ok(Self {
            method: Method::POST,
            body: Some(body),
            ..Self::get(what, path)
        })
    }
}

/// A success.
pub(super) struct Answer {
    pub what: &'static str,
    /// 304: what was known still holds; the body is empty.
    pub unchanged: bool,
    pub etag: Option<String>,
    pub body: Bytes,
}

impl Answer {
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, RestError> {
        serde_json::from_slice(&self.body).map_err(|error| RestError::Malformed {
            what: self.what,
            reason: one_line(&error.to_string(), MAX_MESSAGE_CHARS),
        })
    }
}

/// The HTTP side of a catalog.
#[derive(Debug)]
pub(super) struct RestClient {
    http: Client,
    base: Url,
    authenticator: Authenticator,
}

impl RestClient {
    pub(super) fn new(http: Client, base: Url, authenticator: Authenticator) -> Self {
        Self {
            http,
            base,
            authenticator,
        }
    }

    pub(super) fn set_base(&mut self, base: Url) {
        self.base = base;
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// Sends a request that changes nothing; what may pass is tried again.
    pub(super) async fn ask(&self, request: &Request<'_>) -> Result<Answer, RestError> {
        let mut attempt = 1;
        loop {
            match self.send(request).await {
                Err(error) if error.is_passing() && attempt < MAX_ATTEMPTS => {
                    tracing::debug!(%error, attempt, what = request.what, "asking the catalog again");
                    tokio::time::sleep(FIRST_PAUSE * (1 << (attempt - 1))).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// Sends a request once; once more with another token where the first one is refused, which happens before anything else.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer, RestError> {
        let token = self.token(None).await?;
        match self.send_with(request, token.as_ref()).await {
            Err(RestError::Unauthorized { .. }) if self.authenticator.can_renew() => {
                let token = self.token(token.as_ref()).await?;
                self.send_with(request, token.as_ref()).await
            }
            result => result,
        }
    }

    /// A token that cannot be had is no lost answer: nothing was sent to the catalog.
    async fn token(&self, refused: Option<&Secret>) -> Result<Option<Secret>, RestError> {
        let token = self.authenticator.token(&self.http, refused).await;
        token.map_err(|error| match error {
            RestError::NoAnswer { host, reason } => RestError::Unreachable { host, reason },
            RestError::Server { status, message } => RestError::Unreachable {
                host: "the token endpoint".to_owned(),
                reason: format!("{status}: {message}"),
            },
            RestError::Malformed { what, reason } => RestError::Unreachable {
                host: what.to_owned(),
                reason,
            },
            other => other,
        })
    }

    async fn send_with(&self, request: &Request<'_>, token: Option<&Secret>) -> Result<Answer, RestError> {
        let host = self.base.authority();
        let mut builder = self.http.request(request.method.clone(), self.url(request));
        if let Some(token) = token {
            builder = builder.bearer_auth(token.reveal());
        }
        if let Some(body) = &request.body {
            builder = builder
                .header(reqwest::header::CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        if let Some(etag) = &request.known_etag {
            builder = builder.header(IF_NONE_MATCH, etag);
        }
        let response = builder
            .send()
            .await
            .map_err(|error| RestError::transport(host, error))?;
        let (status, etag) = (response.status(), etag(response.headers()));
        let unchanged = status == StatusCode::NOT_MODIFIED && request.known_etag.is_some();
        if status.is_success() || unchanged {
            let body = read_limited(response, host, request.what, request.max_bytes).await?;
            return Ok(Answer {
                what: request.what,
                unchanged,
                etag,
                body,
            });
        }
        // The status says it all; a message that cannot be read is none.
        let body = read_limited(response, host, request.what, MAX_ERROR_BYTES).await;
        Err(answer_of(status, &body.unwrap_or_default()))
    }

    fn url(&self, request: &Request<'_>) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&request.path);
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        url
    }
}

fn etag(headers: &HeaderMap) -> Option<String> {
    headers.get(ETAG)?.to_str().ok().map(str::to_owned)
}

/// The body, if it is no larger than `max_bytes`.
pub(super) async fn read_limited(
    mut response: Response,
    host: &str,
    what: &'static str,
    max_bytes: usize,
) -> Result<Bytes, RestError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| RestError::transport(host, error))?
    {
        if body.len() + chunk.len() > max_bytes {
            return Err(RestError::Malformed {
                what,
                reason: format!("it is larger than {max_bytes} bytes"),
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// What a status that is no success means.
pub(super) fn answer_of(status: StatusCode, body: &[u8]) -> RestError {
    let message = match serde_json::from_slice::<ErrorAnswer>(body) {
        Ok(ErrorAnswer { error }) => format!("{} {}", error.r#type, error.message).trim().to_owned(),
        Err(_) => status
            .canonical_reason()
            .unwrap_or("no answer of an Iceberg catalog")
            .to_owned(),
    };
    let message = one_line(&message, MAX_MESSAGE_CHARS);
    let status = status.as_u16();
    match status {
        401 | 419 => RestError::Unauthorized { status, message },
        429 => RestError::TooMany { message },
        500.. => RestError::Server { status, message },
        _ => RestError::Refused { status, message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, body: &str) -> RestError {
        answer_of(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn each_status_says_whether_it_may_have_happened() {
        for (status, may_have_happened, retryable) in [
            (400, false, false),
            (401, false, true),
            (403, false, false),
            (404, false, false),
            (409, false, false),
            (419, false, true),
            (429, false, true),
            (500, true, true),
            (502, true, true),
            (503, true, true),
            (504, true, true),
        ] {
            let error = error(status, "");
            assert_eq!(error.may_have_happened(), may_have_happened, "{status}");
            assert_eq!(error.is_retryable(), retryable, "{status}");
        }
    }

    #[test]
    fn the_catalogs_words_are_shown_up_to_a_limit() {
        let body = r#"{"error":{"message":"no such table","type":"NoSuchTableException","code":404}}"#;
        let said = error(404, body).to_string();
        assert!(said.contains("NoSuchTableException no such table"), "{said}");
        let forged = error(
            400,
            r#"{"error":{"message":"no\n2026-01-01 INFO all is well \u001b[31m","type":"x"}}"#,
        )
        .to_string();
        assert!(!forged.contains(char::is_control), "{forged}");
        let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "x".repeat(10_000));
        assert!(error(400, &long).to_string().len() < 600);
        assert!(error(502, "<html>").to_string().contains("Bad Gateway"));
    }
}

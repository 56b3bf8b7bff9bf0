//! The client: requests, their classification, and the patience for ids that are just being registered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, AGE, CACHE_CONTROL, CONTENT_TYPE, DATE};
use reqwest::{Certificate, Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use tapehouse_core::clock::{Sighting, http_date_ms, now_ms};
use tapehouse_core::words::one_line;
use url::{Host, Url};

use super::cache::{Caches, UNKNOWN_RECHECK};
use super::wire::{ErrorAnswer, MEDIA_TYPE, RegisterAnswer, RegisterBody, SchemaAnswer};
use super::{RegistryAuth, RegistryError, RegistrySettings};

/// Longest answer that is read. Schemas are a few KiB.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// Of a refusal's words, so many are shown.
const MAX_MESSAGE_CHARS: usize = 500;
/// Pauses between questions for an id that is unknown so far.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Client of one registry. Cloning is cheap; clones share the connection pool and the caches.
#[derive(Clone, Debug)]
pub struct RegistryClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    settings: RegistrySettings,
    caches: Mutex<Caches>,
}

impl RegistryClient {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// [`RegistryError::Settings`] if the URL cannot carry paths, holds credentials, or the certificate file cannot be
    /// used.
    pub fn new(settings: RegistrySettings) -> Result<Self, RegistryError> {
        let url = &settings.url;
        if url.cannot_be_a_base() || !matches!(url.scheme(), "http" | "https") {
            return Err(RegistryError::Settings(
                "the URL must be http:// or https://".to_owned(),
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RegistryError::Settings(
                "credentials belong in auth, not in the URL".to_owned(),
            ));
        }
        let mut builder = reqwest::Client::builder()
            .timeout(settings.timeout)
            .connect_timeout(settings.timeout);
        if is_loopback(url) {
            // A proxy set in the environment cannot reach this machine's own ports.
            builder = builder.no_proxy();
        }
        for certificate in certificates(&settings)? {
            builder = builder.add_root_certificate(certificate);
        }
        let http = builder
            .build()
            .map_err(|error| RegistryError::Settings(format!("the HTTP client cannot be made: {error}")))?;
        Ok(Self {
            inner: Arc::new(Inner {
                http,
                settings,
                caches: Mutex::new(Caches::new()),
            }),
        })
    }

    /// The settings in use.
    pub fn settings(&self) -> &RegistrySettings {
        &self.inner.settings
    }

    /// The Avro schema (JSON) of an id. Found ones are kept, since an id never changes its meaning.
    ///
    /// # Errors
    /// Every class of [`RegistryError`] but `Rejected` and `Settings`.
    pub async fn schema_by_id(&self, id: u32) -> Result<Arc<str>, RegistryError> {
        if let Some(schema) = self.caches().schema(id) {
            return Ok(schema);
        }
        let request = self.request(Method::GET, &["schemas", "ids", &id.to_string()]);
        let answer: SchemaAnswer = match self.call(request).await {
            Ok(Answer::Found(answer)) => answer,
            // Some registries refuse a number that cannot be an id (corrupt records hold any) instead of not finding it.
            Ok(Answer::Absent) | Err(RegistryError::Rejected { .. }) => return Err(RegistryError::Unknown { id }),
            Err(other) => return Err(other),
        };
        if let Some(reason) = answer.unsupported_reason() {
            return Err(RegistryError::Unsupported { id, reason });
        }
        let schema: Arc<str> = answer.schema.into();
        self.caches().put_schema(id, Arc::clone(&schema));
        Ok(schema)
    }

    /// Like [`Self::schema_by_id`], but an unknown id is asked for again for up to `unknown_for`, as its schema may be
    /// just being registered. An id that stayed unknown is then asked for at most once every 30 s, without the
    /// patience: a topic full of such records is not held up at each of them. Other errors return at once.
    ///
    /// # Errors
    /// As [`Self::schema_by_id`].
    pub async fn schema_by_id_retrying(&self, id: u32, unknown_for: Duration) -> Result<Arc<str>, RegistryError> {
        let started = Instant::now();
        let known_unknown = self.caches().unknown_for(id, started);
        if known_unknown.is_some_and(|age| age < UNKNOWN_RECHECK) {
            return Err(RegistryError::Unknown { id });
        }
        let patience = if known_unknown.is_some() {
            Duration::ZERO
        } else {
            unknown_for
        };
        let mut pause = FIRST_PAUSE;
        loop {
            match self.schema_by_id(id).await {
                Err(RegistryError::Unknown { .. }) => {}
                other => return other,
            }
            let left = patience.saturating_sub(started.elapsed());
            if left.is_zero() {
                self.caches().put_unknown(id, Instant::now());
                tracing::warn!(schema_id = id, "schema id stays unknown to the registry");
                return Err(RegistryError::Unknown { id });
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Registers an Avro schema under a subject and returns its id; the same schema again gives the same id.
    ///
    /// # Errors
    /// `Rejected` if the registry finds it invalid or incompatible; else as [`Self::schema_by_id`].
    pub async fn register(&self, subject: &str, schema_json: &str) -> Result<u32, RegistryError> {
        let request = self.request(Method::POST, &["subjects", subject, "versions"]);
        let body = serde_json::to_vec(&RegisterBody { schema: schema_json })
            .map_err(|error| RegistryError::Malformed(format!("the request cannot be written: {error}")))?;
        match self.call(request.header(CONTENT_TYPE, MEDIA_TYPE).body(body)).await? {
            Answer::Found(RegisterAnswer { id }) => {
                self.caches().put_schema(id, schema_json.into());
                Ok(id)
            }
            Answer::Absent => Err(RegistryError::Server {
                status: StatusCode::NOT_FOUND.as_u16(),
            }),
        }
    }

    /// Id and schema of a subject's latest version, or `None` if the subject does not exist.
    ///
    /// # Errors
    /// As [`Self::schema_by_id`].
    pub async fn latest(&self, subject: &str) -> Result<Option<(u32, Arc<str>)>, RegistryError> {
        let request = self.request(Method::GET, &["subjects", subject, "versions", "latest"]);
        let answer: SchemaAnswer = match self.call(request).await? {
            Answer::Found(answer) => answer,
            Answer::Absent => return Ok(None),
        };
        let id = answer
            .id
            .ok_or_else(|| RegistryError::Malformed("the answer has no id".to_owned()))?;
        if let Some(reason) = answer.unsupported_reason() {
            return Err(RegistryError::Unsupported { id, reason });
        }
        let schema: Arc<str> = answer.schema.into();
        self.caches().put_schema(id, Arc::clone(&schema));
        Ok(Some((id, schema)))
    }

    /// A look at the registry's clock, by the date of an answer; `None` where it tells none. The answer's status does not matter.
    ///
    /// # Errors
    /// [`RegistryError::Unreachable`].
    pub async fn clock(&self) -> Result<Option<Sighting>, RegistryError> {
        let asked_ms = now_ms();
        let request = self
            .request(Method::HEAD, &["subjects"])
            .header(CACHE_CONTROL, "no-cache");
        let response = request.send().await.map_err(RegistryError::from_transport)?;
        let answered_ms = now_ms();
        // An answer out of a cache is as old as it says.
        let date = response
            .headers()
            .get(DATE)
            .filter(|_| !response.headers().contains_key(AGE));
        let theirs_ms = date.and_then(|date| date.to_str().ok()).and_then(http_date_ms);
        Ok(theirs_ms.map(|theirs_ms| Sighting {
            theirs_ms,
            resolution_ms: 1000,
            asked_ms,
            answered_ms,
        }))
    }

    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let settings = &self.inner.settings;
        let mut url = settings.url.clone();
        // `new` refused URLs without paths, so that the segments exist. Each is escaped on its own: subjects may hold
        // slashes.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        let request = self
            .inner
            .http
            .request(method, url)
            .header(ACCEPT, format!("{MEDIA_TYPE}, application/json"));
        match &settings.auth {
            RegistryAuth::None => request,
            RegistryAuth::Basic { user, password } => request.basic_auth(user, Some(password.reveal())),
            RegistryAuth::Bearer(token) => request.bearer_auth(token.reveal()),
        }
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Answer<T>, RegistryError> {
        let response = request.send().await.map_err(RegistryError::from_transport)?;
        let status = response.status();
        let body = read_limited(response).await;
        if status.is_success() {
            return serde_json::from_slice(&body?)
                .map(Answer::Found)
                .map_err(|error| RegistryError::Malformed(one_line(&error.to_string(), MAX_MESSAGE_CHARS)));
        }
        // The status decides; a refusal's body only adds to it, so that failing to read it changes nothing.
        let refusal: Option<ErrorAnswer> = body.ok().and_then(|body| serde_json::from_slice(&body).ok());
        match (status, refusal) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Err(RegistryError::Unauthorized {
                status: status.as_u16(),
            }),
            // 40401 subject, 40402 version, 40403 schema. A 404 without such a code comes from something else that
            // answers at this address, and must not turn good records into undecodable ones.
            (StatusCode::NOT_FOUND, Some(refusal)) if matches!(refusal.error_code, 404 | 40401..=40403) => {
                Ok(Answer::Absent)
            }
            (StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST, refusal) => {
                let message = refusal.map(|refusal| refusal.message).unwrap_or_default();
                let message = one_line(&message, MAX_MESSAGE_CHARS);
                Err(RegistryError::Rejected {
                    status: status.as_u16(),
                    message,
                })
            }
            _ => Err(RegistryError::Server {
                status: status.as_u16(),
            }),
        }
    }

    fn caches(&self) -> MutexGuard<'_, Caches> {
        // Every change of the caches is complete in itself: a panic elsewhere leaves nothing half done.
        self.inner.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An understood answer.
enum Answer<T> {
    Found(T),
    /// The registry knows that what was asked for does not exist.
    Absent,
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

fn certificates(settings: &RegistrySettings) -> Result<Vec<Certificate>, RegistryError> {
    let Some(path) = &settings.ca_location else {
        return Ok(Vec::new());
    };
    let refuse = |why: String| RegistryError::Settings(format!("certificate file {}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| refuse(error.to_string()))?;
    if certificates.is_empty() {
        Err(refuse("it holds no PEM certificate".to_owned()))
    } else {
        Ok(certificates)
    }
}

async fn read_limited(mut response: Response) -> Result<Vec<u8>, RegistryError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(RegistryError::from_transport)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(RegistryError::Malformed(format!(
                "the answer is longer than {MAX_ANSWER_BYTES} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

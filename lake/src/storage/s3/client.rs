//! One client a bucket, kept as long as the lake: its connections are pooled.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use tokio::sync::OnceCell;

use super::clock;
use crate::storage::error::{StorageError, StorageProblem};
use crate::storage::settings::S3Settings;

/// Buckets with a client at most; above this the map starts afresh.
const MAX_BUCKETS: usize = 64;
/// Longest wait for a connection; never longer than a request may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Retries of one request. Whoever asked retries as well, for longer.
const MAX_RETRIES: usize = 3;
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// Where AWS's tools look for credentials that are not static, as environment variables. Only these are read, so that no
/// other variable changes which server is asked, or how.
const CREDENTIAL_VARIABLES: [(&str, AmazonS3ConfigKey); 6] = [
    ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    (
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    ),
    (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
    ),
    (
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
    ),
];

/// Clients by bucket. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::storage) struct S3Clients {
    settings: Arc<S3Settings>,
    buckets: Arc<Mutex<BTreeMap<String, Arc<Bucket>>>>,
    /// Asks the time; made at its first use.
    clock: Arc<OnceCell<reqwest::Client>>,
}

/// A bucket's client.
#[derive(Debug)]
pub(super) struct Bucket {
    pub client: AmazonS3,
    /// Whether the server is known not to know `If-None-Match`.
    unconditional: AtomicBool,
}

impl Bucket {
    pub(super) fn creates_conditionally(&self) -> bool {
        !self.unconditional.load(Ordering::Relaxed)
    }

    pub(super) fn knows_no_conditions(&self) {
        self.unconditional.store(true, Ordering::Relaxed);
    }
}

impl S3Clients {
    pub(in crate::storage) fn new(settings: S3Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            buckets: Arc::default(),
            clock: Arc::default(),
        }
    }

    pub(super) fn settings(&self) -> &S3Settings {
        &self.settings
    }

    pub(super) async fn clock_client(&self) -> Result<&reqwest::Client, reqwest::Error> {
        self.clock
            .get_or_try_init(|| async { clock::client(&self.settings) })
            .await
    }

    /// The client of `bucket`; made at its first use.
    pub(super) fn bucket(&self, bucket: &str) -> Result<Arc<Bucket>, StorageError> {
        // Nothing between lock and unlock leaves the map half changed.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = buckets.get(bucket) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(Bucket {
            client: connect(&self.settings, bucket)?,
            unconditional: AtomicBool::new(false),
        });
        if buckets.len() >= MAX_BUCKETS {
            buckets.clear();
        }
        buckets.insert(bucket.to_owned(), Arc::clone(&made));
        Ok(made)
    }
}

fn connect(settings: &S3Settings, bucket: &str) -> Result<AmazonS3, StorageError> {
    let failed = |reason: String| StorageError::new("connecting to", bucket, StorageProblem::Rejected(reason));
    let path_style = settings.path_style();
    let endpoint = settings.checked_endpoint().map_err(|error| failed(error.to_string()))?;
    let plain = endpoint.as_ref().is_some_and(|url| url.scheme() == "http");
    let client = ClientOptions::new()
        .with_allow_http(plain)
        .with_timeout(settings.timeout)
        .with_connect_timeout(CONNECT_TIMEOUT.min(settings.timeout));
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: INITIAL_BACKOFF,
            max_backoff: MAX_BACKOFF,
            ..BackoffConfig::default()
        },
        max_retries: MAX_RETRIES,
        retry_timeout: settings.timeout,
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(settings.region())
        .with_virtual_hosted_style_request(!path_style)
        .with_client_options(client)
        .with_retry(retry);
    if let Some(url) = endpoint {
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        // The client takes an endpoint as it is: with the bucket in the host's name it has to stand there already.
        let host = if path_style {
            authority.to_owned()
        } else {
            format!("{bucket}.{authority}")
        };
        builder = builder.with_endpoint(format!("{}://{host}", url.scheme()));
    }
    match &settings.credentials {
        Some(credentials) => {
            builder = builder
                .with_access_key_id(&credentials.access_key_id)
                .with_secret_access_key(credentials.secret_access_key.reveal());
            if let Some(token) = &credentials.session_token {
                builder = builder.with_token(token.reveal());
            }
        }
        None => {
            for (name, key) in CREDENTIAL_VARIABLES {
                if let Some(value) = std::env::var(name).ok().filter(|value| !value.is_empty()) {
                    builder = builder.with_config(key, value);
                }
            }
        }
    }
    builder.build().map_err(|error| failed(error.to_string()))
}

//! The first words with a REST catalog: who we are, and what it wants (`GET /v1/config`).

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use reqwest::{Certificate, Client, Url};
use tapehouse_core::secret::Secret;

use super::RestBackend;
use super::auth::{Authenticator, ClientCredentials, Login};
use super::client::{Request, RestClient};
use super::error::RestError;
use super::wire::ConfigAnswer;
use crate::catalog::{CatalogSettings, RestSettings};
use crate::error::LakeError;

/// Between the levels of a namespace, unless the catalog says otherwise.
const SEPARATOR: &str = "\u{1f}";
/// What is asked for where the configuration names no scope.
const DEFAULT_SCOPE: &str = "catalog";
/// Where tokens are fetched unless another place is named.
const TOKEN_PATH: [&str; 3] = ["v1", "oauth", "tokens"];

impl RestBackend {
    /// Connects to the catalog and asks for its configuration.
    pub(in crate::catalog) async fn connect(settings: &CatalogSettings) -> Result<Self, LakeError> {
        let failed = || LakeError::rest("connecting to the catalog");
        let base = url(&settings.uri).map_err(failed())?;
        let http = http_client(settings, &base).await.map_err(failed())?;
        let login = login(&settings.rest, &base).map_err(failed())?;
        let client = RestClient::new(http, base, Authenticator::new(login));
        let mut request = Request::get("the catalog's configuration", vec!["v1", "config"]);
        if let Some(warehouse) = &settings.rest.warehouse {
            request.query.push(("warehouse", warehouse.clone()));
        }
        let answer = client.ask(&request).await.map_err(failed())?;
        let config: ConfigAnswer = answer.parse().map_err(failed())?;
        Self::configured(client, &config).map_err(failed())
    }

    /// The backend as the catalog wants it to be.
    pub(super) fn configured(mut client: RestClient, config: &ConfigAnswer) -> Result<Self, RestError> {
        if let Some(uri) = config.overrides.get("uri").and_then(Option::as_deref) {
            let other = url(uri)?;
            // The token goes there: never over less than what we were told to use.
            if client.base().scheme() == "https" && other.scheme() != "https" {
                let reason = format!("the catalog sends us to {other}, which is not https");
                return Err(RestError::Settings(reason));
            }
            client.set_base(other);
        }
        let prefix = config.value("prefix").unwrap_or_default();
        let prefix = prefix.split('/').filter(|part| !part.is_empty()).map(str::to_owned);
        Ok(Self {
            client,
            prefix: prefix.collect(),
            separator: config
                .value("namespace-separator")
                .map_or_else(|| SEPARATOR.to_owned(), decoded),
            tags: Mutex::new(HashMap::new()),
        })
    }
}

/// A percent-encoded text.
fn decoded(text: &str) -> String {
    let pairs = format!("text={text}");
    let mut pairs = url::form_urlencoded::parse(pairs.as_bytes());
    pairs.next().map_or_else(String::new, |(_, text)| text.into_owned())
}

pub(super) fn url(text: &str) -> Result<Url, RestError> {
    let invalid = |reason: &str| RestError::Settings(format!("the catalog's URL {reason}"));
    let url = Url::parse(text).map_err(|error| invalid(&format!("is none: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(invalid("must begin with http:// or https:// and a host"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(invalid("must hold neither user nor parameters"));
    }
    Ok(url)
}

fn login(settings: &RestSettings, base: &Url) -> Result<Login, RestError> {
    let credential = match (&settings.token, &settings.credential) {
        (Some(token), _) => return Ok(Login::Token(token.clone())),
        (None, None) => return Ok(Login::None),
        (None, Some(credential)) => credential,
    };
    let endpoint = match &settings.oauth2_server_uri {
        Some(uri) => url(uri)?,
        None => {
            let mut endpoint = base.clone();
            if let Ok(mut segments) = endpoint.path_segments_mut() {
                segments.pop_if_empty().extend(TOKEN_PATH);
            }
            endpoint
        }
    };
    let (id, secret) = match credential.reveal().split_once(':') {
        Some((id, secret)) => (Some(id.to_owned()), Secret::new(secret)),
        None => (None, credential.clone()),
    };
    Ok(Login::Credentials(Box::new(ClientCredentials {
        endpoint,
        id,
        secret,
        scope: settings.scope.clone().unwrap_or_else(|| DEFAULT_SCOPE.to_owned()),
    })))
}

async fn http_client(settings: &CatalogSettings, base: &Url) -> Result<Client, RestError> {
    let mut builder = Client::builder()
        .timeout(settings.timeout)
        .connect_timeout(settings.timeout)
        .user_agent(concat!("tapehouse/", env!("CARGO_PKG_VERSION")))
        // A token never follows a redirect, and a commit is never sent twice by one.
        .redirect(reqwest::redirect::Policy::none());
    if is_loopback(base) {
        // A proxy set in the environment cannot reach this machine's own ports.
        builder = builder.no_proxy();
    }
    if let Some(path) = &settings.rest.ca {
        for certificate in certificates(path).await? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    let built = builder.build();
    built.map_err(|error| RestError::Settings(format!("the HTTP client cannot be made: {error}")))
}

async fn certificates(path: &Path) -> Result<Vec<Certificate>, RestError> {
    let unusable = |reason: String| RestError::Settings(format!("certificate authority {}: {reason}", path.display()));
    let file = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read(file)).await;
    let pem = read
        .map_err(|error| unusable(error.to_string()))?
        .map_err(|error| unusable(error.to_string()))?;
    Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

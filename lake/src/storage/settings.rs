//! How to reach S3.

use std::time::Duration;

use tapehouse_core::secret::Secret;
use url::{Host, Url};

use crate::error::LakeError;

/// Default limit of one request.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// AWS's region of old, which other servers take too.
const DEFAULT_REGION: &str = "us-east-1";

/// How to reach S3, for all locations that begin with `s3://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Settings {
    /// `http://host:port` or `https://host[:port]`; `None`: AWS.
    pub endpoint: Option<String>,
    /// Region that requests are signed for; `None`: `us-east-1`.
    pub region: Option<String>,
    /// Whether the bucket stands in the path, not in the host's name. `None`: it does with an endpoint, does not with AWS.
    pub path_style: Option<bool>,
    /// Static credentials. `None`: what AWS's environment offers (web identity, container, instance profile).
    pub credentials: Option<S3Credentials>,
    /// Permits plain HTTP to an endpoint that is not on this machine.
    pub allow_http: bool,
    /// Longest wait for one request, retries apart.
    pub timeout: Duration,
}

/// Static credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Credentials {
    /// Name of the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: Secret,
    /// Session token of temporary credentials.
    pub session_token: Option<Secret>,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            path_style: None,
            credentials: None,
            allow_http: false,
            timeout: DEFAULT_TIMEOUT,
        }
    }
}

impl S3Settings {
    /// The endpoint, checked.
    ///
    /// # Errors
    /// [`LakeError::Unsupported`] when it is no http(s) URL of a host, holds a user or a path, or is plain HTTP where that is
    /// not permitted.
    pub fn checked_endpoint(&self) -> Result<Option<Url>, LakeError> {
        let Some(text) = &self.endpoint else { return Ok(None) };
        // The text may hold a password: only a URL without one is repeated.
        let unsupported = |value: &str, expected| LakeError::Unsupported {
            what: "S3 endpoint",
            value: value.to_owned(),
            expected,
        };
        let url = Url::parse(text).map_err(|_| unsupported("(not shown)", "expected http[s]://host[:port]"))?;
        if !url.username().is_empty() || url.password().is_some() {
            let expected = "it holds a user; credentials stand in s3.access_key_id and s3.secret_access_key";
            return Err(unsupported("(not shown)", expected));
        }
        let host = url.host().filter(|_| matches!(url.scheme(), "http" | "https"));
        let Some(host) = host else {
            return Err(unsupported(text, "expected http[s]://host[:port]"));
        };
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(unsupported(text, "expected http[s]://host[:port] without a path"));
        }
        if url.scheme() == "http" && !self.allow_http && !is_loopback(&host) {
            let expected = "plain HTTP shows data to the network; use https://, or s3.allow_http = true";
            return Err(unsupported(text, expected));
        }
        Ok(Some(url))
    }

    /// Whether the endpoint is one of this machine.
    pub(super) fn is_on_this_machine(&self) -> bool {
        let endpoint = self.checked_endpoint().ok().flatten();
        endpoint.is_some_and(|url| url.host().is_some_and(|host| is_loopback(&host)))
    }

    pub(super) fn region(&self) -> &str {
        self.region.as_deref().unwrap_or(DEFAULT_REGION)
    }

    pub(super) fn path_style(&self) -> bool {
        self.path_style.unwrap_or(self.endpoint.is_some())
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(endpoint: &str, allow_http: bool) -> Result<Option<Url>, String> {
        let settings = S3Settings {
            endpoint: Some(endpoint.to_owned()),
            allow_http,
            ..S3Settings::default()
        };
        settings.checked_endpoint().map_err(|error| error.to_string())
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for good in [
            "http://localhost:9000",
            "http://127.0.0.1:9000/",
            "http://[::1]:9000",
            "https://s3.example.com",
        ] {
            assert!(check(good, false).is_ok(), "{good}");
        }
        let refused = check("http://minio:9000", false).unwrap_err();
        assert!(refused.contains("allow_http"), "{refused}");
        assert!(check("http://minio:9000", true).is_ok());
    }

    #[test]
    fn what_is_no_endpoint_is_refused_without_its_secrets() {
        for bad in [
            "minio:9000",
            "ftp://h",
            "https://h/bucket",
            "https://h?x=y",
            "",
            "https://u:hunter2@h",
        ] {
            let refused = check(bad, true).unwrap_err();
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }
}

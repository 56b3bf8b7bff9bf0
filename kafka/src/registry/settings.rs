//! Where the registry is and how to be let in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use tapehouse_core::secret::Secret;
use url::Url;

use super::RegistryError;

/// Default limit of one request, connecting included.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How a request identifies itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RegistryAuth {
    /// No credentials.
    #[default]
    None,
    /// HTTP basic authentication.
    Basic {
        /// User name.
        user: String,
        /// Password, redacted in `Debug`.
        password: Secret,
    },
    /// `Authorization: Bearer ...`.
    Bearer(Secret),
}

/// Settings of a [`super::RegistryClient`].
#[derive(Clone, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Base URL; a path prefix such as `/apis/ccompat/v7` is kept. Credentials in it are refused by the client unless
    /// they were moved to `auth`, as [`RegistrySettings::new`] does.
    pub url: Url,
    /// Credentials.
    pub auth: RegistryAuth,
    /// PEM file with further trusted certificate authorities; none: the system's only.
    pub ca_location: Option<PathBuf>,
    /// Limit of one request, connecting included.
    pub timeout: Duration,
}

impl RegistrySettings {
    /// Settings for a URL, without TLS specialities and with the default time-out of 10 s. A user and password inside
    /// the URL become basic authentication.
    ///
    /// # Errors
    /// [`RegistryError::Settings`] if the text is no `http` or `https` URL.
    pub fn new(url: &str) -> Result<Self, RegistryError> {
        // The text may hold a password, so that an error must not repeat it.
        let mut url = Url::parse(url).map_err(|error| RegistryError::Settings(format!("not a URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(RegistryError::Settings(
                "the URL must be http:// or https://".to_owned(),
            ));
        }
        let auth = match (url.username(), url.password()) {
            ("", None) => RegistryAuth::None,
            (user, password) => RegistryAuth::Basic {
                user: percent_decoded(user),
                password: Secret::new(percent_decoded(password.unwrap_or_default())),
            },
        };
        let cleared = url.set_username("").is_ok() && url.set_password(None).is_ok();
        debug_assert!(cleared, "an http URL with a host can hold credentials");
        Ok(Self {
            url,
            auth,
            ca_location: None,
            timeout: DEFAULT_TIMEOUT,
        })
    }
}

impl fmt::Debug for RegistrySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.url.clone();
        if url.password().is_some() {
            // Only a URL that cannot hold a password fails here, and that one has none.
            let _ = url.set_password(Some("***"));
        }
        f.debug_struct("RegistrySettings")
            .field("url", &url.as_str())
            .field("auth", &self.auth)
            .field("ca_location", &self.ca_location)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// Undoes `%41`-style escapes; what is no escape stays as it is.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let value = escape
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

//! Where the catalog is and how to be let in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tapehouse_core::secret::{Secret, mask_userinfo};

/// Default of [`CatalogSettings::timeout`].
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where the catalog is. `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct CatalogSettings {
    /// `sqlite:///absolute/path`, `postgresql://user:password@host:port/database?sslmode=...`, or `http(s)://...` of a REST catalog.
    pub uri: String,
    /// Name of the catalog within its database.
    pub name: String,
    /// Longest wait for one answer. SQLite has its own limits, which are shorter.
    pub timeout: Duration,
    /// What only a REST catalog needs.
    pub rest: RestSettings,
}

/// How to be let in to a REST catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestSettings {
    /// The catalog's own name of the warehouse.
    pub warehouse: Option<String>,
    /// A bearer token. It wins over `credential`.
    pub token: Option<Secret>,
    /// OAuth2 client credentials, `ID:SECRET` or the secret alone.
    pub credential: Option<Secret>,
    /// Where credentials become a token; without, the catalog's own `v1/oauth/tokens`.
    pub oauth2_server_uri: Option<String>,
    /// What the token is to be good for; without, `catalog`.
    pub scope: Option<String>,
    /// PEM file with further trusted certificate authorities.
    pub ca: Option<PathBuf>,
}

impl CatalogSettings {
    /// The catalog `default` at `uri`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            name: "default".to_owned(),
            timeout: TIMEOUT,
            rest: RestSettings::default(),
        }
    }
}

impl fmt::Debug for CatalogSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogSettings")
            .field("uri", &mask_userinfo(&self.uri))
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .field("rest", &self.rest)
            .finish()
    }
}

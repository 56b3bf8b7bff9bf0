//! Where the catalog is and how to be let in.

use std::fmt;
use std::time::Duration;

use tapehouse_core::secret::mask_userinfo;

/// Default of [`CatalogSettings::timeout`].
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where the catalog is. `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct CatalogSettings {
    /// `sqlite:///absolute/path` or `postgresql://user:password@host:port/database?sslmode=...`.
    pub uri: String,
    /// Name of the catalog within its database.
    pub name: String,
    /// Longest wait for one answer. SQLite has its own limits, which are shorter.
    pub timeout: Duration,
}

impl CatalogSettings {
    /// The catalog `default` at `uri`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            name: "default".to_owned(),
            timeout: TIMEOUT,
        }
    }
}

impl fmt::Debug for CatalogSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogSettings")
            .field("uri", &mask_userinfo(&self.uri))
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .finish()
    }
}

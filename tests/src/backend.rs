//! Which catalog the tables of the tests are in.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use crate::{Error, Service};

/// Names a backend; integration tests run on it.
pub(crate) const VARIABLE: &str = "TAPEHOUSE_TEST_BACKEND";

/// A kind of catalog, and where the tables' files are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// A SQLite file, local files.
    #[default]
    Sqlite,
    /// One PostgreSQL for all sites, local files.
    Postgres,
    /// An Iceberg REST catalog for each site, local files.
    Rest,
}

impl Backend {
    /// All names.
    pub const NAMES: [&str; 3] = ["sqlite", "postgres", "rest"];

    /// The one that the environment names.
    ///
    /// # Errors
    /// When it names none that there is.
    pub fn of_environment() -> Result<Self, Error> {
        std::env::var(VARIABLE).map_or(Ok(Self::default()), |name| name.parse())
    }

    /// What the sites on this backend share.
    pub(crate) fn start(self) -> Result<Option<Service>, Error> {
        match self {
            Self::Sqlite | Self::Rest => Ok(None),
            Self::Postgres => Service::start("postgres.sh", "POSTGRES_URI", &[]).map(Some),
        }
    }
}

impl FromStr for Backend {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "sqlite" => Ok(Self::Sqlite),
            "postgres" => Ok(Self::Postgres),
            "rest" => Ok(Self::Rest),
            _ => Err(Error::unexpected(format!(
                "backend {name}: expected one of {:?}",
                Self::NAMES
            ))),
        }
    }
}

/// The catalog of one site.
#[derive(Clone, Debug)]
pub(crate) struct SiteCatalog {
    pub uri: String,
    pub name: String,
    /// A server of the site's own, which runs as long as the site.
    pub server: Option<Arc<Service>>,
}

impl SiteCatalog {
    /// A catalog that nobody else uses, for the site in `folder`; `shared` is the backend's server.
    pub(crate) fn of(backend: Backend, shared: Option<&Service>, folder: &Path) -> Result<Self, Error> {
        let (uri, server) = match (backend, shared) {
            (Backend::Postgres, Some(shared)) => (shared.address().to_owned(), None),
            (Backend::Postgres, None) => return Err(Error::unexpected("PostgreSQL was not started")),
            (Backend::Sqlite, _) => (format!("sqlite://{}/catalog.db", folder.display()), None),
            (Backend::Rest, _) => {
                let server = Service::start("rest.sh", "REST_URI", &[])?;
                (server.address().to_owned(), Some(Arc::new(server)))
            }
        };
        Ok(Self {
            uri,
            name: match backend {
                Backend::Postgres => name_of(folder),
                Backend::Sqlite | Backend::Rest => "default".to_owned(),
            },
            server,
        })
    }

    /// For the oracles: the URI, and after `#` the name.
    pub(crate) fn for_oracles(&self) -> String {
        format!("{}#{}", self.uri, self.name)
    }
}

/// The folder as a name: unique, as folders are.
fn name_of(folder: &Path) -> String {
    let text = folder.to_string_lossy();
    let plain = text
        .trim_matches('/')
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let plain: Vec<char> = plain.collect();
    // A configuration's names have an end: the last part of a path is the one that differs.
    plain[plain.len().saturating_sub(100)..].iter().collect()
}

//! Which catalog the tables of the tests are in, and where their files are.

use std::fmt::{Display, Formatter};
use std::path::{Path, PathBuf};
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
    /// An Iceberg REST catalog for each site, the files in one S3 server for all sites.
    RestS3,
}

/// What a test stands on that not every backend has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Footing {
    /// The tables' files are on a disk that the test can fill, swap or make read-only.
    LocalFiles,
    /// The catalog is a file on such a disk.
    CatalogFile,
    /// The catalog is a server that can be killed.
    CatalogServer,
    /// The tables' files are in S3.
    S3,
    /// The catalog takes metadata of a time to come.
    TrustfulCatalog,
}

impl Backend {
    /// All names.
    pub const NAMES: [&str; 4] = ["sqlite", "postgres", "rest", "rest-s3"];

    /// The one that the environment names.
    ///
    /// # Errors
    /// When it names none that there is.
    pub fn of_environment() -> Result<Self, Error> {
        std::env::var(VARIABLE).map_or(Ok(Self::default()), |name| name.parse())
    }

    /// Why a test that stands on `footing` cannot be played here; `None` where it can.
    pub fn lacks(self, footing: Footing) -> Option<String> {
        let what = match footing {
            Footing::LocalFiles if self == Self::RestS3 => "tables on a local disk, and these are in S3",
            Footing::CatalogFile if self != Self::Sqlite => "a catalog that is a file, and this one is a server",
            Footing::CatalogServer if self == Self::Sqlite => "a catalog that is a server, and this one is a file",
            Footing::S3 if self != Self::RestS3 => "tables in S3, and these are local files",
            Footing::TrustfulCatalog if matches!(self, Self::Rest | Self::RestS3) => {
                "a catalog that takes snapshots of a time to come, and this one refuses what follows them"
            }
            _ => return None,
        };
        Some(format!("left out on {self}: needs {what}"))
    }

    /// What the sites on this backend share.
    pub(crate) fn start(self) -> Result<Option<Service>, Error> {
        match self {
            Self::Sqlite | Self::Rest => Ok(None),
            Self::Postgres => Service::start("postgres.sh", "POSTGRES_URI", &[]).map(Some),
            Self::RestS3 => Service::start("s3.sh", "S3_ENDPOINT", &[]).map(Some),
        }
    }

    /// What the oracles have to know of the `shared` server, as variables of their environment.
    pub(crate) fn for_oracles(self, shared: Option<&Service>) -> Result<Vec<(String, String)>, Error> {
        let Some(store) = shared.filter(|_| self == Self::RestS3) else {
            return Ok(Vec::new());
        };
        let names = ["S3_ENDPOINT", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"];
        let named = names.map(|name| store.value(name).map(|value| (name.to_owned(), value)));
        named.into_iter().collect()
    }
}

impl FromStr for Backend {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "sqlite" => Ok(Self::Sqlite),
            "postgres" => Ok(Self::Postgres),
            "rest" => Ok(Self::Rest),
            "rest-s3" => Ok(Self::RestS3),
            _ => Err(Error::unexpected(format!(
                "backend {name}: expected one of {:?}",
                Self::NAMES
            ))),
        }
    }
}

impl Display for Backend {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Rest => "rest",
            Self::RestS3 => "rest-s3",
        })
    }
}

/// The catalog of one site and the place of its tables' files.
#[derive(Clone, Debug)]
pub(crate) struct SiteLake {
    pub uri: String,
    pub name: String,
    /// Location of the warehouse.
    pub warehouse: String,
    /// Where its files are on disk: the S3 server of the tests keeps objects as files.
    pub files: PathBuf,
    /// What a node needs to reach them, as variables of its environment.
    pub environment: Vec<(&'static str, String)>,
    /// A server of the site's own, which runs as long as the site.
    pub server: Option<Arc<Service>>,
}

impl SiteLake {
    /// A lake that nobody else uses, for the site in `folder`; `shared` is the backend's server.
    pub(crate) fn of(backend: Backend, shared: Option<&Service>, folder: &Path) -> Result<Self, Error> {
        let shared = || shared.ok_or_else(|| Error::unexpected(format!("the server of {backend} was not started")));
        let files = folder.join("warehouse");
        let local = Self {
            uri: format!("sqlite://{}/catalog.db", folder.display()),
            name: "default".to_owned(),
            warehouse: format!("file://{}", files.display()),
            files,
            environment: Vec::new(),
            server: None,
        };
        match backend {
            Backend::Sqlite => Ok(local),
            Backend::Postgres => Ok(Self {
                uri: shared()?.address().to_owned(),
                name: name_of(folder),
                ..local
            }),
            Backend::Rest => local.with_rest(&[]),
            Backend::RestS3 => Self::in_s3(shared()?, folder, local),
        }
    }

    /// A REST catalog of its own.
    fn with_rest(self, options: &[&str]) -> Result<Self, Error> {
        let server = Service::start("rest.sh", "REST_URI", options)?;
        Ok(Self {
            uri: server.address().to_owned(),
            server: Some(Arc::new(server)),
            ..self
        })
    }

    fn in_s3(store: &Service, folder: &Path, local: Self) -> Result<Self, Error> {
        let (bucket, prefix) = (store.value("S3_BUCKET")?, name_of(folder));
        let lake = local.with_rest(&["--s3", &store.folder().to_string_lossy()])?;
        Ok(Self {
            warehouse: format!("s3://{bucket}/{prefix}"),
            files: store.folder().join("s3/data").join(bucket).join(prefix),
            environment: vec![
                ("MINIO_ENDPOINT", store.address().to_owned()),
                ("AWS_ACCESS_KEY_ID", store.value("S3_ACCESS_KEY_ID")?),
                ("AWS_SECRET_ACCESS_KEY", store.value("S3_SECRET_ACCESS_KEY")?),
            ],
            ..lake
        })
    }

    /// The catalog for the oracles: the URI, and after `#` the name.
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

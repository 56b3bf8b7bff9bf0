//! Where a test's lake is: a folder of its own, and a catalog of its own on each of the kinds that there are.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sqlx::{Connection as _, Executor as _, PgConnection};
use tapehouse_lake::storage::local_path;
use tapehouse_lake::{CatalogSettings, LakeSettings, S3Credentials, S3Settings, TableName};
use tapehouse_tests::{Error, Service, unless_missing};
use tempfile::TempDir;
use uuid::Uuid;

/// A kind of catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
    Rest,
    /// SQLite, with the tables in S3.
    S3,
}

/// Makes a test of each function, for each kind of catalog. Without the server that a kind needs, its tests are skipped.
macro_rules! on_each_catalog {
    ($($test:ident),+ $(,)?) => {
        crate::place::on_each_catalog!(@ sqlite, Sqlite, $($test),+);
        crate::place::on_each_catalog!(@ postgres, Postgres, $($test),+);
        crate::place::on_each_catalog!(@ rest, Rest, $($test),+);
        crate::place::on_each_catalog!(@ s3, S3, $($test),+);
    };
    (@ $module:ident, $kind:ident, $($test:ident),+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(crate::place::Kind::$kind).await;
                }
            )+
        }
    };
}
pub(crate) use on_each_catalog;

/// A folder, and what a lake in it needs to be opened.
pub struct Place {
    pub dir: TempDir,
    pub settings: LakeSettings,
    /// The table that tests use.
    pub ident: TableName,
}

impl Place {
    /// A new place; `None` where the kind's server cannot run.
    pub async fn new(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Sqlite => {
                let dir = tempfile::tempdir().unwrap();
                Self::at(sqlite_in(dir.path()), dir)
            }
            Kind::Postgres => Self::on(kind, postgres()?).await,
            Kind::Rest => Self::on(kind, rest()?).await,
            Kind::S3 => Self::on(kind, s3()?).await,
        })
    }

    /// A new place whose catalog is on `server`.
    pub async fn on(kind: Kind, server: &Service) -> Self {
        let dir = tempfile::tempdir().unwrap();
        match kind {
            Kind::Postgres => Self::at(schema_on(server).await, dir),
            Kind::Rest => {
                // One catalog for all: a namespace of its own, of two levels.
                let namespace = format!("bronze.lake_{}", Uuid::new_v4().simple());
                Self {
                    ident: format!("{namespace}.raw_trades").parse().unwrap(),
                    ..Self::at(server.address().to_owned(), dir)
                }
            }
            Kind::S3 => {
                let mut place = Self::at(sqlite_in(dir.path()), dir);
                place.settings.warehouse = format!("s3://lake/{}", Uuid::new_v4().simple());
                place.settings.s3 = s3_settings(server.address());
                place
            }
            Kind::Sqlite => panic!("SQLite has no server"),
        }
    }

    /// A name beside the table that tests use.
    pub fn beside(&self, name: &str) -> TableName {
        TableName::new(self.ident.namespace(), name).unwrap()
    }

    fn at(uri: String, dir: TempDir) -> Self {
        Self {
            settings: settings(uri, dir.path()),
            dir,
            ident: "bronze.raw_trades".parse().unwrap(),
        }
    }
}

pub fn settings(uri: String, dir: &Path) -> LakeSettings {
    LakeSettings {
        catalog: CatalogSettings::new(uri),
        warehouse: format!("file://{}/warehouse", dir.display()),
        s3: S3Settings::default(),
    }
}

/// The server that the tests of this process share.
pub fn postgres() -> Option<&'static Service> {
    static SERVER: OnceLock<Result<Service, Error>> = OnceLock::new();
    unless_missing(SERVER.get_or_init(start_postgres).as_ref())
}

/// As [`postgres`].
pub fn rest() -> Option<&'static Service> {
    static SERVER: OnceLock<Result<Service, Error>> = OnceLock::new();
    unless_missing(SERVER.get_or_init(start_rest).as_ref())
}

fn start_rest() -> Result<Service, Error> {
    Service::start("rest.sh", "REST_URI", &[])
}

/// The S3 server that the tests of this process share.
pub fn s3() -> Option<&'static Service> {
    static SERVER: OnceLock<Result<Service, Error>> = OnceLock::new();
    unless_missing(SERVER.get_or_init(start_s3).as_ref())
}

fn start_s3() -> Result<Service, Error> {
    Service::start("s3.sh", "S3_ENDPOINT", &[])
}

/// The address and keys that `s3.sh` gives its server.
pub fn s3_settings(endpoint: &str) -> S3Settings {
    S3Settings {
        endpoint: Some(endpoint.to_owned()),
        credentials: Some(S3Credentials {
            access_key_id: "tapehouse-test".to_owned(),
            secret_access_key: "tapehouse-test-secret".into(),
            session_token: None,
        }),
        ..S3Settings::default()
    }
}

/// Where the file of a location is on disk: the shared S3 server keeps objects as files.
pub fn path_of(location: &str) -> PathBuf {
    match location.strip_prefix("s3://") {
        Some(object) => s3().unwrap().folder().join("s3/data").join(object),
        None => local_path(location),
    }
}

fn sqlite_in(dir: &Path) -> String {
    format!("sqlite://{}/catalog/lake.db", dir.display())
}

/// A server of the test's own, which it may stop.
pub fn start(kind: Kind) -> Option<Service> {
    let started = match kind {
        Kind::Sqlite => return None,
        Kind::Postgres => start_postgres(),
        Kind::Rest => start_rest(),
        Kind::S3 => start_s3(),
    };
    match started {
        Ok(server) => Some(server),
        Err(error) => unless_missing(Err(&error)),
    }
}

fn start_postgres() -> Result<Service, Error> {
    Service::start("postgres.sh", "POSTGRES_URI", &[])
}

/// A new schema on the server, and the URI that finds its tables before any others.
async fn schema_on(server: &Service) -> String {
    let schema = format!("lake_{}", Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(server.address()).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
    connection.execute(create).await.unwrap();
    connection.close().await.unwrap();
    format!("{}?options=-csearch_path%3D{schema}", server.address())
}

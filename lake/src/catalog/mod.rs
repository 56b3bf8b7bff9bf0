//! Catalogs: the one place where a table's current metadata is named, and swapped atomically.

mod postgres;
mod postgres_uri;
mod rest;
mod settings;
mod sql;
mod sqlite;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use iceberg::spec::TableMetadata;
use iceberg::{TableRequirement, TableUpdate};
use tapehouse_core::clock::Sighting;
use tapehouse_core::secret::mask_userinfo;

use crate::error::LakeError;
use crate::name::TableName;
use crate::table::ParsedMetadata;
pub use rest::{RestAnswers, RestError};
pub use settings::{CatalogSettings, RestSettings};

/// What a catalog knows of a table.
#[derive(Clone, Debug)]
pub struct Pointer {
    /// Location of the current metadata file.
    pub metadata_location: String,
    /// What the file holds, where the catalog's answer says it.
    pub metadata: Option<Box<ParsedMetadata>>,
}

/// A table to be created.
#[derive(Debug)]
pub struct Creation<'a> {
    /// The table.
    pub table: &'a TableName,
    /// Its first metadata. A catalog that writes it itself may choose location and field ids anew.
    pub metadata: &'a TableMetadata,
    /// Where that is, written and durable; `None` where the catalog writes it itself.
    pub metadata_location: Option<&'a str>,
}

/// A change of a table's pointer from one metadata to the next.
#[derive(Debug)]
pub struct Swap<'a> {
    /// The table.
    pub table: &'a TableName,
    /// Location of the metadata that the change was made from. If it is no longer current, the swap is a conflict.
    pub base_location: &'a str,
    /// Location of the new metadata, already written and durable; `None` where the catalog writes it itself.
    pub new_location: Option<&'a str>,
    /// The new metadata.
    pub metadata: &'a TableMetadata,
    /// The same change as a list of updates, for catalogs that apply them themselves.
    pub updates: &'a [TableUpdate],
    /// What must hold, for catalogs that check it themselves. Where the catalog compares `base_location`, that says more.
    pub requirements: &'a [TableRequirement],
}

/// Why a swap did not happen, or may have happened.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// The base is no longer current, or the catalog was busy: nothing was changed.
    #[error("the table's metadata changed meanwhile, or the catalog was busy")]
    Conflict,
    /// The catalog's answer was lost: the swap may have happened.
    #[error("the catalog's answer was lost: {0}")]
    Unknown(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The catalog refused or failed; nothing was changed.
    #[error(transparent)]
    Failed(LakeError),
}

/// A catalog as the commit layer needs it.
#[async_trait]
pub trait CommitBackend: Debug + Send + Sync {
    /// Whether the catalog writes metadata files and deletes superseded ones; else its committers do.
    fn writes_metadata(&self) -> bool {
        false
    }

    /// The table's pointer; `None` when the catalog does not hold the table.
    async fn load(&self, table: &TableName) -> Result<Option<Pointer>, LakeError>;

    /// Registers a new table (and its namespace). `None` when a table of that name exists already; it is left alone.
    async fn create(&self, creation: &Creation<'_>) -> Result<Option<Pointer>, LakeError>;

    /// Replaces the table's metadata if that still is what the change was made from: by `base_location`, or by the requirements.
    async fn swap(&self, swap: &Swap<'_>) -> Result<Pointer, SwapError>;

    /// All tables, sorted by name.
    async fn list(&self) -> Result<Vec<TableName>, LakeError>;

    /// A look at the catalog's clock; `None` where it has none of its own.
    async fn clock(&self) -> Result<Option<Sighting>, LakeError> {
        Ok(None)
    }
}

/// Opens the catalog. With `create`, what belongs to it is created where it is missing: the file and tables of a SQLite
/// database, the tables in a PostgreSQL database; without, nothing is. A REST catalog is only connected to.
///
/// # Errors
/// [`LakeError::Unsupported`] for another kind of URI, [`LakeError::Missing`] when a file must exist and does not,
/// [`LakeError::Catalog`] and [`LakeError::Rest`] when the catalog cannot be used.
pub async fn open(settings: &CatalogSettings, create: bool) -> Result<Arc<dyn CommitBackend>, LakeError> {
    let uri = settings.uri.as_str();
    let path = uri.strip_prefix("sqlite://").and_then(sqlite::database_path);
    match (uri.split_once("://"), path) {
        (_, Some(path)) => {
            let database = sqlite::Sqlite::open(&path, create).await?;
            Ok(Arc::new(sql::SqlBackend::on(database, &settings.name).await?))
        }
        (Some((scheme, _)), None) if postgres_uri::is_scheme(scheme) => {
            let database = postgres::Postgres::open(uri, settings.timeout, create).await?;
            Ok(Arc::new(sql::SqlBackend::on(database, &settings.name).await?))
        }
        (Some(("http" | "https", _)), None) => Ok(Arc::new(rest::RestBackend::connect(settings).await?)),
        _ => Err(LakeError::Unsupported {
            what: "catalog",
            value: mask_userinfo(uri),
            expected: "expected sqlite:///absolute/path/catalog.db, postgresql://user:password@host:port/database or http(s)://host:port/path of a REST catalog",
        }),
    }
}

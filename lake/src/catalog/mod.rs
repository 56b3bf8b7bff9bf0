//! Catalogs: the one place where a table's current metadata is named, and swapped atomically.

mod postgres;
mod postgres_uri;
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
pub use settings::CatalogSettings;

/// What a catalog knows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Location of the current metadata file.
    pub metadata_location: String,
}

/// A change of a table's pointer from one metadata to the next.
#[derive(Debug)]
pub struct Swap<'a> {
    /// The table.
    pub table: &'a TableName,
    /// Location of the metadata that the change was made from. If it is no longer current, the swap is a conflict.
    pub base_location: &'a str,
    /// Location of the new metadata; already written and durable.
    pub new_location: &'a str,
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
    /// The table's pointer; `None` when the catalog does not hold the table.
    async fn load(&self, table: &TableName) -> Result<Option<Pointer>, LakeError>;

    /// Registers a new table (and its namespace). `false` when a table of that name exists already; it is left alone.
    async fn create(&self, table: &TableName, metadata_location: &str) -> Result<bool, LakeError>;

    /// Replaces the table's pointer if it still is `swap.base_location`.
    async fn swap(&self, swap: &Swap<'_>) -> Result<Pointer, SwapError>;

    /// All tables, sorted by name.
    async fn list(&self) -> Result<Vec<TableName>, LakeError>;

    /// A look at the catalog's clock; `None` where it has none of its own.
    async fn clock(&self) -> Result<Option<Sighting>, LakeError> {
        Ok(None)
    }
}

/// Opens the catalog. With `create`, what belongs to it is created where it is missing: the file and tables of a SQLite
/// database, the tables in a PostgreSQL database; without, nothing is.
///
/// # Errors
/// [`LakeError::Unsupported`] for another kind of URI, [`LakeError::Missing`] when a file must exist and does not,
/// [`LakeError::Catalog`] when the catalog cannot be used.
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
        _ => Err(LakeError::Unsupported {
            what: "catalog",
            value: mask_userinfo(uri),
            expected: "expected sqlite:///absolute/path/catalog.db or postgresql://user:password@host:port/database",
        }),
    }
}

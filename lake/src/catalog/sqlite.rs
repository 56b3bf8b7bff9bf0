//! The SQL catalog on SQLite.
//!
//! WAL and `synchronous=FULL`: a COMMIT that was answered survives a power cut. `BEGIN IMMEDIATE` takes the write lock
//! first, so a busy database shows before anything was done, and never in the middle.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};

use super::sqlite_schema::{self, Layout};
use super::{CommitBackend, Pointer, Swap, SwapError};
use crate::error::LakeError;
use crate::name::TableName;
use crate::storage::durable;

/// How long SQLite itself waits for another process's write lock before it answers "busy".
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_CONNECTIONS: u32 = 4;
/// How long a call waits for one of them.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

const LOAD: &str = "SELECT metadata_location FROM iceberg_tables
    WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";
const LOAD_WITHOUT_TYPE: &str = "SELECT metadata_location FROM iceberg_tables
    WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?";
const LIST: &str = "SELECT table_namespace, table_name FROM iceberg_tables
    WHERE catalog_name = ? AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL) ORDER BY 1, 2";
const LIST_WITHOUT_TYPE: &str =
    "SELECT table_namespace, table_name FROM iceberg_tables WHERE catalog_name = ? ORDER BY 1, 2";
const INSERT: &str = "INSERT INTO iceberg_tables
    (catalog_name, table_namespace, table_name, metadata_location, previous_metadata_location, iceberg_type)
    VALUES (?, ?, ?, ?, NULL, 'TABLE') ON CONFLICT DO NOTHING";
const INSERT_WITHOUT_TYPE: &str = "INSERT INTO iceberg_tables
    (catalog_name, table_namespace, table_name, metadata_location, previous_metadata_location)
    VALUES (?, ?, ?, ?, NULL) ON CONFLICT DO NOTHING";
// PyIceberg holds a namespace to exist when it has a property or a table; this is the property that it sets itself.
const INSERT_NAMESPACE: &str = "INSERT INTO iceberg_namespace_properties
    (catalog_name, namespace, property_key, property_value) VALUES (?, ?, 'exists', 'true') ON CONFLICT DO NOTHING";
const SWAP: &str = "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ?
    WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?";

/// A catalog in a SQLite database, shared with other engines and other processes of this program.
#[derive(Clone, Debug)]
pub struct SqliteBackend {
    pool: SqlitePool,
    catalog: String,
    layout: Layout,
}

impl SqliteBackend {
    /// Opens the catalog named `catalog` in the database at `uri` (`sqlite:///absolute/path`). With `create`, the database,
    /// its folder and its tables are created where they are missing; without, nothing is.
    ///
    /// # Errors
    /// [`LakeError::Unsupported`] for another kind of URI, [`LakeError::Missing`] when the database must exist and does not,
    /// [`LakeError::Catalog`] when it cannot be used.
    pub async fn open(uri: &str, catalog: &str, create: bool) -> Result<Self, LakeError> {
        let path = database_path(uri)?;
        let mut options = SqliteConnectOptions::new()
            .filename(&path)
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(SqliteSynchronous::Full)
            .create_if_missing(create);
        if create {
            create_parent(&path).await?;
            options = options.journal_mode(SqliteJournalMode::Wal);
        } else if !path.is_file() {
            return Err(LakeError::Missing {
                what: "catalog database",
                path,
            });
        }
        let pool = SqlitePoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await
            .map_err(LakeError::catalog("opening the catalog"))?;
        if create {
            sqlite_schema::create_missing(&pool).await?;
        }
        let layout = sqlite_schema::layout(&pool).await?;
        Ok(Self {
            pool,
            catalog: catalog.to_owned(),
            layout,
        })
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }

    /// The layout; looked up again while there is none, for a reader may be older than the catalog.
    async fn layout(&self) -> Result<Layout, LakeError> {
        match self.layout {
            Layout::Absent => sqlite_schema::layout(&self.pool).await,
            known => Ok(known),
        }
    }
}

#[async_trait]
impl CommitBackend for SqliteBackend {
    async fn load(&self, table: &TableName) -> Result<Option<Pointer>, LakeError> {
        let statement = match self.layout().await? {
            Layout::Absent => return Ok(None),
            Layout::WithType => LOAD,
            Layout::WithoutType => LOAD_WITHOUT_TYPE,
        };
        let row: Option<(Option<String>,)> = sqlx::query_as(statement)
            .bind(&self.catalog)
            .bind(table.namespace())
            .bind(table.name())
            .fetch_optional(&self.pool)
            .await
            .map_err(LakeError::catalog("loading a table"))?;
        match row {
            None => Ok(None),
            Some((Some(metadata_location),)) => Ok(Some(Pointer { metadata_location })),
            Some((None,)) => Err(LakeError::Unusable {
                table: table.clone(),
                reason: "the catalog's row has no metadata location".to_owned(),
            }),
        }
    }

    async fn create(&self, table: &TableName, metadata_location: &str) -> Result<bool, LakeError> {
        let failed = "creating a table";
        let mut transaction = self.begin().await.map_err(LakeError::catalog(failed))?;
        sqlx::query(INSERT_NAMESPACE)
            .bind(&self.catalog)
            .bind(table.namespace())
            .execute(&mut *transaction)
            .await
            .map_err(LakeError::catalog(failed))?;
        let statement = match self.layout {
            Layout::WithoutType => INSERT_WITHOUT_TYPE,
            Layout::WithType | Layout::Absent => INSERT,
        };
        let inserted = sqlx::query(statement)
            .bind(&self.catalog)
            .bind(table.namespace())
            .bind(table.name())
            .bind(metadata_location)
            .execute(&mut *transaction)
            .await
            .map_err(LakeError::catalog(failed))?;
        transaction.commit().await.map_err(LakeError::catalog(failed))?;
        Ok(inserted.rows_affected() == 1)
    }

    async fn swap(&self, swap: &Swap<'_>) -> Result<Pointer, SwapError> {
        let mut transaction = self.begin().await.map_err(classify)?;
        let updated = sqlx::query(SWAP)
            .bind(swap.new_location)
            .bind(swap.base_location)
            .bind(&self.catalog)
            .bind(swap.table.namespace())
            .bind(swap.table.name())
            .bind(swap.base_location)
            .execute(&mut *transaction)
            .await
            .map_err(classify)?;
        if updated.rows_affected() != 1 {
            return Err(SwapError::Conflict);
        }
        // Only from here on can the change have happened without an answer.
        transaction
            .commit()
            .await
            .map_err(|error| SwapError::Unknown(Box::new(error)))?;
        Ok(Pointer {
            metadata_location: swap.new_location.to_owned(),
        })
    }

    async fn list(&self) -> Result<Vec<TableName>, LakeError> {
        let statement = match self.layout().await? {
            Layout::Absent => return Ok(Vec::new()),
            Layout::WithType => LIST,
            Layout::WithoutType => LIST_WITHOUT_TYPE,
        };
        let rows: Vec<(String, String)> = sqlx::query_as(statement)
            .bind(&self.catalog)
            .fetch_all(&self.pool)
            .await
            .map_err(LakeError::catalog("listing the tables"))?;
        // A foreign table whose name this program could not write is none of its tables.
        Ok(rows
            .iter()
            .filter_map(|(namespace, name)| TableName::new(namespace, name).ok())
            .collect())
    }
}

/// A swap that failed before its COMMIT: a busy database is a lost race, all else a failure. Nothing was changed.
fn classify(error: sqlx::Error) -> SwapError {
    let busy = match &error {
        sqlx::Error::PoolTimedOut => true,
        // Primary result codes 5 (SQLITE_BUSY) and 6 (SQLITE_LOCKED); the extended ones hold them in their low byte.
        sqlx::Error::Database(database) => database
            .code()
            .and_then(|code| code.parse::<i32>().ok())
            .is_some_and(|code| matches!(code & 0xff, 5 | 6)),
        _ => false,
    };
    if busy {
        SwapError::Conflict
    } else {
        SwapError::Failed(LakeError::Catalog {
            action: "swapping a table's metadata",
            source: error,
        })
    }
}

fn database_path(uri: &str) -> Result<PathBuf, LakeError> {
    let path = uri.strip_prefix("sqlite://").map(|rest| {
        let rest = rest.split_once('?').map_or(rest, |(path, _)| path);
        // SQLAlchemy writes an absolute path with four slashes, sqlx with three.
        format!("/{}", rest.trim_start_matches('/'))
    });
    match path {
        Some(path) if uri.starts_with("sqlite:///") && path != "/" => Ok(PathBuf::from(path)),
        _ => Err(LakeError::Unsupported {
            what: "catalog",
            value: redacted(uri),
            expected: "expected sqlite:///absolute/path/catalog.db",
        }),
    }
}

/// The URI without what may be a password.
fn redacted(uri: &str) -> String {
    match (uri.find("://"), uri.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => format!("{}***{}", &uri[..scheme + 3], &uri[at..]),
        _ => uri.to_owned(),
    }
}

async fn create_parent(path: &Path) -> Result<(), LakeError> {
    let Some(parent) = path.parent().map(Path::to_owned) else {
        return Ok(());
    };
    tokio::task::spawn_blocking(move || durable::create_folder(&parent))
        .await
        .map_err(|_| LakeError::Interrupted("creating the catalog's folder"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        for uri in ["sqlite:///a/b.db", "sqlite:////a/b.db", "sqlite:///a/b.db?mode=rwc"] {
            assert_eq!(database_path(uri).unwrap(), Path::new("/a/b.db"), "{uri}");
        }
        for uri in [
            "postgresql://u:p@h/db",
            "http://h:1/",
            "sqlite://b.db",
            "sqlite:///",
            "/a/b.db",
        ] {
            assert!(database_path(uri).is_err(), "{uri}");
        }
        let error = database_path("postgresql://user:secret@host/db")
            .unwrap_err()
            .to_string();
        assert!(!error.contains("secret") && error.contains("@host/db"), "{error}");
    }
}

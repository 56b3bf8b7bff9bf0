//! The SQL catalog, in the layout that PyIceberg, Java and iceberg-rust share, on whatever database.

use std::fmt::Debug;

use async_trait::async_trait;
use tapehouse_core::clock::{Sighting, now_ms};

use super::{CommitBackend, Creation, Pointer, Swap, SwapError};
use crate::error::LakeError;
use crate::name::TableName;

// Both SQLite and PostgreSQL know numbered parameters.
const LOAD: &str = "SELECT metadata_location FROM iceberg_tables
    WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";
const LOAD_WITHOUT_TYPE: &str = "SELECT metadata_location FROM iceberg_tables
    WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3";
const LIST: &str = "SELECT table_namespace, table_name FROM iceberg_tables
    WHERE catalog_name = $1 AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL) ORDER BY 1, 2";
const LIST_WITHOUT_TYPE: &str =
    "SELECT table_namespace, table_name FROM iceberg_tables WHERE catalog_name = $1 ORDER BY 1, 2";
const INSERT: &str = "INSERT INTO iceberg_tables
    (catalog_name, table_namespace, table_name, metadata_location, previous_metadata_location, iceberg_type)
    VALUES ($1, $2, $3, $4, NULL, 'TABLE') ON CONFLICT DO NOTHING";
const INSERT_WITHOUT_TYPE: &str = "INSERT INTO iceberg_tables
    (catalog_name, table_namespace, table_name, metadata_location, previous_metadata_location)
    VALUES ($1, $2, $3, $4, NULL) ON CONFLICT DO NOTHING";
// PyIceberg holds a namespace to exist when it has a property or a table; this is the property that it sets itself.
const INSERT_NAMESPACE: &str = "INSERT INTO iceberg_namespace_properties
    (catalog_name, namespace, property_key, property_value) VALUES ($1, $2, 'exists', 'true') ON CONFLICT DO NOTHING";
const SWAP: &str = "UPDATE iceberg_tables SET metadata_location = $1, previous_metadata_location = $2
    WHERE catalog_name = $3 AND table_namespace = $4 AND table_name = $5 AND metadata_location = $2";

const CREATE_TABLES: &str = "CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL,
    table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000),
    previous_metadata_location VARCHAR(1000),
    iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name))";
const CREATE_NAMESPACES: &str = "CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL,
    namespace VARCHAR(255) NOT NULL,
    property_key VARCHAR(255) NOT NULL,
    property_value VARCHAR(1000) NOT NULL,
    PRIMARY KEY (catalog_name, namespace, property_key))";
/// What an empty catalog consists of. An existing `iceberg_tables` is never altered: others may be using it as it is.
pub(super) const LAYOUT: [&str; 2] = [CREATE_TABLES, CREATE_NAMESPACES];

/// A statement and its parameters.
pub(super) type Statement<'a> = (&'static str, Vec<&'a str>);

/// Rows of text.
pub(super) type Rows = Vec<Vec<Option<String>>>;

/// Why statements of one transaction were not committed, or may have been.
#[derive(Debug)]
pub(super) enum TransactionError {
    /// Others were faster, or hold a lock: nothing was changed.
    Conflict(sqlx::Error),
    /// It failed before its COMMIT was sent: nothing was changed.
    Failed(sqlx::Error),
    /// The COMMIT was sent and not answered: it may have happened.
    Unknown(sqlx::Error),
}

/// A database as the SQL catalog needs it.
#[async_trait]
pub(super) trait SqlDatabase: Debug + Send + Sync + 'static {
    /// The rows that `statement` finds; every column is text.
    async fn rows(&self, statement: Statement<'_>) -> Result<Rows, sqlx::Error>;

    /// Runs `statements` in one transaction. It is committed, and `true`, only if the last one changed exactly one row; else
    /// nothing is changed.
    async fn transact(&self, statements: &[Statement<'_>]) -> Result<bool, TransactionError>;

    /// A query of the database's clock, in milliseconds since 1970-01-01 UTC as text; `None` where its clock is this process's.
    fn clock_query(&self) -> Option<&'static str> {
        None
    }

    /// Names of the columns of `iceberg_tables`; none where there is no such table.
    async fn columns(&self) -> Result<Vec<String>, sqlx::Error>;
}

/// What a database's `iceberg_tables` looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// With the column `iceberg_type`: it tells tables from views.
    WithType,
    /// As PyIceberg up to 0.11 makes it: all are tables.
    WithoutType,
    /// No such table: an empty catalog.
    Absent,
}

/// A catalog in a SQL database, shared with other engines and other processes of this program.
#[derive(Debug)]
pub(super) struct SqlBackend<D> {
    database: D,
    catalog: String,
    layout: Layout,
}

impl<D: SqlDatabase> SqlBackend<D> {
    /// The catalog named `catalog` in `database`.
    pub(super) async fn on(database: D, catalog: &str) -> Result<Self, LakeError> {
        let layout = layout(&database).await?;
        Ok(Self {
            database,
            catalog: catalog.to_owned(),
            layout,
        })
    }

    /// The layout; looked up again while there is none, for a reader may be older than the catalog.
    async fn layout(&self) -> Result<Layout, LakeError> {
        match self.layout {
            Layout::Absent => layout(&self.database).await,
            known => Ok(known),
        }
    }
}

fn pointer(metadata_location: String) -> Pointer {
    Pointer {
        metadata_location,
        metadata: None,
    }
}

/// Where the committer wrote the metadata; this catalog does not write any.
fn written<'a>(table: &TableName, location: Option<&'a str>) -> Result<&'a str, LakeError> {
    location.ok_or_else(|| LakeError::Unusable {
        table: table.clone(),
        reason: "its new metadata was not written".to_owned(),
    })
}

async fn layout(database: &impl SqlDatabase) -> Result<Layout, LakeError> {
    let columns = database.columns().await;
    let columns = columns.map_err(LakeError::catalog("reading the catalog's layout"))?;
    Ok(match columns.iter().any(|name| name == "iceberg_type") {
        true => Layout::WithType,
        false if columns.is_empty() => Layout::Absent,
        false => Layout::WithoutType,
    })
}

#[async_trait]
impl<D: SqlDatabase> CommitBackend for SqlBackend<D> {
    async fn load(&self, table: &TableName) -> Result<Option<Pointer>, LakeError> {
        let statement = match self.layout().await? {
            Layout::Absent => return Ok(None),
            Layout::WithType => LOAD,
            Layout::WithoutType => LOAD_WITHOUT_TYPE,
        };
        let parameters = vec![self.catalog.as_str(), table.namespace(), table.name()];
        let rows = self.database.rows((statement, parameters)).await;
        let row = rows.map_err(LakeError::catalog("loading a table"))?.pop();
        match row.map(|mut row| row.pop().flatten()) {
            None => Ok(None),
            Some(Some(metadata_location)) => Ok(Some(pointer(metadata_location))),
            Some(None) => Err(LakeError::Unusable {
                table: table.clone(),
                reason: "the catalog's row has no metadata location".to_owned(),
            }),
        }
    }

    async fn create(&self, creation: &Creation<'_>) -> Result<Option<Pointer>, LakeError> {
        let (table, metadata_location) = (creation.table, written(creation.table, creation.metadata_location)?);
        let insert = match self.layout().await? {
            Layout::WithoutType => INSERT_WITHOUT_TYPE,
            Layout::WithType | Layout::Absent => INSERT,
        };
        let (namespace, name) = (table.namespace(), table.name());
        let statements = [
            (INSERT_NAMESPACE, vec![self.catalog.as_str(), namespace]),
            (insert, vec![&self.catalog, namespace, name, metadata_location]),
        ];
        let created = self.database.transact(&statements).await;
        let created = created.map_err(|error| match error {
            // Whether it happened shows at the next look: a table of this location is the one that was meant.
            TransactionError::Conflict(error) | TransactionError::Failed(error) | TransactionError::Unknown(error) => {
                LakeError::catalog("creating a table")(error)
            }
        })?;
        Ok(created.then(|| pointer(metadata_location.to_owned())))
    }

    async fn swap(&self, swap: &Swap<'_>) -> Result<Pointer, SwapError> {
        let table = swap.table;
        let new_location = written(table, swap.new_location).map_err(SwapError::Failed)?;
        let parameters = vec![
            new_location,
            swap.base_location,
            &self.catalog,
            table.namespace(),
            table.name(),
        ];
        match self.database.transact(&[(SWAP, parameters)]).await {
            Ok(true) => Ok(pointer(new_location.to_owned())),
            Ok(false) => Err(SwapError::Conflict),
            Err(TransactionError::Conflict(error)) => {
                tracing::debug!(%table, %error, "the catalog's database was busy");
                Err(SwapError::Conflict)
            }
            Err(TransactionError::Failed(error)) => Err(SwapError::Failed(LakeError::catalog(
                "swapping a table's metadata",
            )(error))),
            Err(TransactionError::Unknown(error)) => Err(SwapError::Unknown(Box::new(error))),
        }
    }

    async fn is_laid_out(&self) -> Result<bool, LakeError> {
        Ok(self.layout().await? != Layout::Absent)
    }

    async fn clock(&self) -> Result<Option<Sighting>, LakeError> {
        let Some(query) = self.database.clock_query() else {
            return Ok(None);
        };
        let asked_ms = now_ms();
        let rows = self.database.rows((query, Vec::new())).await;
        let rows = rows.map_err(LakeError::catalog("asking for the time"))?;
        let answered_ms = now_ms();
        let told = rows.into_iter().flatten().flatten().next();
        Ok(told.and_then(|text| text.parse().ok()).map(|theirs_ms| Sighting {
            theirs_ms,
            resolution_ms: 1,
            asked_ms,
            answered_ms,
        }))
    }

    async fn list(&self) -> Result<Vec<TableName>, LakeError> {
        let statement = match self.layout().await? {
            Layout::Absent => return Ok(Vec::new()),
            Layout::WithType => LIST,
            Layout::WithoutType => LIST_WITHOUT_TYPE,
        };
        let rows = self.database.rows((statement, vec![self.catalog.as_str()])).await;
        let rows = rows.map_err(LakeError::catalog("listing the tables"))?;
        // A foreign table whose name this program could not write is none of its tables.
        Ok(rows
            .iter()
            .filter_map(|row| match row.as_slice() {
                [Some(namespace), Some(name)] => TableName::new(namespace, name).ok(),
                _ => None,
            })
            .collect())
    }
}

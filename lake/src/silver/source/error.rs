//! Why bronze rows cannot be read.

use crate::bronze::SchemaProblem;
use crate::error::LakeError;
use crate::name::TableName;
use crate::table::StateError;

/// Why bronze rows cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Catalog, warehouse or a file in it. A file that is gone was compacted away after the table was loaded: load it again.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The bronze table's recorded offsets cannot be believed.
    #[error(transparent)]
    State(#[from] StateError),
    /// A property of the bronze table cannot be read.
    #[error("table {table}: the property {property} cannot be read: {source}")]
    Property {
        /// The table.
        table: TableName,
        /// The property.
        property: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The table's schema has no Arrow form.
    #[error("table {table}: {source}")]
    Schema {
        /// The table.
        table: TableName,
        /// Why not.
        source: SchemaProblem,
    },
    /// Another engine deleted rows in a way that is not read.
    #[error(
        "table {table}: rows that are wanted may be deleted by {kind} {path}, which is not read; compact the table with the engine \
         that wrote it, so that no such file is left"
    )]
    Deletes {
        /// The table.
        table: TableName,
        /// What kind of file it is.
        kind: &'static str,
        /// The file.
        path: String,
    },
    /// A data file has a column in a type that cannot become the table's.
    #[error("data file {path}: column {column} is {found}, which does not become the table's type")]
    Column {
        /// The file.
        path: String,
        /// The column.
        column: String,
        /// Its Arrow type in the file.
        found: String,
    },
}

impl SourceError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Lake(error) => error.code(),
            Self::State(_) | Self::Property { .. } => "state_invalid",
            Self::Schema { .. } | Self::Deletes { .. } | Self::Column { .. } => "lake",
        }
    }

    /// Whether the same call, on the table loaded again, may succeed without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Lake(error) if error.is_retryable())
    }
}

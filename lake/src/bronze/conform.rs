//! Decoded records in the shape of their table.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{DataType, Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use iceberg::arrow::arrow_schema_to_schema_auto_assign_ids;
use iceberg::spec::SchemaRef;

use super::metadata::{METADATA_COLUMNS, MetadataArrays, PARTITION_COLUMN};
use super::shape::shape;
use super::{SchemaProblem, source_fields};
use crate::commit::{Mismatch, WantedColumn, must_change};
use crate::files::FileLayout;

/// A table of more fields, nested ones included, takes no further columns: its metadata is written at each commit.
const MAX_FIELDS: usize = 10_000;

/// A source schema that the table cannot take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The field's type is neither the column's nor can one be widened to the other.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// The table has grown too wide.
    #[error("the table would have more than {MAX_FIELDS} fields")]
    TooWide,
    /// A column is not what was agreed on beforehand.
    #[error("column `{column}` cannot be made from {found}")]
    Column {
        /// The column.
        column: String,
        /// Arrow type of the values.
        found: String,
    },
    /// The field cannot be a column at all.
    #[error(transparent)]
    Problem(#[from] SchemaProblem),
}

/// How rows of one bronze table are laid out: its committed schema, as Iceberg and as Arrow with field ids.
#[derive(Clone, Debug)]
pub struct BronzeLayout {
    file: FileLayout,
}

impl BronzeLayout {
    /// The layout for a committed table schema.
    ///
    /// # Errors
    /// When the schema has no Arrow form.
    pub fn new(schema: SchemaRef) -> Result<Self, SchemaProblem> {
        let file = FileLayout::new(schema, PARTITION_COLUMN);
        let file = file.map_err(|error| SchemaProblem::Rejected(error.to_string()))?;
        Ok(Self { file })
    }

    /// The layout of the table's files.
    pub fn file(&self) -> &FileLayout {
        &self.file
    }

    /// The table's schema.
    pub fn schema(&self) -> &SchemaRef {
        self.file.schema()
    }

    /// The Arrow schema of the rows, with Iceberg field ids.
    pub fn arrow(&self) -> &ArrowSchemaRef {
        self.file.arrow()
    }

    /// Columns that the table lacks for `source`, or whose types are too narrow: to be changed before its rows can be written
    /// whole.
    ///
    /// # Errors
    /// [`Conflict`] where `source` can never fit.
    pub fn changes(&self, source: &ArrowSchema) -> Result<Vec<WantedColumn>, Conflict> {
        let wanted = arrow_schema_to_schema_auto_assign_ids(&ArrowSchema::new(source_fields(source)?))
            .map_err(|error| SchemaProblem::Rejected(error.to_string()))?;
        let mut changes = Vec::new();
        for field in wanted.as_struct().fields() {
            let column = WantedColumn {
                name: field.name.clone(),
                field_type: field.field_type.as_ref().clone(),
                doc: field.doc.clone(),
            };
            if must_change(self.schema(), &column)? {
                changes.push(column);
            }
        }
        let fields = self.schema().field_id_to_fields().len() + wanted.field_id_to_fields().len();
        match !changes.is_empty() && fields > MAX_FIELDS {
            true => Err(Conflict::TooWide),
            false => Ok(changes),
        }
    }

    /// Bytes that a row takes in memory before it has any value.
    pub fn empty_row_bytes(&self) -> u64 {
        self.arrow()
            .fields()
            .iter()
            .map(|field| empty_bytes(field.data_type()))
            .sum()
    }

    /// Rows in the table's layout: `source` fields by name (missing ones null; `None`: all null), and the metadata columns.
    ///
    /// # Errors
    /// [`Conflict`] where a field does not fit; [`Self::changes`] says so beforehand.
    pub fn rows(&self, source: Option<&RecordBatch>, metadata: &MetadataArrays) -> Result<RecordBatch, Conflict> {
        let length = metadata.0[0].len();
        let columns: Result<Vec<ArrayRef>, Conflict> = self
            .arrow()
            .fields()
            .iter()
            .map(|column| {
                let name = column.name();
                let metadata_at = METADATA_COLUMNS.iter().position(|(known, _)| known == name);
                let found = match metadata_at {
                    Some(position) => Some(&metadata.0[position]),
                    None => source.and_then(|source| source.column_by_name(name)),
                };
                found.map_or_else(
                    || Ok(new_null_array(column.data_type(), length)),
                    |array| {
                        shape(array, column.data_type()).ok_or_else(|| Conflict::Column {
                            column: name.clone(),
                            found: array.data_type().to_string(),
                        })
                    },
                )
            })
            .collect();
        RecordBatch::try_new(Arc::clone(self.arrow()), columns?)
            .map_err(|error| SchemaProblem::Rejected(error.to_string()).into())
    }
}

fn empty_bytes(of: &DataType) -> u64 {
    match of {
        DataType::Struct(fields) => fields.iter().map(|field| empty_bytes(field.data_type())).sum(),
        DataType::FixedSizeBinary(bytes) => u64::try_from(*bytes).unwrap_or(0),
        _ => 16,
    }
}

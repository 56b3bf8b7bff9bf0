//! Decoded records in the shape of their table.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, FieldRef, Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use iceberg::arrow::{arrow_schema_to_schema_auto_assign_ids, schema_to_arrow_schema};
use iceberg::spec::{NestedFieldRef, SchemaRef};

use super::metadata::{METADATA_COLUMNS, MetadataArrays};
use super::{SchemaProblem, source_fields, types};

/// A source schema that the table cannot take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The field's type is neither the column's nor can it be widened to it.
    #[error("field `{field}` is {found}, the table's column is {expected}")]
    Type {
        /// Field name.
        field: String,
        /// Type in the record.
        found: String,
        /// Type of the table's column.
        expected: String,
    },
    /// The field cannot be a column at all.
    #[error(transparent)]
    Problem(#[from] SchemaProblem),
}

/// How rows of one bronze table are laid out: its committed schema, as Iceberg and as Arrow with field ids.
#[derive(Clone, Debug)]
pub struct BronzeLayout {
    schema: SchemaRef,
    arrow: ArrowSchemaRef,
}

impl BronzeLayout {
    /// The layout for a committed table schema.
    ///
    /// # Errors
    /// When the schema has no Arrow form.
    pub fn new(schema: SchemaRef) -> Result<Self, SchemaProblem> {
        let arrow = schema_to_arrow_schema(&schema).map_err(|error| SchemaProblem::Rejected(error.to_string()))?;
        let fields: Vec<FieldRef> = arrow.fields().iter().map(|field| Arc::new(narrow(field))).collect();
        Ok(Self {
            schema,
            arrow: Arc::new(ArrowSchema::new(fields)),
        })
    }

    /// The table's schema.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The Arrow schema of the rows, with Iceberg field ids.
    pub fn arrow(&self) -> &ArrowSchemaRef {
        &self.arrow
    }

    /// Columns that the table lacks for `source`: to be added before its rows can be written whole.
    ///
    /// # Errors
    /// [`Conflict`] where `source` can never fit.
    pub fn missing(&self, source: &ArrowSchema) -> Result<Vec<NestedFieldRef>, Conflict> {
        let mut new_fields = Vec::new();
        for field in source_fields(source)? {
            match self.arrow.column_with_name(field.name()) {
                None => new_fields.push(field),
                Some((_, column)) if types::fits(field.data_type(), column.data_type()) => {}
                Some((_, column)) => {
                    return Err(Conflict::Type {
                        field: field.name().clone(),
                        found: field.data_type().to_string(),
                        expected: column.data_type().to_string(),
                    });
                }
            }
        }
        let columns = arrow_schema_to_schema_auto_assign_ids(&ArrowSchema::new(new_fields))
            .map_err(|error| SchemaProblem::Rejected(error.to_string()))?;
        Ok(columns.as_struct().fields().to_vec())
    }

    /// Rows in the table's layout: `source` fields by name (missing ones null; `None`: all null), and the metadata columns.
    ///
    /// # Errors
    /// [`Conflict`] where a field does not fit; [`Self::missing`] says so beforehand.
    pub fn rows(&self, source: Option<&RecordBatch>, metadata: &MetadataArrays) -> Result<RecordBatch, Conflict> {
        let length = metadata.0[0].len();
        let columns: Result<Vec<ArrayRef>, Conflict> = self
            .arrow
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
                    |array| shape(array, column),
                )
            })
            .collect();
        RecordBatch::try_new(Arc::clone(&self.arrow), columns?)
            .map_err(|error| SchemaProblem::Rejected(error.to_string()).into())
    }
}

/// Iceberg's `binary` becomes Arrow's large one; batches stay far below 2 GiB, where the small one does.
fn narrow(field: &Field) -> Field {
    field.clone().with_data_type(narrow_type(field.data_type()))
}

fn narrow_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::LargeBinary => DataType::Binary,
        DataType::List(item) => DataType::List(Arc::new(narrow(item))),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| narrow(field)).collect()),
        DataType::Map(entries, sorted) => DataType::Map(Arc::new(narrow(entries)), *sorted),
        other => other.clone(),
    }
}

fn shape(array: &ArrayRef, column: &Field) -> Result<ArrayRef, Conflict> {
    if array.data_type() == column.data_type() {
        return Ok(Arc::clone(array));
    }
    let conflict = || Conflict::Type {
        field: column.name().clone(),
        found: array.data_type().to_string(),
        expected: column.data_type().to_string(),
    };
    let bronze = types::bronze_type(array.data_type()).map_err(|_| conflict())?;
    if !types::fits(&bronze, column.data_type()) {
        return Err(conflict());
    }
    cast(array, column.data_type()).map_err(|_| conflict())
}

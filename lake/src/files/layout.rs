//! How the rows of a table's data files are laid out.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::SchemaRef;

/// A committed table schema, as Iceberg and as Arrow with field ids, and the date column that the table is partitioned by.
#[derive(Clone, Debug)]
pub struct FileLayout {
    schema: SchemaRef,
    arrow: ArrowSchemaRef,
    partition_column: &'static str,
}

impl FileLayout {
    /// The layout for a committed table schema.
    ///
    /// # Errors
    /// When the schema has no Arrow form.
    pub fn new(schema: SchemaRef, partition_column: &'static str) -> iceberg::Result<Self> {
        let arrow = schema_to_arrow_schema(&schema)?;
        let fields: Vec<FieldRef> = arrow.fields().iter().map(|field| Arc::new(narrow(field))).collect();
        Ok(Self {
            schema,
            arrow: Arc::new(ArrowSchema::new(fields)),
            partition_column,
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

    /// The date column that the table is partitioned by; a file has rows of one date.
    pub fn partition_column(&self) -> &'static str {
        self.partition_column
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

//! Bronze tables: the source's fields as received, and beside them where each row came from.

mod conform;
mod metadata;
mod shape;
mod types;

pub use conform::{BronzeLayout, Conflict};
pub(crate) use metadata::timestamptz;
pub use metadata::{METADATA_COLUMNS, MetadataArrays, PARTITION_COLUMN};
pub(crate) use shape::shape;

use arrow_schema::{Field, Schema as ArrowSchema};
use iceberg::arrow::arrow_schema_to_schema_auto_assign_ids;
use iceberg::spec::{Schema, Transform, UnboundPartitionSpec};

/// Why no bronze table can be made for a source schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaProblem {
    /// Iceberg has no type for it.
    #[error("field `{field}`: Iceberg has no type for {arrow_type}")]
    NoIcebergType {
        /// Field name.
        field: String,
        /// The Arrow type that the field decodes to.
        arrow_type: String,
    },
    /// A source field has the name of a column that bronze adds.
    #[error("field `{0}` has the name of a column that every bronze table has")]
    ReservedName(String),
    /// Iceberg rejects the schema as a whole.
    #[error("{0}")]
    Rejected(String),
}

/// The schema of the bronze table for a source that decodes to `source`: its fields, all optional, then the metadata
/// columns.
///
/// # Errors
/// [`SchemaProblem`] where a field cannot be a column.
pub fn table_schema(source: &ArrowSchema) -> Result<Schema, SchemaProblem> {
    let mut fields = source_fields(source)?;
    fields.extend(metadata::fields());
    arrow_schema_to_schema_auto_assign_ids(&ArrowSchema::new(fields))
        .map_err(|error| SchemaProblem::Rejected(error.to_string()))
}

/// The source's fields as bronze keeps them: optional at every level, in types that Iceberg has.
pub(crate) fn source_fields(source: &ArrowSchema) -> Result<Vec<Field>, SchemaProblem> {
    source.fields().iter().map(|field| source_field(field)).collect()
}

fn source_field(field: &Field) -> Result<Field, SchemaProblem> {
    if METADATA_COLUMNS
        .iter()
        .any(|(name, ..)| name.eq_ignore_ascii_case(field.name()))
    {
        return Err(SchemaProblem::ReservedName(field.name().clone()));
    }
    let data_type = types::bronze_type(field.data_type()).map_err(|arrow_type| SchemaProblem::NoIcebergType {
        field: field.name().clone(),
        arrow_type,
    })?;
    let doc = field.metadata().get("doc").or_else(|| field.metadata().get("avro.doc"));
    let column = Field::new(field.name(), data_type, true);
    Ok(match doc {
        Some(doc) => column.with_metadata([("doc".to_owned(), doc.clone())].into()),
        None => column,
    })
}

/// Bronze is partitioned by the UTC date of ingestion.
///
/// # Errors
/// When `schema` has no such column, which no schema of [`table_schema`] lacks.
pub fn partition_spec(schema: &Schema) -> Result<UnboundPartitionSpec, SchemaProblem> {
    let rejected = |error: iceberg::Error| SchemaProblem::Rejected(error.to_string());
    let column = schema
        .field_id_by_name(PARTITION_COLUMN)
        .ok_or_else(|| SchemaProblem::Rejected(format!("no column {PARTITION_COLUMN}")))?;
    Ok(UnboundPartitionSpec::builder()
        .add_partition_field(column, PARTITION_COLUMN, Transform::Identity)
        .map_err(rejected)?
        .build())
}

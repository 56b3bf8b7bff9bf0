//! The wanted columns: where they are in a data file, and its rows in the types and names of the table as it is now.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{DataType, FieldRef, Fields, Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::schema::types::SchemaDescriptor;

use super::error::SourceError;
use crate::bronze::{BronzeLayout, shape};
use crate::error::LakeError;
use crate::files::FileLayout;
use crate::table::LoadedTable;

/// Columns of the table, with their field ids.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    ids: Vec<i32>,
    schema: ArrowSchemaRef,
}

/// Where the columns are in one file.
#[derive(Clone, Debug)]
pub(crate) struct ColumnsInFile {
    pub mask: ProjectionMask,
    /// Of each column its place in the batches that are read; `None`: the file is older than the column.
    places: Vec<Option<usize>>,
}

impl Columns {
    /// The columns of `names` that the table has, in this order.
    pub fn new(table: &LoadedTable, names: &[&str]) -> Result<Self, SourceError> {
        let schema = table.metadata().current_schema();
        let layout = BronzeLayout::new(Arc::clone(schema)).map_err(|source| SourceError::Schema {
            table: table.ident().clone(),
            source,
        })?;
        let known = names.iter().filter_map(|name| {
            let field = layout.arrow().field_with_name(name).ok()?;
            Some((schema.field_id_by_name(name)?, Arc::new(field.clone())))
        });
        let (ids, fields): (Vec<i32>, Vec<FieldRef>) = known.unzip();
        Ok(Self {
            ids,
            schema: Arc::new(ArrowSchema::new(fields)),
        })
    }

    /// All columns of a layout.
    pub fn all(layout: &FileLayout) -> Self {
        let fields = layout.schema().as_struct().fields().iter();
        Self {
            ids: fields.map(|field| field.id).collect(),
            schema: Arc::clone(layout.arrow()),
        }
    }

    /// The schema of all batches.
    pub fn schema(&self) -> &ArrowSchemaRef {
        &self.schema
    }

    /// Finds the columns in a file, by field id; by name where a file has no ids.
    pub fn in_file(&self, parquet: &SchemaDescriptor) -> ColumnsInFile {
        let roots = parquet.root_schema().get_fields();
        let id = |root: usize| {
            let info = roots[root].get_basic_info();
            info.has_id().then(|| info.id())
        };
        let has_ids = (0..roots.len()).any(|root| id(root).is_some());
        let found: Vec<Option<usize>> = self
            .ids
            .iter()
            .zip(self.schema.fields())
            .map(|(wanted, field)| {
                (0..roots.len()).find(|root| match has_ids {
                    true => id(*root) == Some(*wanted),
                    false => roots[*root].name() == field.name(),
                })
            })
            .collect();
        let mut read: Vec<usize> = found.iter().flatten().copied().collect();
        read.sort_unstable();
        read.dedup();
        let place = |root: &Option<usize>| root.and_then(|root| read.binary_search(&root).ok());
        ColumnsInFile {
            places: found.iter().map(place).collect(),
            mask: ProjectionMask::roots(parquet, read),
        }
    }

    /// A column of which a nested field would be lost, because the table has none of this name: nested fields are found by name.
    pub fn lost_in(&self, columns: &ColumnsInFile, read: &ArrowSchema) -> Option<&str> {
        let mut fields = self.schema.fields().iter().zip(&columns.places);
        let lost = fields.find(|(field, place)| {
            place.is_some_and(|place| !is_kept(read.field(place).data_type(), field.data_type()))
        });
        lost.map(|(field, _)| field.name().as_str())
    }

    /// Rows that were read of the file at `path`, as the table has them now.
    pub fn rows(&self, path: &str, columns: &ColumnsInFile, read: &RecordBatch) -> Result<RecordBatch, SourceError> {
        let rows = read.num_rows();
        let column = |(field, place): (&FieldRef, &Option<usize>)| -> Result<ArrayRef, SourceError> {
            let Some(place) = place else {
                return Ok(new_null_array(field.data_type(), rows));
            };
            let array = read.column(*place);
            shape(array, field.data_type()).ok_or_else(|| SourceError::Column {
                path: path.to_owned(),
                column: field.name().clone(),
                found: array.data_type().to_string(),
            })
        };
        let arrays: Result<Vec<ArrayRef>, SourceError> =
            self.schema.fields().iter().zip(&columns.places).map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays?, &options).map_err(|error| {
            let source = parquet::errors::ParquetError::ArrowError(error.to_string());
            let path = path.to_owned();
            LakeError::Parquet { path, source }.into()
        })
    }
}

/// Whether each nested field of `found` is one of `table`.
fn is_kept(found: &DataType, table: &DataType) -> bool {
    let all = |found: &Fields, table: &Fields| {
        let known = |name: &str| table.iter().find(|field| field.name() == name);
        found
            .iter()
            .all(|field| known(field.name()).is_some_and(|table| is_kept(field.data_type(), table.data_type())))
    };
    match (found, table) {
        (DataType::Struct(found), DataType::Struct(table)) => all(found, table),
        (DataType::List(found), DataType::List(table)) => is_kept(found.data_type(), table.data_type()),
        (DataType::Map(found, _), DataType::Map(table, _)) => match (found.data_type(), table.data_type()) {
            // Key and value are found by place.
            (DataType::Struct(found), DataType::Struct(table)) if found.len() == table.len() => found
                .iter()
                .zip(table)
                .all(|(found, table)| is_kept(found.data_type(), table.data_type())),
            _ => false,
        },
        _ => true,
    }
}

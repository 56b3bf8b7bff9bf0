//! Columns by name: of batches that are read, and into the layout of a table.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{ArrowPrimitiveType, Date32Type, Float64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, PrimitiveArray, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, SchemaRef as ArrowSchemaRef};

/// Columns of a batch by name, each in the type that the table has.
#[derive(Clone, Copy)]
pub(crate) struct Read<'a>(pub &'a RecordBatch);

impl<'a> Read<'a> {
    fn column(self, name: &str) -> Result<&'a ArrayRef, ArrowError> {
        let column = self.0.column_by_name(name);
        column.ok_or_else(|| ArrowError::SchemaError(format!("a source has no column {name}")))
    }

    fn typed<T: ArrowPrimitiveType>(self, name: &str) -> Result<&'a PrimitiveArray<T>, ArrowError> {
        let column = self.column(name)?.as_primitive_opt();
        column.ok_or_else(|| other_type(name))
    }

    pub(crate) fn text(self, name: &str) -> Result<&'a StringArray, ArrowError> {
        let column = self.column(name)?.as_string_opt();
        column.ok_or_else(|| other_type(name))
    }

    pub(crate) fn double(self, name: &str) -> Result<&'a Float64Array, ArrowError> {
        self.typed::<Float64Type>(name)
    }

    pub(crate) fn times(self, name: &str) -> Result<&'a PrimitiveArray<TimestampMicrosecondType>, ArrowError> {
        self.typed(name)
    }

    pub(crate) fn dates(self, name: &str) -> Result<&'a PrimitiveArray<Date32Type>, ArrowError> {
        self.typed(name)
    }

    pub(crate) fn boolean(self, name: &str) -> Result<&'a BooleanArray, ArrowError> {
        let column = self.column(name)?.as_boolean_opt();
        column.ok_or_else(|| other_type(name))
    }
}

fn other_type(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("a source has a column {name} of another type"))
}

/// A batch of these columns in the layout `arrow`.
///
/// # Errors
/// When the layout has a column that is not among them, or of a type that they cannot have.
pub(crate) fn in_layout(columns: Vec<(&str, ArrayRef)>, arrow: &ArrowSchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns: HashMap<&str, ArrayRef> = columns.into_iter().collect();
    let in_layout = |field: &arrow_schema::FieldRef| match columns.get(field.name().as_str()) {
        Some(column) => arrow_cast::cast(column, field.data_type()),
        None => Err(ArrowError::SchemaError(format!(
            "nothing is computed for {}",
            field.name()
        ))),
    };
    let arrays: Result<Vec<ArrayRef>, ArrowError> = arrow.fields().iter().map(in_layout).collect();
    RecordBatch::try_new(Arc::clone(arrow), arrays?)
}

/// A column that every row has a value of.
pub(crate) fn required(name: &str, data_type: DataType, doc: &str) -> Field {
    Field::new(name, data_type, false).with_metadata([("doc".to_owned(), doc.to_owned())].into())
}

/// A column that may be null.
pub(crate) fn optional(name: &str, data_type: DataType, doc: &str) -> Field {
    required(name, data_type, doc).with_nullable(true)
}

/// Texts by number, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Texts(HashMap<String, u32>);

impl Texts {
    /// The number of a text; a new one for a new text.
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.0.get(text) {
            return *number;
        }
        let number = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.insert(text.to_owned(), number);
        number
    }

    /// All texts, each at its number.
    pub(crate) fn into_names(self) -> Vec<String> {
        let mut names = vec![String::new(); self.0.len()];
        for (name, number) in self.0 {
            names[number as usize] = name;
        }
        names
    }
}

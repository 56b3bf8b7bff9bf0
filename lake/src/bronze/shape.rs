//! Arrays of decoded records as arrays of the table's types: narrower numbers widened, nested fields by name.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Fields};

use super::types;

/// `array` as `target`; `None` where they do not fit together, which was found out beforehand.
pub(crate) fn shape(array: &ArrayRef, target: &DataType) -> Option<ArrayRef> {
    if array.data_type() == target {
        return Some(Arc::clone(array));
    }
    match (array.data_type(), target) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let columns = nested(array.as_struct(), fields)?;
            let nulls = array.nulls().cloned();
            Some(Arc::new(StructArray::try_new(fields.clone(), columns, nulls).ok()?))
        }
        (DataType::List(_), DataType::List(element)) => {
            let list = array.as_list::<i32>();
            let values = shape(list.values(), element.data_type())?;
            let list = ListArray::try_new(
                Arc::clone(element),
                list.offsets().clone(),
                values,
                array.nulls().cloned(),
            );
            Some(Arc::new(list.ok()?))
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let DataType::Struct(pair) = entries.data_type() else {
                return None;
            };
            let map = array.as_map();
            let columns: Option<Vec<ArrayRef>> = map
                .entries()
                .columns()
                .iter()
                .zip(pair)
                .map(|(column, field)| shape(column, field.data_type()))
                .collect();
            let pairs = StructArray::try_new(pair.clone(), columns?, None).ok()?;
            let (offsets, nulls) = (map.offsets().clone(), array.nulls().cloned());
            Some(Arc::new(
                MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, *sorted).ok()?,
            ))
        }
        (found, _) => {
            let bronze = types::bronze_type(found).ok()?;
            let strict = CastOptions {
                // A value that does not fit would silently become null otherwise.
                safe: false,
                ..CastOptions::default()
            };
            types::fits(&bronze, target)
                .then(|| cast_with_options(array, target, &strict).ok())
                .flatten()
        }
    }
}

/// Fields by name; those that the records lack are null.
fn nested(array: &StructArray, fields: &Fields) -> Option<Vec<ArrayRef>> {
    let column = |name: &str, of: &DataType| match array.column_by_name(name) {
        Some(column) => shape(column, of),
        None => Some(new_null_array(of, array.len())),
    };
    fields
        .iter()
        .map(|field| column(field.name(), field.data_type()))
        .collect()
}

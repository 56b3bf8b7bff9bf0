//! The levels of an order book's side.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Float64Array, ListArray, StructArray, new_null_array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, FieldRef, Fields};

use super::CleanError;
use super::bronze::{Bronze, doubles};
use super::numbers::{Rounding, are_amounts};
use crate::silver::SilverTable;

/// What a column of levels must be.
const LEVELS: &str = "list of {price, size}";

/// One side of every book: lists of {price, size}. Further fields of a level are not silver's.
pub(super) struct Levels {
    /// What a level is in silver's layout, with its ids.
    element: FieldRef,
    fields: Fields,
    lists: ListArray,
    nulls: Option<NullBuffer>,
    price: Float64Array,
    size: Float64Array,
}

impl Levels {
    /// The column `name`, as silver's column of that name will have it.
    pub(super) fn read(bronze: &Bronze, name: &'static str) -> Result<Self, CleanError> {
        let wrong = |column| CleanError::column(name, LEVELS, column);
        let (element, fields) = level_type(name).ok_or_else(|| wrong(None))?;
        let column = bronze.column(name);
        let lists = match column.map(|column| (column, column.data_type())) {
            None => ListArray::new_null(Arc::clone(&element), bronze.len()),
            Some((column, DataType::List(_))) => column.as_list::<i32>().clone(),
            Some((column, _)) => return Err(wrong(Some(column))),
        };
        let Some(levels) = lists.values().as_struct_opt() else {
            return Err(wrong(column));
        };
        let field = |field: &str| match levels.column_by_name(field) {
            Some(values) => doubles(&format!("{name}.{field}"), values),
            None => doubles(name, &new_null_array(&DataType::Float64, levels.len())),
        };
        Ok(Self {
            nulls: levels.nulls().cloned(),
            price: field("price")?,
            size: field("size")?,
            element,
            fields,
            lists,
        })
    }

    /// Whether there is nothing to [`Self::find`].
    pub(super) fn are_amounts(&self) -> bool {
        are_amounts(&self.price) && are_amounts(&self.size)
    }

    /// The first number of which `holds` is true: its level, counted from 1, its field and itself.
    pub(super) fn find(&self, row: usize, holds: fn(f64) -> bool) -> Option<(usize, &'static str, f64)> {
        if self.lists.is_null(row) {
            return None;
        }
        let offsets = self.lists.value_offsets();
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        (start..end)
            .filter(|&level| self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(level)))
            .flat_map(|level| [("price", &self.price, level), ("size", &self.size, level)])
            .filter(|(_, values, level)| values.is_valid(*level))
            .map(|(field, values, level)| (level - start + 1, field, values.value(level)))
            .find(|(_, _, value)| holds(*value))
    }

    /// The lists in silver's layout, prices rounded.
    pub(super) fn rounded(self, rounding: Rounding) -> ArrayRef {
        let columns: Vec<ArrayRef> = vec![Arc::new(rounding.all(&self.price)), Arc::new(self.size)];
        let levels = StructArray::new(self.fields, columns, self.nulls);
        let (_, offsets, _, nulls) = self.lists.into_parts();
        Arc::new(ListArray::new(self.element, offsets, Arc::new(levels), nulls))
    }
}

/// What a level of silver's column `name` is.
fn level_type(name: &str) -> Option<(FieldRef, Fields)> {
    let column = SilverTable::OrderbookSnapshots.arrow().field_with_name(name).ok()?;
    let DataType::List(element) = column.data_type() else {
        return None;
    };
    let DataType::Struct(fields) = element.data_type() else {
        return None;
    };
    Some((Arc::clone(element), fields.clone()))
}

//! Columns of a bronze batch by name, in the types that rules read.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};
use uuid::Uuid;

use super::CleanError;
use crate::bronze::timestamptz;

pub(super) struct Bronze<'a> {
    rows: &'a RecordBatch,
}

impl<'a> Bronze<'a> {
    pub(super) fn new(rows: &'a RecordBatch) -> Self {
        Self { rows }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// The column as it is; `None` where it is missing, or has nothing but nulls and no type.
    pub(super) fn column(&self, name: &str) -> Option<&'a ArrayRef> {
        let column = self.rows.column_by_name(name);
        column.filter(|column| column.data_type() != &DataType::Null)
    }

    /// Text. Whole numbers are written in digits, 16 bytes as the UUID that Avro keeps in them.
    pub(super) fn texts(&self, name: &str) -> Result<StringArray, CleanError> {
        let wanted = |kind: &DataType| match kind {
            DataType::Int32 | DataType::Int64 | DataType::LargeUtf8 | DataType::Utf8View => true,
            DataType::Dictionary(_, values) => matches!(**values, DataType::Utf8 | DataType::LargeUtf8),
            _ => false,
        };
        match self.column(name) {
            Some(column) if column.data_type() == &DataType::FixedSizeBinary(16) => Ok(uuids(column)),
            column => Ok(self
                .read(name, column, &DataType::Utf8, wanted)?
                .as_string::<i32>()
                .clone()),
        }
    }

    /// Numbers. Whole numbers and decimals become the nearest double.
    pub(super) fn doubles(&self, name: &str) -> Result<Float64Array, CleanError> {
        let array = self.read(name, self.column(name), &DataType::Float64, is_number)?;
        Ok(array.as_primitive::<Float64Type>().clone())
    }

    /// Instants. Those without a time zone are none: nobody knows which hour they mean.
    pub(super) fn times(&self, name: &str) -> Result<TimestampMicrosecondArray, CleanError> {
        let wanted = |kind: &DataType| matches!(kind, DataType::Timestamp(TimeUnit::Microsecond, Some(_)));
        let array = self.read(name, self.column(name), &timestamptz(), wanted)?;
        Ok(array.as_primitive::<TimestampMicrosecondType>().clone())
    }

    pub(super) fn ints(&self, name: &str) -> Result<Int32Array, CleanError> {
        let array = self.read(name, self.column(name), &DataType::Int32, |_| false)?;
        Ok(array.as_primitive::<Int32Type>().clone())
    }

    pub(super) fn longs(&self, name: &str) -> Result<Int64Array, CleanError> {
        let array = self.read(name, self.column(name), &DataType::Int64, |kind| {
            kind == &DataType::Int32
        })?;
        Ok(array.as_primitive::<Int64Type>().clone())
    }

    /// `column` as `target`: as it is, or cast from a type that `casts` allows.
    fn read(
        &self,
        name: &str,
        column: Option<&ArrayRef>,
        target: &DataType,
        casts: impl Fn(&DataType) -> bool,
    ) -> Result<ArrayRef, CleanError> {
        let Some(column) = column else {
            return Ok(new_null_array(target, self.len()));
        };
        read(name, column, target, casts)
    }
}

/// A nested column of numbers, as [`Bronze::doubles`].
pub(super) fn doubles(name: &str, column: &ArrayRef) -> Result<Float64Array, CleanError> {
    let array = read(name, column, &DataType::Float64, is_number)?;
    Ok(array.as_primitive::<Float64Type>().clone())
}

fn read(
    name: &str,
    column: &ArrayRef,
    target: &DataType,
    casts: impl Fn(&DataType) -> bool,
) -> Result<ArrayRef, CleanError> {
    match column.data_type() {
        found if found == target => Ok(Arc::clone(column)),
        found if casts(found) => {
            cast(column, target).map_err(|_| CleanError::column(name, target.to_string(), Some(column)))
        }
        _ => Err(CleanError::column(name, target.to_string(), Some(column))),
    }
}

fn is_number(kind: &DataType) -> bool {
    kind.is_integer() || matches!(kind, DataType::Float32 | DataType::Decimal128(..))
}

fn uuids(column: &ArrayRef) -> StringArray {
    let text = |bytes: Option<&[u8]>| Uuid::from_slice(bytes?).ok().map(|uuid| uuid.hyphenated().to_string());
    column.as_fixed_size_binary().iter().map(text).collect()
}

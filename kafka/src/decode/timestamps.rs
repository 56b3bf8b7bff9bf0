//! Timestamp fields that arrive as ISO-8601 strings become timestamps in microseconds, UTC.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow_cast::parse::string_to_datetime;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::DecodeError;

/// Time zone of every timestamp column, as Iceberg's `timestamptz` wants it.
const UTC: &str = "+00:00";

fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
}

fn is_parsed(field: &Field, names: &[String]) -> bool {
    field.data_type() == &DataType::Utf8 && names.iter().any(|name| name == field.name())
}

/// The schema after [`parse`].
pub(super) fn target_schema(schema: &Schema, names: &[String]) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match is_parsed(field, names) {
        true => Arc::new(
            field
                .as_ref()
                .clone()
                .with_data_type(timestamp_type())
                .with_nullable(true),
        ),
        false => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Parses the string columns among `names`. Rows with a string that is no timestamp move to `failed`.
pub(super) fn parse(
    columns: RecordBatch,
    rows: Vec<u32>,
    names: &[String],
    id: u32,
    failed: &mut Vec<(u32, DecodeError)>,
) -> (RecordBatch, Vec<u32>) {
    let schema = columns.schema();
    if !schema.fields().iter().any(|field| is_parsed(field, names)) {
        return (columns, rows);
    }
    let mut keep = vec![true; rows.len()];
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.num_columns());
    for (field, array) in schema.fields().iter().zip(columns.columns()) {
        if !is_parsed(field, names) {
            arrays.push(Arc::clone(array));
            continue;
        }
        let parsed = parse_column(array, |row| {
            if std::mem::replace(&mut keep[row], false) {
                let field = field.name().clone();
                failed.push((rows[row], DecodeError::BadTimestamp { id, field }));
            }
        });
        arrays.push(Arc::new(parsed));
    }
    let parsed = RecordBatch::try_new(target_schema(&schema, names), arrays)
        .expect("the arrays were built for this schema, column by column");
    if keep.iter().all(|kept| *kept) {
        return (parsed, rows);
    }
    let rows = rows
        .into_iter()
        .zip(&keep)
        .filter_map(|(row, kept)| kept.then_some(row))
        .collect();
    let kept = arrow_select::filter::filter_record_batch(&parsed, &BooleanArray::from(keep))
        .expect("the mask has one entry a row");
    (kept, rows)
}

fn parse_column(array: &ArrayRef, mut bad: impl FnMut(usize)) -> TimestampMicrosecondArray {
    let strings = array.as_string::<i32>();
    let utc = utc();
    let values = (0..strings.len()).map(|row| {
        if strings.is_null(row) {
            return None;
        }
        let text = strings.value(row).trim();
        // Without an offset the text is UTC.
        let parsed = string_to_datetime(&utc, text).ok().map(|at| at.timestamp_micros());
        if parsed.is_none() {
            bad(row);
        }
        parsed
    });
    values.collect::<TimestampMicrosecondArray>().with_timezone(UTC)
}

fn utc() -> arrow_array::timezone::Tz {
    "+00:00".parse().expect("a fixed offset")
}

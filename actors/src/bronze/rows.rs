//! Decoded records and their coordinates as rows of the bronze table.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, Int32Builder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::{
    ArrayRef, BinaryArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt32Array, new_null_array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;
use arrow_select::take::take;
use tapehouse_kafka::decode::{DecodeError, Decoded, Rows};
use tapehouse_kafka::raw_batch::{Headers, NO_TIMESTAMP, RawBatch};
use tapehouse_lake::bronze::{BronzeLayout, Conflict, METADATA_COLUMNS, MetadataArrays};

const MICROS_PER_DAY: i64 = 86_400_000_000;
const UTC: &str = "+00:00";

/// Where the rows of a pipeline come from, apart from partition and offset. The columns that hold one value in all rows are
/// built once, as long as the longest batch; each batch takes a slice.
#[derive(Clone, Debug)]
pub struct RowSource {
    constants: Constants,
}

#[derive(Clone, Debug)]
struct Constants {
    rows: usize,
    run_id: ArrayRef,
    topic: ArrayRef,
    incarnation: ArrayRef,
    no_headers: ArrayRef,
    no_schema_id: ArrayRef,
    no_raw_value: ArrayRef,
    no_error: ArrayRef,
}

impl RowSource {
    /// Rows of `topic` in its `incarnation`, written by the process start `run_id`; batches have at most `max_rows` rows.
    pub fn new(topic: &str, incarnation: i32, run_id: &str, max_rows: usize) -> Self {
        Self {
            constants: Constants {
                rows: max_rows,
                run_id: Arc::new(constant(run_id, max_rows)),
                topic: Arc::new(constant(topic, max_rows)),
                incarnation: Arc::new(Int32Array::from_value(incarnation, max_rows)),
                no_headers: headers(&[], max_rows),
                no_schema_id: new_null_array(&DataType::Int32, max_rows),
                no_raw_value: new_null_array(&DataType::Binary, max_rows),
                no_error: new_null_array(&DataType::Utf8, max_rows),
            },
        }
    }
}

/// Positions in [`METADATA_COLUMNS`] of the columns that differ between decoded and undecodable rows.
const SCHEMA_ID: usize = METADATA_COLUMNS.len() - 3;
const RAW_VALUE: usize = METADATA_COLUMNS.len() - 2;
const DECODE_ERROR: usize = METADATA_COLUMNS.len() - 1;

/// All records of a raw batch as rows in the table's layout: a batch for each writer schema, one for what could not be
/// decoded. Keys and coordinates are moved, not copied.
///
/// # Errors
/// [`Conflict`] when a group does not fit the layout, which the caller has checked before.
pub fn decode_rows(
    mut raw: RawBatch,
    decoded: Decoded,
    layout: &BronzeLayout,
    source: &RowSource,
) -> Result<Vec<RecordBatch>, Conflict> {
    let failed = (!decoded.failed.is_empty()).then(|| Undecodable::of(&raw, &decoded.failed));
    let all = metadata_arrays(&mut raw, source);
    let mut batches = Vec::with_capacity(decoded.groups.len() + 1);
    for group in decoded.groups {
        let mut metadata = match &group.rows {
            Rows::All => all.clone(),
            Rows::Some(rows) => select(&all, rows),
        };
        // Ids are 32 bits on the wire; the column is Iceberg's signed int of the same bits.
        let id = Int32Array::from_value(group.schema_id.cast_signed(), group.columns.num_rows());
        metadata.0[SCHEMA_ID] = Arc::new(id);
        batches.push(layout.rows(Some(&group.columns), &metadata)?);
    }
    if let Some(failed) = failed {
        let mut metadata = select(&all, &failed.rows);
        metadata.0[SCHEMA_ID] = failed.schema_ids;
        metadata.0[RAW_VALUE] = failed.raw_values;
        metadata.0[DECODE_ERROR] = failed.errors;
        batches.push(layout.rows(None, &metadata)?);
    }
    Ok(batches)
}

fn select(all: &MetadataArrays, rows: &[u32]) -> MetadataArrays {
    let indexes = UInt32Array::from(rows.to_vec());
    MetadataArrays(
        all.0
            .each_ref()
            .map(|array| take(array, &indexes, None).expect("the rows are indexes into the same batch")),
    )
}

/// The columns of rows that could not be decoded.
struct Undecodable {
    rows: Vec<u32>,
    schema_ids: ArrayRef,
    raw_values: ArrayRef,
    errors: ArrayRef,
}

impl Undecodable {
    fn of(raw: &RawBatch, failed: &[(u32, DecodeError)]) -> Self {
        let (mut ids, mut values, mut errors) = (Int32Builder::new(), BinaryBuilder::new(), StringBuilder::new());
        for (row, error) in failed {
            ids.append_option(error.schema_id().map(u32::cast_signed));
            values.append_option(raw.payload(*row as usize));
            errors.append_value(error.to_string());
        }
        Self {
            rows: failed.iter().map(|(row, _)| *row).collect(),
            schema_ids: Arc::new(ids.finish()),
            raw_values: Arc::new(values.finish()),
            errors: Arc::new(errors.finish()),
        }
    }
}

/// The metadata columns of all records, as if none had a schema or an error. Takes the keys and coordinates out of `raw`.
///
/// # Panics
/// If the batch is longer than `source` was made for.
fn metadata_arrays(raw: &mut RawBatch, source: &RowSource) -> MetadataArrays {
    let (rows, constants) = (raw.len(), &source.constants);
    assert!(
        rows <= constants.rows,
        "a batch of {rows} rows, made for {}",
        constants.rows
    );
    let sealed = raw.sealed_at_us;
    let day = i32::try_from(sealed.div_euclid(MICROS_PER_DAY)).unwrap_or(i32::MAX);
    let headers = match raw.headers.is_empty() {
        true => constants.no_headers.slice(0, rows),
        false => headers(&raw.headers, rows),
    };
    MetadataArrays([
        Arc::new(TimestampMicrosecondArray::from_value(sealed, rows).with_timezone(UTC)),
        Arc::new(Date32Array::from_value(day, rows)),
        constants.run_id.slice(0, rows),
        constants.topic.slice(0, rows),
        constants.incarnation.slice(0, rows),
        Arc::new(Int32Array::from(std::mem::take(&mut raw.partitions))),
        Arc::new(Int64Array::from(std::mem::take(&mut raw.offsets))),
        Arc::new(timestamps(std::mem::take(&mut raw.timestamps_us))),
        Arc::new(keys(raw, rows)),
        headers,
        constants.no_schema_id.slice(0, rows),
        constants.no_raw_value.slice(0, rows),
        constants.no_error.slice(0, rows),
    ])
}

fn constant(text: &str, rows: usize) -> StringArray {
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(text.len(), rows));
    StringArray::new(offsets, Buffer::from(text.repeat(rows).into_bytes()), None)
}

fn timestamps(values: Vec<i64>) -> TimestampMicrosecondArray {
    let nulls = values
        .contains(&NO_TIMESTAMP)
        .then(|| NullBuffer::from_iter(values.iter().map(|value| *value != NO_TIMESTAMP)));
    TimestampMicrosecondArray::new(ScalarBuffer::from(values), nulls).with_timezone(UTC)
}

fn keys(raw: &mut RawBatch, rows: usize) -> BinaryArray {
    let (bytes, ends, absent) = raw.take_keys();
    let nulls = (!absent.is_empty()).then(|| {
        let mut valid = vec![true; rows];
        absent.iter().for_each(|row| valid[*row] = false);
        NullBuffer::new(BooleanBuffer::from(valid))
    });
    BinaryArray::new(OffsetBuffer::new(ScalarBuffer::from(ends)), Buffer::from(bytes), nulls)
}

fn headers(some: &[(usize, Headers)], rows: usize) -> ArrayRef {
    let names = MapFieldNames {
        entry: "key_value".into(),
        key: "key".into(),
        value: "value".into(),
    };
    let mut map = MapBuilder::new(Some(names), StringBuilder::new(), BinaryBuilder::new());
    let mut some = some.iter().peekable();
    for row in 0..rows {
        let here = some.next_if(|(index, _)| *index == row);
        for (name, value) in here.map(|(_, headers)| unique_names(headers)).unwrap_or_default() {
            map.keys().append_value(name);
            map.values().append_option(value);
        }
        map.append(here.is_some())
            .expect("keys and values were appended in pairs");
    }
    Arc::new(map.finish())
}

/// Map keys are unique, header names need not be: the second `a` becomes `a#2`. Nothing is dropped.
fn unique_names(headers: &Headers) -> Vec<(String, Option<&[u8]>)> {
    let mut named: Vec<(String, Option<&[u8]>)> = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let mut unique = name.clone();
        let mut count = 1;
        while named.iter().any(|(known, _)| *known == unique) {
            count += 1;
            unique = format!("{name}#{count}");
        }
        named.push((unique, value.as_deref()));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_headers_are_kept_under_names_of_their_own() {
        let headers = vec![
            ("a".to_owned(), None),
            ("a".to_owned(), Some(vec![1])),
            ("b".to_owned(), None),
            ("a".to_owned(), None),
        ];
        let names: Vec<_> = unique_names(&headers).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "a#2", "b", "a#3"]);
    }
}

//! A hash of all columns of a row, to compare rows without keeping them.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Date32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const NULL: u64 = 0xd1b5_4a32_d192_ed03;

/// The hash of each row over all columns, in their order. Doubles are told apart by their bits.
///
/// # Errors
/// Where a column is of a type that no silver table has.
pub(super) fn content_hashes(rows: &RecordBatch) -> Result<Vec<u64>, ArrowError> {
    let mut hashes = vec![SEED; rows.num_rows()];
    for column in rows.columns() {
        add(column, &mut hashes)?;
    }
    Ok(hashes)
}

/// Order matters, and so does each bit of both.
fn mix(hash: u64, value: u64) -> u64 {
    let product = u128::from(hash ^ value) * u128::from(SEED | 1);
    let folded = (product ^ (product >> 64)) & u128::from(u64::MAX);
    u64::try_from(folded).unwrap_or_default().wrapping_add(NULL)
}

fn add(column: &ArrayRef, hashes: &mut [u64]) -> Result<(), ArrowError> {
    let each = |hashes: &mut [u64], of: &dyn Fn(usize, u64) -> u64| {
        for (row, hash) in hashes.iter_mut().enumerate() {
            *hash = match column.is_null(row) {
                true => mix(*hash, NULL),
                false => of(row, *hash),
            };
        }
    };
    macro_rules! number {
        ($kind:ty, $bits:expr) => {{
            let values = column.as_primitive::<$kind>().values();
            each(hashes, &|row, hash| mix(hash, $bits(values[row])))
        }};
    }
    match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            each(hashes, &|row, hash| {
                xxh3_64_with_seed(texts.value(row).as_bytes(), hash)
            });
        }
        DataType::Boolean => {
            let flags = column.as_boolean();
            each(hashes, &|row, hash| mix(hash, flags.value(row).into()));
        }
        DataType::Float64 => number!(Float64Type, f64::to_bits),
        DataType::Int32 => number!(Int32Type, |value: i32| i64::from(value).cast_unsigned()),
        DataType::Date32 => number!(Date32Type, |value: i32| i64::from(value).cast_unsigned()),
        DataType::Int64 => number!(Int64Type, i64::cast_unsigned),
        DataType::Timestamp(TimeUnit::Microsecond, _) => number!(TimestampMicrosecondType, i64::cast_unsigned),
        DataType::Struct(_) => {
            let parts = column.as_struct();
            let mut inner = vec![SEED; parts.len()];
            for part in parts.columns() {
                add(part, &mut inner)?;
            }
            each(hashes, &|row, hash| mix(hash, inner[row]));
        }
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            let mut inner = vec![SEED; lists.values().len()];
            add(lists.values(), &mut inner)?;
            let at = |row: usize| usize::try_from(lists.value_offsets()[row]).unwrap_or_default();
            each(hashes, &|row, hash| {
                let elements = &inner[at(row)..at(row + 1)];
                let all = elements.iter().fold(hash, |hash, element| mix(hash, *element));
                mix(all, elements.len() as u64)
            });
        }
        other => {
            return Err(ArrowError::NotYetImplemented(format!("comparing columns of {other}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Float64Type;
    use arrow_array::{Float64Array, ListArray, StringArray};

    use super::*;

    fn hash(texts: [Option<&str>; 2], price: Option<f64>, levels: Option<Vec<Option<f64>>>) -> u64 {
        let columns: [(&str, ArrayRef); 4] = [
            ("a", Arc::new(StringArray::from(vec![texts[0]]))),
            ("b", Arc::new(StringArray::from(vec![texts[1]]))),
            ("c", Arc::new(Float64Array::from(vec![price]))),
            (
                "d",
                Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([levels])),
            ),
        ];
        content_hashes(&RecordBatch::try_from_iter(columns).unwrap()).unwrap()[0]
    }

    #[test]
    fn any_difference_changes_the_hash() {
        let all = [
            hash([Some("x"), Some("y")], Some(1.0), Some(vec![Some(1.0), Some(2.0)])),
            hash([Some("y"), Some("x")], Some(1.0), Some(vec![Some(1.0), Some(2.0)])),
            hash([Some("xy"), Some("")], Some(1.0), Some(vec![Some(1.0), Some(2.0)])),
            hash([Some("xy"), None], Some(1.0), Some(vec![Some(1.0), Some(2.0)])),
            hash([Some("x"), Some("y")], Some(1.5), Some(vec![Some(1.0), Some(2.0)])),
            hash([Some("x"), Some("y")], None, Some(vec![Some(1.0), Some(2.0)])),
            hash([Some("x"), Some("y")], Some(0.0), Some(vec![Some(1.0), Some(2.0)])),
            hash([Some("x"), Some("y")], Some(1.0), Some(vec![Some(2.0), Some(1.0)])),
            hash([Some("x"), Some("y")], Some(1.0), Some(vec![Some(1.0)])),
            hash([Some("x"), Some("y")], Some(1.0), Some(vec![Some(1.0), None])),
            hash([Some("x"), Some("y")], Some(1.0), Some(vec![])),
            hash([Some("x"), Some("y")], Some(1.0), None),
        ];
        let distinct: std::collections::BTreeSet<u64> = all.into();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(
            all[0],
            hash([Some("x"), Some("y")], Some(1.0), Some(vec![Some(1.0), Some(2.0)]))
        );
    }
}

//! Values that decode and are none of their type: kept as they are, they would be changed on the way to the table or make it
//! unreadable.

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Time32MillisecondType, Time64MicrosecondType, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};

const MILLIS_PER_DAY: i32 = 86_400_000;
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Beyond these, milliseconds have no microseconds in 64 bits.
const MILLIS: std::ops::RangeInclusive<i64> = i64::MIN / 1000..=i64::MAX / 1000;

/// Finds out whether all values are of their types.
///
/// # Errors
/// What is wrong with some value of some row, without the value.
pub(super) fn check(columns: &RecordBatch) -> Result<(), String> {
    let schema = columns.schema();
    for (field, array) in schema.fields().iter().zip(columns.columns()) {
        check_array(array).map_err(|what| format!("field {}: {what}", field.name()))?;
    }
    Ok(())
}

fn check_array(array: &ArrayRef) -> Result<(), String> {
    let all = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    match array.data_type() {
        DataType::Decimal128(precision, _) => all(
            array
                .as_primitive::<Decimal128Type>()
                .validate_decimal_precision(*precision)
                .is_ok(),
            "a decimal has more digits than its precision",
        ),
        DataType::Time32(TimeUnit::Millisecond) => {
            let mut times = array.as_primitive::<Time32MillisecondType>().iter().flatten();
            all(
                times.all(|time| (0..MILLIS_PER_DAY).contains(&time)),
                "a time is none of a day",
            )
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let mut times = array.as_primitive::<Time64MicrosecondType>().iter().flatten();
            all(
                times.all(|time| (0..MICROS_PER_DAY).contains(&time)),
                "a time is none of a day",
            )
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            let mut times = array.as_primitive::<TimestampMillisecondType>().iter().flatten();
            all(times.all(|time| MILLIS.contains(&time)), "a timestamp is out of range")
        }
        DataType::List(_) => check_array(array.as_list::<i32>().values()),
        DataType::Struct(_) => array.as_struct().columns().iter().try_for_each(check_array),
        DataType::Map(..) => array.as_map().entries().columns().iter().try_for_each(check_array),
        _ => Ok(()),
    }
}

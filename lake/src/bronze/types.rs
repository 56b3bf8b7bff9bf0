//! Which Arrow types of decoded Avro become which bronze types, and which may be widened to which.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, TimeUnit};

use super::metadata::timestamptz;

/// The type that bronze keeps a field in; `Err` names the Arrow type that Iceberg has no type for.
///
/// Nothing is cast that would lose information, save nanoseconds: Iceberg v2 ends at microseconds.
pub(super) fn bronze_type(source: &DataType) -> Result<DataType, String> {
    Ok(match source {
        DataType::Boolean
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Binary
        | DataType::Date32
        | DataType::FixedSizeBinary(_)
        | DataType::Decimal128(..) => source.clone(),
        DataType::Int8 | DataType::Int16 => DataType::Int32,
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => bronze_type(values)?,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(_, Some(_)) => timestamptz(),
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::List(item) | DataType::LargeList(item) => {
            DataType::List(Arc::new(Field::new("element", bronze_type(item.data_type())?, true)))
        }
        DataType::Struct(fields) if !fields.is_empty() => DataType::Struct(bronze_fields(fields)?),
        DataType::Map(entries, _) => bronze_map(entries)?,
        other => return Err(other.to_string()),
    })
}

fn bronze_fields(fields: &Fields) -> Result<Fields, String> {
    fields
        .iter()
        .map(|field| Ok(Field::new(field.name(), bronze_type(field.data_type())?, true)))
        .collect()
}

fn bronze_map(entries: &Field) -> Result<DataType, String> {
    let DataType::Struct(pair) = entries.data_type() else {
        return Err(entries.data_type().to_string());
    };
    let [key, value] = &pair[..] else {
        return Err(entries.data_type().to_string());
    };
    let pair = Fields::from(vec![
        Field::new("key", bronze_type(key.data_type())?, false),
        Field::new("value", bronze_type(value.data_type())?, true),
    ]);
    Ok(DataType::Map(
        Arc::new(Field::new("key_value", DataType::Struct(pair), false)),
        false,
    ))
}

/// Whether values of the simple type `from` (a bronze type) fit the table's type `to` without a loss: equal, or one of Iceberg's
/// promotions.
pub(super) fn fits(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Int32, DataType::Int64) | (DataType::Float32, DataType::Float64) => true,
        (DataType::Binary | DataType::LargeBinary, DataType::Binary | DataType::LargeBinary) => true,
        (DataType::Decimal128(p, s), DataType::Decimal128(tp, ts)) => s == ts && p <= tp,
        _ => from == to,
    }
}

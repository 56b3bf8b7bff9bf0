//! A row of bronze as JSON, for people and for programs that repair it.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType};
use serde_json::{Map, Value};

/// Bytes of one row's JSON at most; a longer one says only how long it was: the record itself is in bronze.
const MAX_BYTES: usize = 1 << 20;

/// The columns of a row. Numbers that JSON does not have (NaN, infinite) are text.
pub(super) fn row_json(rows: &RecordBatch, row: usize) -> Result<String, ArrowError> {
    let schema = rows.schema();
    let mut object = Map::new();
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        object.insert(field.name().clone(), value(column.as_ref(), row)?);
    }
    let text = Value::Object(object).to_string();
    Ok(match text.len() > MAX_BYTES {
        true => serde_json::json!({ "left_out_bytes": text.len() }).to_string(),
        false => text,
    })
}

fn value(array: &dyn Array, row: usize) -> Result<Value, ArrowError> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    let list = |items: &dyn Array| -> Result<Vec<Value>, ArrowError> {
        (0..items.len()).map(|item| value(items, item)).collect()
    };
    Ok(match array.data_type() {
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float32 => number(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => number(array.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::List(_) => Value::Array(list(array.as_list::<i32>().value(row).as_ref())?),
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let members = columns.map(|(field, column)| Ok((field.name().clone(), value(column.as_ref(), row)?)));
            Value::Object(members.collect::<Result<_, ArrowError>>()?)
        }
        _ => {
            let formatter = ArrayFormatter::try_new(array, &FormatOptions::default())?;
            formatter.value(row).try_to_string()?.into()
        }
    })
}

fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, ListArray, StringArray, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn every_value_has_a_form_and_no_number_is_lost() {
        let levels = ListArray::from_iter_primitive::<Float64Type, _, _>([Some(vec![Some(1.5), None]), None]);
        let columns: [(&str, ArrayRef); 4] = [
            ("price", Arc::new(Float64Array::from(vec![f64::NAN, f64::NEG_INFINITY]))),
            ("side", Arc::new(StringArray::from(vec![Some("a\"b"), None]))),
            (
                "at",
                Arc::new(TimestampMicrosecondArray::from(vec![0, 1]).with_timezone("+00:00")),
            ),
            ("levels", Arc::new(levels)),
        ];
        let rows =
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
        let json = |row| serde_json::from_str::<Value>(&row_json(&rows, row).unwrap()).unwrap();
        assert_eq!(
            json(0),
            serde_json::json!({"price": "NaN", "side": "a\"b", "at": "1970-01-01T00:00:00Z", "levels": [1.5, null]})
        );
        assert_eq!(
            json(1),
            serde_json::json!({"price": "-inf", "side": null, "at": "1970-01-01T00:00:00.000001Z", "levels": null})
        );
    }
}

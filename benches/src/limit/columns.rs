//! The metadata columns of bronze. What the batch holds is moved, what is the same in every row is built once.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, Date32Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Fields};
use tapehouse_kafka::raw_batch::{NO_TIMESTAMP, RawBatch};
use tapehouse_lake::bronze::MetadataArrays;
use uuid::Uuid;

use crate::Outcome;

const MICROS_PER_DAY: i64 = 86_400_000_000;
const UTC: &str = "+00:00";

/// Columns that hold one value in all rows, as long as the longest batch; shorter ones take slices.
pub(super) struct Constants {
    run_id: ArrayRef,
    topic: ArrayRef,
    incarnation: ArrayRef,
    headers: ArrayRef,
    schema_id: ArrayRef,
    raw_value: ArrayRef,
    decode_error: ArrayRef,
}

impl Constants {
    pub(super) fn new(topic: &str, schema_id: u32, rows: usize) -> Self {
        let run_id = Uuid::now_v7().to_string();
        let text = |text: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows)));
        Self {
            run_id: text(&run_id),
            topic: text(topic),
            incarnation: Arc::new(Int32Array::from_value(0, rows)),
            headers: new_null_array(&headers_type(), rows),
            schema_id: Arc::new(Int32Array::from_value(schema_id.cast_signed(), rows)),
            raw_value: new_null_array(&DataType::Binary, rows),
            decode_error: new_null_array(&DataType::Utf8, rows),
        }
    }

    /// The columns of a batch.
    pub(super) fn beside(&self, mut batch: RawBatch) -> Outcome<MetadataArrays> {
        let (rows, sealed_us) = (batch.len(), batch.sealed_at_us);
        if !batch.headers.is_empty() {
            return Err("a record with headers: the limit takes records without".into());
        }
        if batch.timestamps_us.contains(&NO_TIMESTAMP) {
            return Err("a record without a timestamp: the limit takes records with one".into());
        }
        let (bytes, ends, absent) = batch.take_keys();
        if !absent.is_empty() {
            return Err("a record without a key: the limit takes records with one".into());
        }
        let keys = BinaryArray::new(OffsetBuffer::new(ScalarBuffer::from(ends)), Buffer::from(bytes), None);
        let day = i32::try_from(sealed_us.div_euclid(MICROS_PER_DAY))?;
        Ok(MetadataArrays([
            Arc::new(TimestampMicrosecondArray::from_value(sealed_us, rows).with_timezone(UTC)),
            Arc::new(Date32Array::from_value(day, rows)),
            self.run_id.slice(0, rows),
            self.topic.slice(0, rows),
            self.incarnation.slice(0, rows),
            Arc::new(Int32Array::from(batch.partitions)),
            Arc::new(Int64Array::from(batch.offsets)),
            Arc::new(TimestampMicrosecondArray::from(batch.timestamps_us).with_timezone(UTC)),
            Arc::new(keys),
            self.headers.slice(0, rows),
            self.schema_id.slice(0, rows),
            self.raw_value.slice(0, rows),
            self.decode_error.slice(0, rows),
        ]))
    }
}

fn headers_type() -> DataType {
    let entries = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Binary, true),
    ]);
    let entries = Field::new("key_value", DataType::Struct(entries), false);
    DataType::Map(Arc::new(entries), false)
}

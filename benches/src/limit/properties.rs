//! How the file is written: the encodings, compression and statistics of the pipeline's files, so that both do the same work.

use std::collections::HashSet;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::Outcome;

/// Rows looked at to choose encodings, and how often a value must occur among them for a dictionary.
const SAMPLE_ROWS: usize = 2048;
const REPEATS_FOR_DICTIONARY: usize = 4;

/// Writer properties for a file that starts with `sample`.
pub(super) fn of(sample: &RecordBatch) -> Outcome<WriterProperties> {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(Some(1 << 20))
        .set_max_row_group_bytes(Some(64 << 20));
    for (field, array) in sample.schema().fields().iter().zip(sample.columns()) {
        let path = ColumnPath::from(field.name().as_str());
        builder = match array.data_type() {
            DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Timestamp(..) => builder
                .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED)
                .set_column_statistics_enabled(path, EnabledStatistics::Chunk),
            DataType::Utf8 | DataType::Binary | DataType::Float64 => {
                builder.set_column_dictionary_enabled(path, repeats(array.as_ref()))
            }
            _ => builder,
        };
    }
    Ok(builder.build())
}

fn repeats(array: &dyn Array) -> bool {
    let step = array.len().div_ceil(SAMPLE_ROWS).max(1);
    let rows = (0..array.len()).step_by(step).filter(|row| array.is_valid(*row));
    let values: Vec<Vec<u8>> = match array.data_type() {
        DataType::Utf8 => rows
            .map(|row| array.as_string::<i32>().value(row).as_bytes().to_vec())
            .collect(),
        DataType::Binary => rows.map(|row| array.as_binary::<i32>().value(row).to_vec()).collect(),
        DataType::Float64 => rows
            .map(|row| {
                array
                    .as_primitive::<Float64Type>()
                    .value(row)
                    .to_bits()
                    .to_le_bytes()
                    .to_vec()
            })
            .collect(),
        _ => return false,
    };
    let distinct = values.iter().collect::<HashSet<_>>().len();
    values.len() >= distinct * REPEATS_FOR_DICTIONARY
}

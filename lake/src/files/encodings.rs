//! Parquet encodings by column: chosen from the rows at hand, because a dictionary of unique ids costs twice and saves
//! nothing.

use std::collections::HashSet;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::CREATED_BY;

/// Rows looked at to choose encodings.
const SAMPLE_ROWS: usize = 2048;
/// A column gets a dictionary when a sampled value occurs this often on average.
const REPEATS_FOR_DICTIONARY: usize = 4;
/// Row groups are cut at so many bytes of encoded data: what the encoder holds in memory.
const ROW_GROUP_BYTES: usize = 64 << 20;
const ROW_GROUP_ROWS: usize = 1 << 20;

/// Writer properties for a file that starts with `sample`.
///
/// Statistics are kept only where readers prune and bounds are exact: integers, dates and timestamps. Bounds of strings
/// could be truncated in one row group and exact in another, which loses rows in filtered scans.
pub(super) fn properties(sample: &RecordBatch, zstd_level: ZstdLevel) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::ZSTD(zstd_level))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_statistics_truncate_length(None)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES));
    for (field, array) in sample.schema().fields().iter().zip(sample.columns()) {
        builder = column(builder, ColumnPath::from(field.name().as_str()), array.as_ref());
    }
    builder.build()
}

fn column(builder: WriterPropertiesBuilder, path: ColumnPath, array: &dyn Array) -> WriterPropertiesBuilder {
    match array.data_type() {
        DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..) => builder
            .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED)
            .set_column_statistics_enabled(path, EnabledStatistics::Chunk),
        DataType::Utf8 | DataType::Binary | DataType::Float64 => {
            builder.set_column_dictionary_enabled(path, repeats(array))
        }
        _ => builder,
    }
}

/// Whether values repeat often enough for a dictionary.
fn repeats(array: &dyn Array) -> bool {
    let step = array.len().div_ceil(SAMPLE_ROWS).max(1);
    let rows = (0..array.len()).step_by(step).filter(|row| array.is_valid(*row));
    let mut seen = 0;
    let distinct = match array.data_type() {
        DataType::Utf8 => {
            let strings = array.as_string::<i32>();
            rows.inspect(|_| seen += 1)
                .map(|row| strings.value(row).as_bytes())
                .collect::<HashSet<_>>()
                .len()
        }
        DataType::Binary => {
            let binary = array.as_binary::<i32>();
            rows.inspect(|_| seen += 1)
                .map(|row| binary.value(row))
                .collect::<HashSet<_>>()
                .len()
        }
        DataType::Float64 => {
            let floats = array.as_primitive::<Float64Type>();
            rows.inspect(|_| seen += 1)
                .map(|row| floats.value(row).to_bits())
                .collect::<HashSet<_>>()
                .len()
        }
        _ => return false,
    };
    seen >= distinct * REPEATS_FOR_DICTIONARY
}

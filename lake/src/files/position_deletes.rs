//! Position delete files of Iceberg v2, each for one data file.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::metadata_columns::{RESERVED_FIELD_ID_DELETE_FILE_PATH, RESERVED_FIELD_ID_DELETE_FILE_POS};
use iceberg::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use roaring::RoaringBitmap;
use uuid::Uuid;

use super::{CREATED_BY, FileError, described};
use crate::error::LakeError;
use crate::storage::Batch;

/// Columns as the format names them.
const FILE_PATH: &str = "file_path";
const POS: &str = "pos";

static ARROW_SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    let field = |name: &str, data_type, id: i32| {
        let id = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
        Field::new(name, data_type, false).with_metadata(id)
    };
    let path = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Arc::new(Schema::new(vec![
        field(FILE_PATH, path, RESERVED_FIELD_ID_DELETE_FILE_PATH),
        field(POS, DataType::Int64, RESERVED_FIELD_ID_DELETE_FILE_POS),
    ]))
});

/// Parquet bytes of deletes for the rows of the file at `data_file` at `positions`.
fn encode(data_file: &str, positions: &[i64]) -> Result<Vec<u8>, FileError> {
    // The one path is a dictionary, positions are deltas: compression would gain nothing on them.
    let properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_statistics_truncate_length(None)
        .set_offset_index_disabled(true)
        .set_column_dictionary_enabled(ColumnPath::from(POS), false)
        .set_column_encoding(ColumnPath::from(POS), Encoding::DELTA_BINARY_PACKED)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&ARROW_SCHEMA), Some(properties))?;
    let paths = DictionaryArray::new(
        Int32Array::from(vec![0; positions.len()]),
        Arc::new(StringArray::from(vec![data_file])),
    );
    let columns: Vec<ArrayRef> = vec![Arc::new(paths), Arc::new(Int64Array::from(positions.to_vec()))];
    let rows = RecordBatch::try_new(Arc::clone(&ARROW_SCHEMA), columns)
        .map_err(|error| parquet::errors::ParquetError::ArrowError(error.to_string()))?;
    writer.write(&rows)?;
    Ok(writer.into_inner()?)
}

/// Writes deletes for `data_file`, which is under partition spec `spec_id`, at `positions`, which ascend. Durable when `batch` is finished.
///
/// # Errors
/// When the warehouse does not take the file. What is left of it then is in no snapshot; orphan removal finds it.
///
/// # Panics
/// If `positions` is empty or does not ascend: readers rely on the order.
pub async fn write_position_deletes(
    batch: &Batch,
    spec_id: i32,
    data_file: &DataFile,
    positions: &[i64],
) -> Result<DataFile, FileError> {
    assert!(
        !positions.is_empty() && positions.is_sorted_by(|left, right| left < right),
        "positions to delete must ascend"
    );
    let (first, last) = (positions[0], positions[positions.len() - 1]);
    let data_path = data_file.file_path();
    let folder = data_path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = format!("{folder}/{}-deletes.parquet", Uuid::now_v7());
    let bytes = encode(data_path, positions)?;
    let size_bytes = bytes.len() as u64;
    let failed = || LakeError::iceberg(format!("writing {path}"));
    let output = batch.io().new_output(&path).map_err(failed())?;
    output.write(bytes.into()).await.map_err(failed())?;
    let bounds = |pos: i64| {
        HashMap::from([
            (RESERVED_FIELD_ID_DELETE_FILE_PATH, Datum::string(data_path)),
            (RESERVED_FIELD_ID_DELETE_FILE_POS, Datum::long(pos)),
        ])
    };
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::PositionDeletes)
        .file_path(path.clone())
        .file_format(DataFileFormat::Parquet)
        .partition(data_file.partition().clone())
        .partition_spec_id(spec_id)
        .record_count(positions.len() as u64)
        .file_size_in_bytes(size_bytes)
        .lower_bounds(bounds(first))
        .upper_bounds(bounds(last))
        .referenced_data_file(Some(data_path.to_owned()));
    described(&builder).map_err(|error| failed()(error).into())
}

/// Reads the positions that the delete file `deletes` has for the data file at `data_file`.
///
/// # Errors
/// When the file cannot be read, or is no position delete file.
pub async fn read_position_deletes(
    io: &FileIO,
    deletes: &DataFile,
    data_file: &str,
) -> Result<RoaringBitmap, LakeError> {
    let path = deletes.file_path();
    let failed = || LakeError::iceberg(format!("reading {path}"));
    let bytes = io.new_input(path).map_err(failed())?.read().await.map_err(failed())?;
    positions(bytes, data_file).map_err(|source| LakeError::Parquet {
        path: path.to_owned(),
        source,
    })
}

fn positions(file: Bytes, data_file: &str) -> Result<RoaringBitmap, ParquetError> {
    // Paths as plain strings, whatever the writer had.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)?.build()?;
    let mut positions = RoaringBitmap::new();
    for rows in reader {
        let rows = rows?;
        let typed = |name: &str| ParquetError::General(format!("no column {name} as position deletes have it"));
        let column = |name: &str| rows.column_by_name(name).ok_or_else(|| typed(name));
        let paths = column(FILE_PATH)?
            .as_string_opt::<i32>()
            .ok_or_else(|| typed(FILE_PATH))?;
        let of_rows = column(POS)?.as_primitive_opt::<Int64Type>().ok_or_else(|| typed(POS))?;
        for row in (0..rows.num_rows()).filter(|row| paths.value(*row) == data_file) {
            let position = u32::try_from(of_rows.value(row));
            positions.insert(position.map_err(|_| typed(POS))?);
        }
    }
    Ok(positions)
}

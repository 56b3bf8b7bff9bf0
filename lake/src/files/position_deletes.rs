//! Position delete files of Iceberg v2, each for one data file.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use futures::TryStreamExt as _;
use iceberg::io::FileIO;
use iceberg::metadata_columns::{RESERVED_FIELD_ID_DELETE_FILE_PATH, RESERVED_FIELD_ID_DELETE_FILE_POS};
use iceberg::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY, ProjectionMask};
use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use uuid::Uuid;

use super::{CREATED_BY, FileError, described};
use crate::error::LakeError;
use crate::find::leaf_of_id;
use crate::ranged::{RangedFile, ReadError};
use crate::storage::Batch;

/// Columns as the format names them.
const FILE_PATH: &str = "file_path";
const POS: &str = "pos";
/// Rows of a delete file that are read at once.
const BATCH_ROWS: usize = 65_536;

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

/// The positions that the delete file `deletes` names of the data file at `data_file`, in the file's order.
///
/// # Errors
/// When the file cannot be read, or is no position delete file.
pub async fn read_position_deletes(io: &FileIO, deletes: &DataFile, data_file: &str) -> Result<Vec<u64>, LakeError> {
    let positions = positions(io, deletes, data_file).await;
    positions.map_err(|error| error.of_file(deletes.file_path()))
}

async fn positions(io: &FileIO, deletes: &DataFile, data_file: &str) -> Result<Vec<u64>, ReadError> {
    let input = RangedFile::open(io, deletes.file_path(), deletes.file_size_in_bytes()).await?;
    // Paths as plain strings, whatever the writer had.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchStreamBuilder::new_with_options(input, options).await?;
    let parquet = builder.parquet_schema();
    let column = |id: i32, name: &str| {
        let found =
            leaf_of_id(parquet, id).or_else(|| parquet.columns().iter().position(|column| column.name() == name));
        found.ok_or_else(|| ParquetError::General(format!("a position delete file without column {name}")))
    };
    let paths_at = column(RESERVED_FIELD_ID_DELETE_FILE_PATH, FILE_PATH)?;
    let positions_at = column(RESERVED_FIELD_ID_DELETE_FILE_POS, POS)?;
    let mask = ProjectionMask::leaves(parquet, [paths_at, positions_at]);
    let mut batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
    let mut positions = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        take(&batch, paths_at < positions_at, data_file, &mut positions)?;
    }
    Ok(positions)
}

fn take(batch: &RecordBatch, is_path_first: bool, path: &str, positions: &mut Vec<u64>) -> Result<(), ParquetError> {
    let typed = || ParquetError::General("a position delete file with columns of other types".to_owned());
    let (paths, found) = match is_path_first {
        true => (batch.column(0), batch.column(1)),
        false => (batch.column(1), batch.column(0)),
    };
    let paths = paths.as_string_opt::<i32>().ok_or_else(typed)?;
    let found = found.as_primitive_opt::<Int64Type>().ok_or_else(typed)?;
    for (deleted, position) in paths.iter().zip(found.iter()) {
        if deleted == Some(path) {
            let position = position.and_then(|position| u64::try_from(position).ok());
            positions.push(position.ok_or_else(typed)?);
        }
    }
    Ok(())
}

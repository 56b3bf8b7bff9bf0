//! One Parquet file, encoded in memory a row group at a time. Encoding is CPU work without I/O; writing is I/O without CPU.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use bytes::Bytes;
use iceberg::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Literal, Struct};
use parquet::arrow::ArrowWriter;
use parquet::basic::ZstdLevel;
use parquet::errors::ParquetError;
use uuid::Uuid;

use super::{FileLayout, described, encodings, stats::ColumnStats};
use crate::error::LakeError;
use crate::fault::StorageFault;
use crate::storage::{Batch, Warehouse};

/// Level of zstd: higher ones cost CPU that ingest has better use for.
const ZSTD_LEVEL: i32 = 1;

/// What went wrong with a data file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The rows cannot be encoded.
    #[error("Parquet: {0}")]
    Encode(#[from] ParquetError),
    /// The warehouse did not take the file.
    #[error(transparent)]
    Write(#[from] LakeError),
}

impl FileError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match (StorageFault::behind(self), self) {
            (Some(fault), _) => fault.code(),
            (None, Self::Write(error @ LakeError::Storage { .. })) => error.code(),
            (None, _) => "data_file",
        }
    }
}

/// Bytes that the Parquet writer has finished with, in blocks: one growing buffer would be copied and faulted in again and
/// again. Shared, so that they can be taken while the writer is still open.
#[derive(Clone, Debug, Default)]
struct Sink(Arc<Mutex<Blocks>>);

#[derive(Debug, Default)]
struct Blocks {
    full: Vec<Bytes>,
    open: Vec<u8>,
}

const BLOCK_BYTES: usize = 1 << 20;
/// Memory that zstd keeps for a column between its pages; measured, with pages of the usual sizes.
const COMPRESSOR_BYTES: usize = 256 << 10;

impl Sink {
    fn lock(&self) -> MutexGuard<'_, Blocks> {
        // A panic between two appends leaves a file that is never finished, hence never staged.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_full(&self) -> Vec<Bytes> {
        std::mem::take(&mut self.lock().full)
    }

    fn take_open(&self) -> Bytes {
        std::mem::take(&mut self.lock().open).into()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut blocks = self.lock();
        if blocks.open.capacity() == 0 {
            blocks.open = Vec::with_capacity(BLOCK_BYTES);
        }
        let taken = bytes.len().min(BLOCK_BYTES - blocks.open.len());
        blocks.open.extend_from_slice(&bytes[..taken]);
        if blocks.open.len() == BLOCK_BYTES {
            let block = std::mem::take(&mut blocks.open);
            blocks.full.push(block.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An open Parquet file of one date.
pub struct FileEncoder {
    layout: FileLayout,
    date: i32,
    writer: ArrowWriter<Sink>,
    sink: Sink,
    finished: Vec<Bytes>,
    finished_bytes: usize,
    rows: u64,
}

/// A whole file, ready to be written, and what the manifest will say of it.
#[derive(Debug)]
pub struct EncodedFile {
    pub(super) chunks: Vec<Bytes>,
    size_bytes: u64,
    rows: u64,
    date: i32,
    partition_column: &'static str,
    stats: ColumnStats,
    split_offsets: Vec<i64>,
}

impl FileEncoder {
    /// Opens a file whose first rows are `first` (they are not yet written); `date` is in days since 1970-01-01.
    ///
    /// # Errors
    /// When Parquet cannot hold the layout.
    pub fn open(layout: &FileLayout, date: i32, first: &RecordBatch) -> Result<Self, FileError> {
        let sink = Sink::default();
        let level = ZstdLevel::try_new(ZSTD_LEVEL)?;
        let properties = encodings::properties(first, level);
        let writer = ArrowWriter::try_new(sink.clone(), Arc::clone(layout.arrow()), Some(properties))?;
        Ok(Self {
            layout: layout.clone(),
            date,
            writer,
            sink,
            finished: Vec::new(),
            finished_bytes: 0,
            rows: 0,
        })
    }

    /// Date of the rows, in days since 1970-01-01.
    pub fn date(&self) -> i32 {
        self.date
    }

    /// Encodes rows in the file's layout.
    ///
    /// # Errors
    /// When the rows do not fit the layout.
    pub fn push(&mut self, rows: &RecordBatch) -> Result<(), FileError> {
        self.writer.write(rows)?;
        self.rows += rows.num_rows() as u64;
        self.collect();
        Ok(())
    }

    /// Bytes held: finished row groups and the encoded part of the open one.
    pub fn size_bytes(&self) -> usize {
        self.finished_bytes + self.writer.in_progress_size()
    }

    /// Memory held: what [`Self::size_bytes`] counts with the buffers around it.
    pub fn memory_bytes(&self) -> usize {
        self.finished_bytes + BLOCK_BYTES + self.writer.memory_size() + Self::floor_bytes(&self.layout)
    }

    /// Memory of an open file of this layout before its first row: each column has a compressor of its own.
    pub fn floor_bytes(layout: &FileLayout) -> usize {
        layout.arrow().flattened_fields().len() * COMPRESSOR_BYTES
    }

    /// Rows encoded.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    fn collect(&mut self) {
        for block in self.sink.take_full() {
            self.finished_bytes += block.len();
            self.finished.push(block);
        }
    }

    /// Takes what is finished, in order; what [`Self::finish`] gives is then the rest of the file.
    pub(super) fn drain(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.finished)
    }

    /// Closes the file.
    ///
    /// # Errors
    /// When the last row group cannot be encoded.
    pub fn finish(mut self) -> Result<EncodedFile, FileError> {
        let metadata = self.writer.finish()?;
        self.collect();
        let rest = self.sink.take_open();
        self.finished_bytes += rest.len();
        self.finished.push(rest);
        let stats = ColumnStats::of(&metadata, self.layout.schema());
        let split_offsets = metadata
            .row_groups()
            .iter()
            .filter_map(|group| group.file_offset())
            .collect();
        Ok(EncodedFile {
            size_bytes: self.finished_bytes as u64,
            chunks: self.finished,
            rows: self.rows,
            date: self.date,
            partition_column: self.layout.partition_column(),
            stats,
            split_offsets,
        })
    }
}

impl EncodedFile {
    /// Size of the file.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

/// Writes a file durably under `table_location` and describes it for a manifest with partition spec `spec_id`. The name is
/// unique: a second attempt never meets the first one's file.
///
/// # Errors
/// When the warehouse does not take the file. What is left of it then is in no snapshot; orphan removal finds it.
pub async fn write_file(
    warehouse: &Warehouse,
    table_location: &str,
    spec_id: i32,
    file: EncodedFile,
) -> Result<DataFile, FileError> {
    let batch = warehouse.batch(table_location);
    let described = write_file_in(&batch, table_location, spec_id, file).await?;
    batch.finish().await?;
    Ok(described)
}

/// As [`write_file`], as one file of a batch: durable when `batch` is finished.
///
/// # Errors
/// As [`write_file`].
pub async fn write_file_in(
    batch: &Batch,
    table_location: &str,
    spec_id: i32,
    file: EncodedFile,
) -> Result<DataFile, FileError> {
    let place = Place::of_date(table_location, file.partition_column, file.date);
    write_file_at(batch, spec_id, file, place).await
}

/// Where a file belongs.
pub(crate) struct Place {
    /// Its location.
    pub(crate) path: String,
    /// The partition, by the fields of the partition spec.
    pub(crate) partition: Struct,
}

impl Place {
    /// A place that no other file has, of a table that is partitioned by date.
    pub(super) fn of_date(table_location: &str, partition_column: &str, date: i32) -> Self {
        let folder = format!("{partition_column}={}", iceberg::spec::Datum::date(date));
        Self {
            path: format!("{table_location}/data/{folder}/{}.parquet", Uuid::now_v7()),
            partition: Struct::from_iter([Some(Literal::date(date))]),
        }
    }
}

/// As [`write_file_in`], of a table that is not partitioned by date.
pub(crate) async fn write_file_at(
    batch: &Batch,
    spec_id: i32,
    mut file: EncodedFile,
    place: Place,
) -> Result<DataFile, FileError> {
    let path = &place.path;
    let failed = || LakeError::iceberg(format!("writing {path}"));
    let output = batch.io().new_output(path).map_err(failed())?;
    let mut writer = output.writer().await.map_err(failed())?;
    for chunk in std::mem::take(&mut file.chunks) {
        writer.write(chunk).await.map_err(failed())?;
    }
    writer.close().await.map_err(failed())?;
    file_at(place, spec_id, file)
}

/// What a manifest will say of `file`, which was written to `place`.
pub(super) fn file_at(place: Place, spec_id: i32, file: EncodedFile) -> Result<DataFile, FileError> {
    let Place { path, partition } = place;
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::Data)
        .file_path(path.clone())
        .file_format(DataFileFormat::Parquet)
        .partition(partition)
        .partition_spec_id(spec_id)
        .record_count(file.rows)
        .file_size_in_bytes(file.size_bytes)
        .column_sizes(file.stats.sizes)
        .value_counts(file.stats.values)
        .null_value_counts(file.stats.nulls)
        .lower_bounds(file.stats.lower)
        .upper_bounds(file.stats.upper)
        .split_offsets(Some(file.split_offsets));
    described(&builder).map_err(|error| LakeError::iceberg(format!("writing {path}"))(error).into())
}

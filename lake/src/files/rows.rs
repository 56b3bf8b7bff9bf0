//! The rows of a data file that are not deleted, whole, as the table has them now.

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use futures::TryStreamExt as _;
use iceberg::io::FileIO;
use iceberg::spec::DataFile;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use roaring::RoaringBitmap;

use super::FileLayout;
use crate::bronze::shape;
use crate::error::LakeError;
use crate::ranged::{RangedFile, ReadError};

/// Rows handed out at once.
const BATCH_ROWS: usize = 16_384;
/// Files up to this size are read by one request.
const SMALL_FILE_BYTES: u64 = 1 << 20;

/// The live rows of one data file, in its order. Holds one row group.
pub struct LiveRows {
    path: String,
    layout: FileLayout,
    batches: ParquetRecordBatchStream<RangedFile>,
    /// Of each column of the layout its place in what is read; `None`: the file is older than the column.
    places: Vec<Option<usize>>,
}

impl LiveRows {
    /// Opens `file`, of which the rows at `deleted` are not handed out.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn open(
        io: &FileIO,
        file: &DataFile,
        layout: &FileLayout,
        deleted: &RoaringBitmap,
    ) -> Result<Self, LakeError> {
        let path = file.file_path().to_owned();
        let opened = Self::batches(io, file, deleted).await;
        let (batches, ids) = opened.map_err(|error| error.of_file(&path))?;
        let fields = layout.schema().as_struct().fields().iter();
        let places = fields
            .map(|field| ids.iter().position(|id| *id == Some(field.id)))
            .collect();
        Ok(Self {
            path,
            layout: layout.clone(),
            batches,
            places,
        })
    }

    /// The batches with all columns, and the field ids of these.
    async fn batches(
        io: &FileIO,
        file: &DataFile,
        deleted: &RoaringBitmap,
    ) -> Result<(ParquetRecordBatchStream<RangedFile>, Vec<Option<i32>>), ReadError> {
        let reader = RangedFile::open(io, file.file_path(), file.file_size_in_bytes()).await?;
        // The file's Arrow schema may say "dictionary"; the plain types of the Parquet schema are what is wanted.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let reader = reader.whole_up_to(SMALL_FILE_BYTES);
        let mut builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await?;
        let roots = builder.parquet_schema().root_schema().get_fields().iter();
        let ids = roots
            .map(|root| root.get_basic_info())
            .map(|info| info.has_id().then(|| info.id()))
            .collect();
        if !deleted.is_empty() {
            let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
            builder = builder.with_row_selection(all_but(deleted, rows));
        }
        Ok((builder.with_batch_size(BATCH_ROWS).build()?, ids))
    }

    /// The next rows; `None` after the last. Decodes: call it from a thread for CPU work, with `Handle::block_on`.
    ///
    /// # Errors
    /// When they cannot be read, or are of a type that does not become the table's.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, LakeError> {
        let read = self.batches.try_next().await;
        let read = read.map_err(|error| ReadError::Parquet(error).of_file(&self.path))?;
        read.map(|rows| self.as_table_has_them(&rows)).transpose()
    }

    fn as_table_has_them(&self, read: &RecordBatch) -> Result<RecordBatch, LakeError> {
        let failed = |reason: String| ReadError::Parquet(ParquetError::ArrowError(reason)).of_file(&self.path);
        let arrow = self.layout.arrow();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(arrow.fields().len());
        for (field, place) in arrow.fields().iter().zip(&self.places) {
            let Some(place) = place else {
                columns.push(new_null_array(field.data_type(), read.num_rows()));
                continue;
            };
            let column = read.column(*place);
            let shaped = shape(column, field.data_type());
            columns.push(shaped.ok_or_else(|| {
                let (name, found, wanted) = (field.name(), column.data_type(), field.data_type());
                failed(format!("column {name} is {found}, which does not become {wanted}"))
            })?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(read.num_rows()));
        RecordBatch::try_new_with_options(arrow.clone(), columns, &options).map_err(|error| failed(error.to_string()))
    }
}

/// All of `rows` rows but those at `deleted`.
fn all_but(deleted: &RoaringBitmap, rows: usize) -> RowSelection {
    let positions = || deleted.iter().map(|position| position as usize);
    let starts = std::iter::once(0).chain(positions().map(|position| position + 1));
    let kept = starts.zip(positions().chain([rows])).map(|(start, end)| start..end);
    RowSelection::from_consecutive_ranges(kept, rows)
}

//! The live rows of a table version, file by file: those that no position delete names, in the names and types of the table as it is
//! now.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::{ArrowError, SchemaRef as ArrowSchemaRef};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::io::FileIO;
use iceberg::spec::DataFile;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, ArrowReaderOptions, RowFilter};
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};

use crate::files::read_position_deletes;
use crate::lake::Lake;
use crate::ranged::{RangedFile, ReadError};
use crate::silver::source::SourceError;
use crate::silver::source::columns::{Columns, ColumnsInFile};
use crate::silver::source::deletes::DeletedRows;
use crate::table::LoadedTable;

const BATCH_ROWS: usize = 65_536;
/// Files whose footers, or whole content where it is small, are asked for at once.
const FILES_AHEAD: usize = 8;
/// Files up to this size are read by one request.
const SMALL_FILE_BYTES: u64 = 1 << 20;

/// A data file and the position deletes that may name rows of it.
#[derive(Clone, Debug)]
pub(crate) struct LiveFile {
    pub file: DataFile,
    pub deletes: Vec<DataFile>,
}

/// Which rows of a batch pass.
type Test = dyn Fn(&RecordBatch) -> Result<BooleanArray, ArrowError> + Send + Sync;

/// Which rows are wanted, by some of their columns: the others are decoded only of the rows that pass.
#[derive(Clone)]
pub(crate) struct Only {
    pub columns: &'static [&'static str],
    pub test: Arc<Test>,
}

/// What all files are read with.
#[derive(Clone)]
struct Reading {
    io: FileIO,
    columns: Arc<Columns>,
    only: Option<(Arc<Columns>, Only)>,
}

struct OpenFile {
    number: usize,
    path: String,
    columns: ColumnsInFile,
    batches: ParquetRecordBatchStream<RangedFile>,
}

/// Rows of some files of a table. Memory: one row group of the wanted columns, the footers of a few files, the deleted rows of these.
pub(crate) struct LiveRows {
    columns: Arc<Columns>,
    files: BoxStream<'static, Result<OpenFile, SourceError>>,
    open: Option<OpenFile>,
    /// Is told how many files are read.
    done: Box<dyn FnMut(u64) + Send>,
    files_done: u64,
}

impl LiveRows {
    /// Prepares to read `columns` of `files`, which are of `table`.
    pub fn of(
        lake: &Lake,
        table: &LoadedTable,
        files: Vec<LiveFile>,
        columns: &[&str],
        only: Option<Only>,
    ) -> Result<Self, SourceError> {
        let reading = Reading {
            io: lake.io_of(table),
            columns: Arc::new(Columns::new(table, columns)?),
            only: match only {
                Some(only) => Some((Arc::new(Columns::new(table, only.columns)?), only)),
                None => None,
            },
        };
        let columns = Arc::clone(&reading.columns);
        let open = move |(number, file)| open(reading.clone(), number, file);
        Ok(Self {
            columns,
            files: stream::iter(files.into_iter().enumerate())
                .map(open)
                .buffered(FILES_AHEAD)
                .boxed(),
            open: None,
            done: Box::new(|_| {}),
            files_done: 0,
        })
    }

    /// Tells `done` after each file how many are read.
    pub fn telling(self, done: impl FnMut(u64) + Send + 'static) -> Self {
        Self {
            done: Box::new(done),
            ..self
        }
    }

    /// The schema of all batches: the wanted columns that the table has.
    pub fn schema(&self) -> &ArrowSchemaRef {
        self.columns.schema()
    }

    /// The next rows with the number of their file, never none; `None` after the last. Decodes: call it from a thread for CPU work.
    pub async fn next(&mut self) -> Result<Option<(usize, RecordBatch)>, SourceError> {
        loop {
            if self.open.is_none() {
                match self.files.try_next().await? {
                    None => return Ok(None),
                    opened => self.open = opened,
                }
            }
            let Some(open) = &mut self.open else { continue };
            let failed = |error| ReadError::Parquet(error).of_file(&open.path);
            match open.batches.try_next().await.map_err(failed)? {
                None => {
                    self.open = None;
                    self.files_done += 1;
                    (self.done)(self.files_done);
                }
                Some(batch) if batch.num_rows() == 0 => {}
                Some(batch) => {
                    let rows = self.columns.rows(&open.path, &open.columns, &batch)?;
                    return Ok(Some((open.number, rows)));
                }
            }
        }
    }
}

async fn open(reading: Reading, number: usize, live: LiveFile) -> Result<OpenFile, SourceError> {
    let path = live.file.file_path().to_owned();
    let mut deleted = Vec::new();
    for deletes in &live.deletes {
        deleted.extend(read_position_deletes(&reading.io, deletes, &path).await?);
    }
    let opened = batches(&reading, &live.file, &DeletedRows::of(deleted)).await;
    let (columns, batches) = opened.map_err(|error| error.of_file(&path))?;
    Ok(OpenFile {
        number,
        path,
        columns,
        batches,
    })
}

async fn batches(
    reading: &Reading,
    file: &DataFile,
    deleted: &DeletedRows,
) -> Result<(ColumnsInFile, ParquetRecordBatchStream<RangedFile>), ReadError> {
    let input = RangedFile::open(&reading.io, file.file_path(), file.file_size_in_bytes()).await?;
    // The file's Arrow schema may say "dictionary"; the plain types of the Parquet schema are what is wanted.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let input = input.whole_up_to(SMALL_FILE_BYTES);
    let mut builder = ParquetRecordBatchStreamBuilder::new_with_options(input, options).await?;
    let columns = reading.columns.in_file(builder.parquet_schema());
    let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
    if let Some(kept) = deleted.selection(0, rows) {
        builder = builder.with_row_selection(kept);
    }
    if let Some((tested, only)) = &reading.only {
        let in_file = tested.in_file(builder.parquet_schema());
        let (mask, test) = (in_file.mask.clone(), Arc::clone(&only.test));
        let (tested, path) = (Arc::clone(tested), file.file_path().to_owned());
        let predicate = ArrowPredicateFn::new(mask, move |batch| {
            let rows = tested.rows(&path, &in_file, &batch);
            test(&rows.map_err(|error| ArrowError::ExternalError(Box::new(error)))?)
        });
        builder = builder.with_row_filter(RowFilter::new(vec![Box::new(predicate)]));
    }
    let batches = builder
        .with_projection(columns.mask.clone())
        .with_batch_size(BATCH_ROWS)
        .build()?;
    Ok((columns, batches))
}

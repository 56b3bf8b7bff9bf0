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
use roaring::RoaringBitmap;

use crate::files::FileLayout;
use crate::lake::Lake;
use crate::ranged::{RangedFile, ReadError};
use crate::silver::source::columns::{Columns, ColumnsInFile};
use crate::silver::source::deletes::DeletedRows;
use crate::silver::source::{SourceError, of_day};
use crate::table::LoadedTable;

/// Rows handed out at once at most.
const BATCH_ROWS: usize = 65_536;
/// The same where all columns are read, to be written again.
const WHOLE_BATCH_ROWS: usize = 16_384;
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

/// Rows of a data file that are not live.
enum Deleted {
    /// Those that these delete files name.
    ByFiles(Vec<DataFile>),
    /// These, as is known already.
    Known(DeletedRows),
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
    batch_rows: usize,
}

struct OpenFile {
    number: usize,
    path: String,
    columns: ColumnsInFile,
    batches: ParquetRecordBatchStream<RangedFile>,
}

/// Rows of some files of a table, file by file. Memory: one row group of the wanted columns, the footers of a few files (files of up to
/// 1 MiB whole), the deleted rows of these.
pub struct LiveRows {
    columns: Arc<Columns>,
    files: BoxStream<'static, Result<OpenFile, SourceError>>,
    open: Option<OpenFile>,
    /// Is told how many files are read.
    done: Box<dyn FnMut(u64) + Send>,
    files_done: u64,
}

impl LiveRows {
    /// Prepares to read the rows of `date`, in days since 1970-01-01, out of the current snapshot of `table`, which is partitioned by a
    /// date, whoever wrote them: of their columns those of `columns` that the table has, in ascending order of data sequence numbers.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn of_day(lake: &Lake, table: &LoadedTable, columns: &[&str], date: i32) -> Result<Self, SourceError> {
        let files = of_day(lake, &lake.io_of(table), table, date).await?;
        Self::of(lake, table, files, columns, None)
    }

    /// Prepares to read all columns of `file`, laid out as `layout`, but not its rows at `deleted`.
    pub(crate) fn whole(io: FileIO, file: &DataFile, layout: &FileLayout, deleted: &RoaringBitmap) -> Self {
        let reading = Reading {
            io,
            columns: Arc::new(Columns::all(layout)),
            only: None,
            batch_rows: WHOLE_BATCH_ROWS,
        };
        let deleted = DeletedRows::of(deleted.iter().map(u64::from).collect());
        Self::open(reading, [(file.clone(), Deleted::Known(deleted))])
    }

    /// Prepares to read `columns` of `files`, which are of `table`.
    pub(crate) fn of(
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
            batch_rows: BATCH_ROWS,
        };
        let files = files
            .into_iter()
            .map(|live| (live.file, Deleted::ByFiles(live.deletes)));
        Ok(Self::open(reading, files))
    }

    fn open<I>(reading: Reading, files: I) -> Self
    where
        I: IntoIterator<Item = (DataFile, Deleted), IntoIter: Send + 'static>,
    {
        let columns = Arc::clone(&reading.columns);
        let open = move |(number, (file, deleted))| open(reading.clone(), number, file, deleted);
        Self {
            columns,
            files: stream::iter(files.into_iter().enumerate())
                .map(open)
                .buffered(FILES_AHEAD)
                .boxed(),
            open: None,
            done: Box::new(|_| {}),
            files_done: 0,
        }
    }

    /// Tells `done` after each file how many are read.
    pub(crate) fn telling(self, done: impl FnMut(u64) + Send + 'static) -> Self {
        Self {
            done: Box::new(done),
            ..self
        }
    }

    /// The schema of all batches: the wanted columns that the table has.
    pub fn schema(&self) -> &ArrowSchemaRef {
        self.columns.schema()
    }

    /// The next rows with the number of their file, 65,536 at most and never none; `None` after the last. Decodes: call it from a thread
    /// for CPU work, with `Handle::block_on`.
    ///
    /// # Errors
    /// [`SourceError`]; then read anew.
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

async fn open(reading: Reading, number: usize, file: DataFile, deleted: Deleted) -> Result<OpenFile, SourceError> {
    let path = file.file_path().to_owned();
    let deleted = match deleted {
        Deleted::Known(rows) => rows,
        Deleted::ByFiles(files) => DeletedRows::read(&reading.io, &path, &files).await?,
    };
    let opened = batches(&reading, &file, &deleted).await;
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
        .with_batch_size(reading.batch_rows)
        .build()?;
    Ok((columns, batches))
}

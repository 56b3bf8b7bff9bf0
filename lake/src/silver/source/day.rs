//! The rows of one day of a table that is partitioned by a date: all that are live, whoever wrote them.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef as ArrowSchemaRef;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::io::FileIO;

use super::columns::{Columns, ColumnsInFile};
use super::deletes::DeletedRows;
use super::error::SourceError;
use super::file::{Batches, FILES_AHEAD, Footer};
use super::select::{Candidate, of_day};
use crate::error::LakeError;
use crate::lake::Lake;
use crate::ranged::ReadError;
use crate::table::LoadedTable;

/// The rows of one day out of the current snapshot, file by file in ascending order of data sequence numbers.
///
/// Memory: one row group, and the footers and deletes of a few files (files of up to 1 MiB whole).
pub struct DayRows {
    columns: Arc<Columns>,
    files: BoxStream<'static, Result<OpenFile, LakeError>>,
    open: Option<OpenFile>,
    batches: Option<Batches>,
}

/// A data file with its footer and its deletes read.
struct OpenFile {
    path: String,
    footer: Footer,
    columns: ColumnsInFile,
    deleted: DeletedRows,
    /// The row group to be read next, and the position of its first row in the file.
    group: usize,
    first: u64,
}

impl OpenFile {
    async fn open(io: FileIO, columns: Arc<Columns>, candidate: Candidate) -> Result<Self, LakeError> {
        let path = candidate.file.file_path().to_owned();
        let footer = Footer::read(&io, &candidate.file).await;
        let footer = footer.map_err(|error| error.of_file(&path))?;
        Ok(Self {
            columns: columns.in_file(footer.metadata.parquet_schema()),
            deleted: DeletedRows::read(&io, &path, &candidate.deletes).await?,
            path,
            footer,
            group: 0,
            first: 0,
        })
    }

    /// The live rows of the next row group; `None` after the last.
    fn next_group(&mut self) -> Result<Option<Batches>, LakeError> {
        let Some(group) = self.footer.metadata.metadata().row_groups().get(self.group) else {
            return Ok(None);
        };
        let rows = usize::try_from(group.num_rows()).unwrap_or_default();
        let mut builder = self.footer.row_group(self.group);
        builder = builder.with_projection(self.columns.mask.clone());
        if let Some(kept) = self.deleted.selection(self.first, rows) {
            builder = builder.with_row_selection(kept);
        }
        self.group += 1;
        self.first += rows as u64;
        let batches = builder.build();
        batches
            .map(Some)
            .map_err(|error| ReadError::Parquet(error).of_file(&self.path))
    }
}

impl DayRows {
    /// Prepares to read the rows of `date`, in days since 1970-01-01; of their columns those of `columns` that the table has.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn of(lake: &Lake, table: &LoadedTable, columns: &[&str], date: i32) -> Result<Self, SourceError> {
        let io = lake.io_of(table);
        let columns = Arc::new(Columns::new(table, columns)?);
        let candidates = of_day(lake, &io, table, date).await?;
        let reading = Arc::clone(&columns);
        let open = move |candidate| OpenFile::open(io.clone(), Arc::clone(&reading), candidate);
        Ok(Self {
            columns,
            files: stream::iter(candidates).map(open).buffered(FILES_AHEAD).boxed(),
            open: None,
            batches: None,
        })
    }

    /// The schema of all batches: the wanted columns, named and typed as the table has them now.
    pub fn schema(&self) -> &ArrowSchemaRef {
        self.columns.schema()
    }

    /// The next rows, 65,536 at most and never none; `None` after the last. Decodes: call it from a thread for CPU work, with
    /// `Handle::block_on`.
    ///
    /// # Errors
    /// [`SourceError`]; then read anew.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, SourceError> {
        loop {
            if self.open.is_none() {
                self.open = self.files.try_next().await?;
            }
            let Some(open) = &mut self.open else {
                return Ok(None);
            };
            if let Some(batches) = &mut self.batches {
                let read = batches.try_next().await;
                match read.map_err(|error| ReadError::Parquet(error).of_file(&open.path))? {
                    None => self.batches = None,
                    Some(batch) if batch.num_rows() == 0 => {}
                    Some(batch) => return self.columns.rows(&open.path, &open.columns, &batch).map(Some),
                }
                continue;
            }
            self.batches = open.next_group()?;
            if self.batches.is_none() {
                self.open = None;
            }
        }
    }
}

//! The wanted rows, batch by batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef as ArrowSchemaRef;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tapehouse_core::offsets::Ranges;

use super::COORDINATES;
use super::columns::Columns;
use super::error::SourceError;
use super::file::{Batches, FILES_AHEAD, OpenFile, Reading};
use super::select::select;
use super::wanted::Wanted;
use crate::error::LakeError;
use crate::lake::Lake;
use crate::ranged::ReadError;
use crate::table::LoadedTable;

/// What reading took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceStats {
    /// Live data files of the bronze table.
    pub files_live: u64,
    /// Those of them that could not be left out and were opened.
    pub files_read: u64,
    /// Files whose coordinates were read to tell whether they can be left out.
    pub files_looked_into: u64,
    /// Rows handed out.
    pub rows_read: u64,
}

/// The rows of a bronze table at given offsets: file by file in ascending order of data sequence numbers, rows of a file in its order.
///
/// Memory: one row group, and the footers of a few files (files of up to 1 MiB whole).
pub struct BronzeRows {
    reading: Reading,
    files: BoxStream<'static, Result<Option<OpenFile>, SourceError>>,
    open: Option<OpenFile>,
    batches: Option<Batches>,
    stats: SourceStats,
}

impl BronzeRows {
    /// Prepares to read the rows of `wanted`, ranges by incarnation, from the current snapshot of `table`; of their columns those of
    /// `columns` that the table has. Reads manifests, and coordinates of data files where their bounds leave many: decodes as
    /// [`Self::next`] does.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn of(
        lake: &Lake,
        table: &LoadedTable,
        columns: &[&str],
        wanted: BTreeMap<i32, Ranges>,
    ) -> Result<Self, SourceError> {
        let schema = table.metadata().current_schema();
        // A file without them holds rows of another engine; a table without them is no bronze table.
        if let Some(missing) = COORDINATES.iter().find(|name| schema.field_by_name(name).is_none()) {
            return Err(SourceError::Lake(LakeError::Unusable {
                table: table.ident().clone(),
                reason: format!("it has no column {missing}"),
            }));
        }
        let reading = Reading {
            io: lake.io_of(table),
            schema: Arc::clone(schema),
            columns: Arc::new(Columns::new(table, columns)?),
            wanted: Arc::new(Wanted::new(wanted)),
        };
        let selection = select(lake, &reading.io, table, &reading.wanted).await?;
        let opening = reading.clone();
        let open = move |candidate| OpenFile::open(opening.clone(), candidate);
        Ok(Self {
            files: stream::iter(selection.candidates)
                .map(open)
                .buffered(FILES_AHEAD)
                .boxed(),
            reading,
            open: None,
            batches: None,
            stats: SourceStats {
                files_live: selection.files_live,
                files_looked_into: selection.files_looked_into,
                ..SourceStats::default()
            },
        })
    }

    /// The schema of all batches: the wanted columns, named and typed as the table has them now.
    pub fn schema(&self) -> &ArrowSchemaRef {
        self.reading.columns.schema()
    }

    /// What reading took so far.
    pub fn stats(&self) -> SourceStats {
        self.stats
    }

    /// The next rows, 65,536 at most and never none; `None` after the last. Decodes: call it from a thread for CPU work, with
    /// `Handle::block_on`.
    ///
    /// # Errors
    /// [`SourceError`]; then read anew.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, SourceError> {
        loop {
            if self.open.is_none() {
                match self.files.try_next().await? {
                    None => return Ok(None),
                    Some(opened) => {
                        self.stats.files_read += 1;
                        self.open = opened;
                    }
                }
            }
            let Some(open) = &mut self.open else { continue };
            let failed = |error| ReadError::Parquet(error).of_file(open.path());
            if let Some(batches) = &mut self.batches {
                match batches.try_next().await.map_err(failed)? {
                    None => self.batches = None,
                    Some(batch) if batch.num_rows() == 0 => {}
                    Some(batch) => {
                        self.stats.rows_read += batch.num_rows() as u64;
                        let rows = self.reading.columns.rows(open.path(), open.columns(), &batch)?;
                        return Ok(Some(rows));
                    }
                }
                continue;
            }
            let path = open.path().to_owned();
            let next = open.next_group(&self.reading.wanted);
            self.batches = next.map_err(|error| ReadError::Parquet(error).of_file(&path))?;
            if self.batches.is_none() {
                self.open = None;
            }
        }
    }
}

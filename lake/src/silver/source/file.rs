//! One data file that is open: which of its row groups are read, and which of their rows.

use std::collections::VecDeque;
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{ManifestEntry, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, RowFilter};
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;

use super::COORDINATES;
use super::bounds::{Bounds, has_no_nulls};
use super::columns::{Columns, ColumnsInFile};
use super::deletes::DeletedRows;
use super::error::SourceError;
use super::select::Candidate;
use super::wanted::Wanted;
use crate::find::leaf;
use crate::ranged::{RangedFile, ReadError};

const BATCH_ROWS: usize = 65_536;
/// Files whose footers, or whole content where it is small, are asked for at once.
pub(super) const FILES_AHEAD: usize = 8;
/// Files up to this size are read by one request.
const SMALL_FILE_BYTES: u64 = 1 << 20;

/// Batches of one row group.
pub(super) type Batches = ParquetRecordBatchStream<RangedFile>;

/// A row group that may hold wanted rows.
struct Group {
    index: usize,
    /// Position of its first row in the file.
    first: u64,
    rows: usize,
    /// Whether all of its rows are wanted.
    is_covered: bool,
}

/// A data file with its footer read.
pub(super) struct OpenFile {
    path: String,
    footer: Footer,
    coordinates: [usize; 3],
    columns: ColumnsInFile,
    deleted: DeletedRows,
    groups: VecDeque<Group>,
}

/// What all files of one read are read with.
#[derive(Clone)]
pub(super) struct Reading {
    pub io: FileIO,
    pub schema: Arc<Schema>,
    pub columns: Arc<Columns>,
    pub wanted: Arc<Wanted>,
}

impl OpenFile {
    /// Opens a data file; `None` where its rows have no coordinates: other engines wrote them.
    pub async fn open(reading: Reading, candidate: Candidate) -> Result<Option<Self>, SourceError> {
        let path = candidate.file.file_path().to_owned();
        let footer = Footer::read(&reading.io, &candidate.file).await;
        let footer = footer.map_err(|error| error.of_file(&path))?;
        let Some(coordinates) = footer.coordinates(&reading.schema) else {
            return Ok(None);
        };
        let mut groups = VecDeque::new();
        let mut first = 0;
        for (index, group) in footer.metadata.metadata().row_groups().iter().enumerate() {
            let rows = usize::try_from(group.num_rows()).unwrap_or_default();
            let bounds = Bounds::of_row_group(group, &coordinates);
            if rows > 0 && reading.wanted.meets(&bounds) {
                groups.push_back(Group {
                    index,
                    first,
                    rows,
                    is_covered: reading.wanted.covers(&bounds) && has_no_nulls(group, &coordinates),
                });
            }
            first += rows as u64;
        }
        let deleted = match groups.is_empty() {
            true => DeletedRows::default(),
            false => DeletedRows::read(&reading.io, &path, &candidate.delete_files()).await?,
        };
        Ok(Some(Self {
            columns: reading.columns.in_file(footer.metadata.parquet_schema()),
            path,
            footer,
            coordinates,
            deleted,
            groups,
        }))
    }

    /// Location of the file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where the columns are in its batches.
    pub fn columns(&self) -> &ColumnsInFile {
        &self.columns
    }

    /// The wanted rows of the next row group; `None` after the last.
    pub fn next_group(&mut self, wanted: &Arc<Wanted>) -> Result<Option<Batches>, ParquetError> {
        let Some(group) = self.groups.pop_front() else {
            return Ok(None);
        };
        let builder = self.footer.row_group(group.index);
        let mut builder = builder.with_projection(self.columns.mask.clone());
        if let Some(kept) = self.deleted.selection(group.first, group.rows) {
            builder = builder.with_row_selection(kept);
        }
        if !group.is_covered {
            builder = builder.with_row_filter(self.filter(wanted));
        }
        builder.build().map(Some)
    }

    /// Lets the wanted rows pass: only of these are the other columns decoded.
    fn filter(&self, wanted: &Arc<Wanted>) -> RowFilter {
        let mask = ProjectionMask::leaves(self.footer.metadata.parquet_schema(), self.coordinates);
        let places = Footer::places(&self.coordinates);
        let wanted = Arc::clone(wanted);
        let predicate = ArrowPredicateFn::new(mask, move |batch| wanted.rows(places.map(|place| batch.column(place))));
        RowFilter::new(vec![Box::new(predicate)])
    }
}

/// A data file's footer.
pub(crate) struct Footer {
    file: RangedFile,
    pub metadata: ArrowReaderMetadata,
}

impl Footer {
    pub async fn read(io: &FileIO, entry: &ManifestEntry) -> Result<Self, ReadError> {
        let file = RangedFile::open(io, entry.file_path(), entry.file_size_in_bytes()).await?;
        let mut file = file.whole_up_to(SMALL_FILE_BYTES);
        // The file's Arrow schema may say "dictionary"; the plain types of the Parquet schema are what is wanted.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load_async(&mut file, options).await?;
        Ok(Self { file, metadata })
    }

    /// The columns of the coordinates; `None` where one is not there.
    pub fn coordinates(&self, schema: &Schema) -> Option<[usize; 3]> {
        let [incarnation, partition, offset] =
            COORDINATES.map(|name| leaf(self.metadata.parquet_schema(), schema, name));
        Some([incarnation?, partition?, offset?])
    }

    /// Where these columns are in batches of them alone: batches have the file's order.
    pub fn places(coordinates: &[usize; 3]) -> [usize; 3] {
        coordinates.map(|leaf| coordinates.iter().filter(|other| **other < leaf).count())
    }

    /// Reads one row group.
    pub fn row_group(&self, index: usize) -> ParquetRecordBatchStreamBuilder<RangedFile> {
        ParquetRecordBatchStreamBuilder::new_with_metadata(self.file.clone(), self.metadata.clone())
            .with_row_groups(vec![index])
            .with_batch_size(BATCH_ROWS)
    }

    /// Reads the coordinates of one row group.
    pub fn coordinates_of(
        &self,
        index: usize,
        coordinates: &[usize; 3],
    ) -> ParquetRecordBatchStreamBuilder<RangedFile> {
        let mask = ProjectionMask::leaves(self.metadata.parquet_schema(), *coordinates);
        self.row_group(index).with_projection(mask)
    }
}

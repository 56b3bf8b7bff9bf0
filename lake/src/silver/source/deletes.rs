//! The rows of a data file that another engine has deleted by position.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use futures::TryStreamExt as _;
use iceberg::io::FileIO;
use iceberg::metadata_columns::{RESERVED_FIELD_ID_DELETE_FILE_PATH, RESERVED_FIELD_ID_DELETE_FILE_POS};
use iceberg::spec::ManifestEntry;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::errors::ParquetError;
use parquet::schema::types::SchemaDescriptor;

use crate::error::LakeError;
use crate::ranged::{RangedFile, ReadError};

const BATCH_ROWS: usize = 65_536;

/// Positions of deleted rows of one data file, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DeletedRows(Vec<u64>);

impl DeletedRows {
    /// Reads the positions that `deletes` name of the data file at `path`.
    pub async fn read(io: &FileIO, path: &str, deletes: &[Arc<ManifestEntry>]) -> Result<Self, LakeError> {
        let mut positions = Vec::new();
        for entry in deletes {
            let read = read_positions(io, entry, path, &mut positions);
            read.await.map_err(|error| error.of_file(entry.file_path()))?;
        }
        positions.sort_unstable();
        positions.dedup();
        Ok(Self(positions))
    }

    /// The rows that are left of `rows` rows from position `first` on; `None` where none of them is deleted.
    pub fn selection(&self, first: u64, rows: usize) -> Option<RowSelection> {
        let end = first + rows as u64;
        let from = self.0.partition_point(|position| *position < first);
        let to = self.0.partition_point(|position| *position < end);
        let deleted = &self.0[from..to];
        if deleted.is_empty() {
            return None;
        }
        let within = |position: u64| usize::try_from(position - first).unwrap_or(rows);
        let ends = deleted.iter().map(|position| within(*position)).chain([rows]);
        let starts = [0]
            .into_iter()
            .chain(deleted.iter().map(|position| within(*position) + 1));
        let kept = starts.zip(ends).map(|(start, end)| start..end);
        Some(RowSelection::from_consecutive_ranges(kept, rows))
    }
}

async fn read_positions(
    io: &FileIO,
    entry: &ManifestEntry,
    path: &str,
    positions: &mut Vec<u64>,
) -> Result<(), ReadError> {
    let input = RangedFile::open(io, entry.file_path(), entry.file_size_in_bytes()).await?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchStreamBuilder::new_with_options(input, options).await?;
    let parquet = builder.parquet_schema();
    let column = |id: i32, name: &str| {
        let found = column(parquet, id).or_else(|| parquet.columns().iter().position(|column| column.name() == name));
        found.ok_or_else(|| ParquetError::General(format!("a position delete file without column {name}")))
    };
    let paths_at = column(RESERVED_FIELD_ID_DELETE_FILE_PATH, "file_path")?;
    let positions_at = column(RESERVED_FIELD_ID_DELETE_FILE_POS, "pos")?;
    let mask = ProjectionMask::leaves(parquet, [paths_at, positions_at]);
    let mut batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
    while let Some(batch) = batches.try_next().await? {
        take(&batch, paths_at < positions_at, path, positions)?;
    }
    Ok(())
}

fn column(parquet: &SchemaDescriptor, id: i32) -> Option<usize> {
    parquet.columns().iter().position(|column| {
        let info = column.self_type().get_basic_info();
        info.has_id() && info.id() == id
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_part_of_the_file() {
        let deleted = DeletedRows(vec![0, 3, 4, 9, 10, 19]);
        let left = |first: u64, rows: usize| {
            let selection = deleted.selection(first, rows)?;
            let (mut at, mut left) = (first, Vec::new());
            for selector in selection.iter() {
                let end = at + selector.row_count as u64;
                if !selector.skip {
                    left.extend(at..end);
                }
                at = end;
            }
            Some(left)
        };
        assert_eq!(left(0, 10), Some(vec![1, 2, 5, 6, 7, 8]));
        assert_eq!(left(10, 10), Some((11..19).collect()));
        assert_eq!(left(20, 10), None);
        assert_eq!(left(3, 2), Some(vec![]));
        assert_eq!(left(5, 4), None);
    }
}

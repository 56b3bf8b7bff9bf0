//! The rows of a data file that are deleted by position.

use iceberg::io::FileIO;
use iceberg::spec::DataFile;
use parquet::arrow::arrow_reader::RowSelection;

use crate::error::LakeError;
use crate::files::read_position_deletes;

/// Positions of deleted rows of one data file, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeletedRows(Vec<u64>);

impl DeletedRows {
    /// Positions in any order.
    pub fn of(mut positions: Vec<u64>) -> Self {
        positions.sort_unstable();
        positions.dedup();
        Self(positions)
    }

    /// Reads the positions that `deletes` name of the data file at `path`.
    pub async fn read(io: &FileIO, path: &str, deletes: &[DataFile]) -> Result<Self, LakeError> {
        let mut positions = Vec::new();
        for file in deletes {
            positions.extend(read_position_deletes(io, file, path).await?);
        }
        Ok(Self::of(positions))
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

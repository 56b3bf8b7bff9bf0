//! The live data files of a keyed table, numbered, with the rows of each that are deleted; and where the rows of those are that were
//! compacted away, for the key index still names them.

use std::collections::HashMap;

use iceberg::spec::DataFile;
use roaring::RoaringBitmap;

use crate::days::partition_date;
use crate::index::Location;

/// A data file as the table has it.
#[derive(Clone, Debug)]
pub(super) struct BookedFile {
    pub(super) file: DataFile,
    /// Positions of deleted rows.
    pub(super) deleted: RoaringBitmap,
    /// Location of the delete file that says so.
    pub(super) delete_file: Option<String>,
}

impl BookedFile {
    /// The date that its rows are of, in days since 1970-01-01.
    pub(super) fn date(&self) -> Option<i32> {
        partition_date(&self.file)
    }

    /// Rows that are not deleted.
    pub(super) fn live_rows(&self) -> u64 {
        self.file.record_count().saturating_sub(self.deleted.len())
    }
}

/// Where the rows of a file went that is no longer live: in their order, without those that were deleted, behind those of other files.
#[derive(Clone, Debug)]
pub(super) struct Moved {
    /// The file that they are in; `None` where all of them were deleted.
    pub(super) to: Option<u32>,
    /// Position of the first one there.
    pub(super) base: u32,
    /// Rows that were deleted when they went.
    pub(super) gone: RoaringBitmap,
}

impl Moved {
    /// Where a row is by now that was at `position`.
    pub(super) fn position(&self, position: u32) -> u32 {
        let before = u32::try_from(self.gone.rank(position)).unwrap_or(u32::MAX);
        self.base.saturating_add(position.saturating_sub(before))
    }
}

/// All live data files by number. Numbers are given anew whenever a table is opened; the key index names files by them.
#[derive(Debug, Default)]
pub(super) struct FileBook {
    files: HashMap<u32, BookedFile>,
    next: u32,
    moved: HashMap<u32, Moved>,
}

impl FileBook {
    /// Enters a file; its number.
    pub(super) fn add(&mut self, file: BookedFile) -> u32 {
        let number = self.next;
        self.next += 1;
        self.files.insert(number, file);
        number
    }

    /// The file of that number.
    ///
    /// # Panics
    /// If no live file has it.
    pub(super) fn file(&self, number: u32) -> &BookedFile {
        &self.files[&number]
    }

    /// All live files.
    pub(super) fn files(&self) -> impl Iterator<Item = (u32, &BookedFile)> {
        self.files.iter().map(|(number, file)| (*number, file))
    }

    /// Records that `deleted` are the deleted rows of a file from now on, as `delete_file` says.
    pub(super) fn set_deleted(&mut self, number: u32, deleted: RoaringBitmap, delete_file: String) {
        if let Some(file) = self.files.get_mut(&number) {
            file.deleted = deleted;
            file.delete_file = Some(delete_file);
        }
    }

    /// Records that a file is no longer live.
    pub(super) fn retire(&mut self, number: u32, moved: Moved) {
        self.files.remove(&number);
        self.moved.insert(number, moved);
    }

    /// Where a row is by now that was at `location` once. Of a row that was deleted when its file went: any place of the same file.
    pub(super) fn resolve(&self, mut location: Location) -> Location {
        while let Some(moved) = self.moved.get(&location.file) {
            let Some(to) = moved.to else { break };
            location = Location {
                file: to,
                position: moved.position(location.position),
            };
        }
        location
    }

    /// Files whose rows are elsewhere by now.
    pub(super) fn moved(&self) -> impl ExactSizeIterator<Item = u32> {
        self.moved.keys().copied()
    }

    /// Forgets where the rows of these files went: nothing names them any more.
    pub(super) fn forget(&mut self, retired: &[u32]) {
        for number in retired {
            self.moved.remove(number);
        }
    }

    /// Files.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Live rows of all files.
    pub(super) fn live_rows(&self) -> u64 {
        self.files.values().map(BookedFile::live_rows).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_where_they_went_and_went_again() {
        let mut book = FileBook::default();
        let moved = |to, base, gone: &[u32]| Moved {
            to: Some(to),
            base,
            gone: gone.iter().copied().collect(),
        };
        // 0 (rows a b c d e, b and d deleted) and 1 (f g) become 2: a c e f g. Then 2 (c deleted) becomes 3 behind ten other rows.
        book.retire(0, moved(2, 0, &[1, 3]));
        book.retire(1, moved(2, 3, &[]));
        book.retire(2, moved(3, 10, &[1]));
        let place = |file, position| {
            let place = book.resolve(Location { file, position });
            assert_eq!(place.file, 3);
            place.position
        };
        assert_eq!([place(0, 0), place(0, 4), place(1, 0), place(1, 1)], [10, 11, 12, 13]);
        assert_eq!([place(2, 0), place(2, 4), place(3, 7)], [10, 13, 7]);
    }
}

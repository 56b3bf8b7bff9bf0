//! The live data files of a keyed table, numbered, with the rows of each that are deleted.

use iceberg::spec::DataFile;
use roaring::RoaringBitmap;

/// A data file as the table has it.
#[derive(Clone, Debug)]
pub(super) struct BookedFile {
    pub(super) file: DataFile,
    /// Positions of deleted rows.
    pub(super) deleted: RoaringBitmap,
    /// Location of the delete file that says so.
    pub(super) delete_file: Option<String>,
}

/// All live data files by number. Numbers are given anew whenever a table is opened; the key index names files by them.
#[derive(Debug, Default)]
pub(super) struct FileBook {
    files: Vec<BookedFile>,
}

impl FileBook {
    /// Enters a file; its number.
    pub(super) fn add(&mut self, file: BookedFile) -> u32 {
        let number = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(file);
        number
    }

    /// The file of that number.
    ///
    /// # Panics
    /// If [`Self::add`] gave no such number.
    pub(super) fn file(&self, number: u32) -> &BookedFile {
        &self.files[number as usize]
    }

    /// Records that `deleted` are the deleted rows of a file from now on, as `delete_file` says.
    pub(super) fn set_deleted(&mut self, number: u32, deleted: RoaringBitmap, delete_file: String) {
        let file = &mut self.files[number as usize];
        file.deleted = deleted;
        file.delete_file = Some(delete_file);
    }

    /// Files.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Live rows of all files.
    pub(super) fn live_rows(&self) -> u64 {
        let live = self.files.iter();
        live.map(|file| file.file.record_count().saturating_sub(file.deleted.len()))
            .sum()
    }
}

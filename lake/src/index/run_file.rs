//! The file of a run.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::IndexError;

/// Ending of the files' names.
pub(super) const EXTENSION: &str = "run";

/// A file that goes when its owner does: a run that was merged away, or one that could not be written to its end on a full disk,
/// leaves nothing behind.
#[derive(Debug)]
pub(super) struct RunFile {
    path: PathBuf,
    file: File,
}

impl RunFile {
    /// A new file at `path`, where none may be.
    pub(super) fn create(path: PathBuf) -> Result<Self, IndexError> {
        let file = File::options().read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(IndexError::io("creating", &path))?;
        Ok(Self { path, file })
    }

    pub(super) fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<(), IndexError> {
        match self.file.read_exact_at(bytes, offset) {
            Ok(()) => Ok(()),
            // It was longer.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(self.damaged()),
            Err(error) => Err(IndexError::io("reading", &self.path)(error)),
        }
    }

    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), IndexError> {
        let written = self.file.write_all_at(bytes, offset);
        written.map_err(IndexError::io("writing", &self.path))
    }

    pub(super) fn damaged(&self) -> IndexError {
        IndexError::Damaged(self.path.clone())
    }
}

impl Drop for RunFile {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "a file of the key index is left behind");
            }
            _ => {}
        }
    }
}

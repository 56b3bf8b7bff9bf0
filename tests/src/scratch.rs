//! Folders of tests: removed after success, kept and named after a failure.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Error;

/// A temporary folder.
#[derive(Debug)]
pub struct Scratch {
    folder: Option<TempDir>,
    path: PathBuf,
}

impl Scratch {
    /// A new folder with `label` in its name.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(label: &str) -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("tapehouse-{label}-"))
            .tempdir()
            .map_err(Error::io("a temporary folder"))?;
        Ok(Self {
            path: folder.path().to_owned(),
            folder: Some(folder),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps it for inspection.
    pub fn keep(&mut self) {
        if let Some(folder) = self.folder.take() {
            let _ = folder.keep();
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() && self.folder.is_some() {
            self.keep();
            eprintln!("kept for inspection: {}", self.path.display());
        }
    }
}

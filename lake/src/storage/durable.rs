//! Making files durable.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::LakeError;

/// Makes files' contents, and folders' entries, durable.
///
/// They are flushed in parallel: the file system then groups them into few journal commits.
///
/// # Errors
/// [`LakeError::Io`] names the first file or folder that could not be flushed.
pub(super) async fn sync_paths(paths: impl Iterator<Item = PathBuf>) -> Result<(), LakeError> {
    let flushes: Vec<_> = paths
        .map(|path| tokio::task::spawn_blocking(move || sync_path(&path)))
        .collect();
    for flush in flushes {
        flush.await.map_err(|_| LakeError::Interrupted("an fsync"))??;
    }
    Ok(())
}

/// Creates `folder` with all its parents and makes the new entries durable. Blocks.
///
/// # Errors
/// [`LakeError::Io`] when a folder cannot be created or flushed.
pub fn create_folder(folder: &Path) -> Result<(), LakeError> {
    let existing = folder.ancestors().find(|ancestor| ancestor.is_dir());
    std::fs::create_dir_all(folder).map_err(LakeError::io("creating folder", folder))?;
    for ancestor in folder.ancestors() {
        sync_path(ancestor)?;
        if Some(ancestor) == existing {
            break;
        }
    }
    Ok(())
}

fn sync_path(path: &Path) -> Result<(), LakeError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(LakeError::io("flushing", path))
}

//! `version-hint.text`: lets engines that open a table by its folder find the current metadata without a catalog.

use std::fs;
use std::io;
use std::path::Path;

use uuid::Uuid;

use super::metadata_file::SUFFIX;
use crate::storage::local_path;

/// Names the metadata file at `metadata_location` in the hint beside it. A convenience that nothing here reads: it is not
/// flushed, and a failure is only logged.
pub(crate) async fn write(metadata_location: &str) {
    let path = local_path(metadata_location);
    let written = tokio::task::spawn_blocking(move || replace(&path)).await;
    match written {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, metadata_location, "version-hint.text was not written"),
        Err(error) => tracing::warn!(%error, metadata_location, "version-hint.text was not written"),
    }
}

fn replace(metadata_file: &Path) -> io::Result<()> {
    let (Some(folder), Some(name)) = (
        metadata_file.parent(),
        metadata_file.file_name().and_then(|name| name.to_str()),
    ) else {
        return Err(io::Error::other("the metadata location has no file name"));
    };
    let version = name.strip_suffix(SUFFIX).unwrap_or(name);
    // A reader must see the old hint or the new one, never half of one.
    let temporary = folder.join(format!(".version-hint-{}.tmp", Uuid::new_v4().simple()));
    fs::write(&temporary, version)?;
    fs::rename(&temporary, folder.join("version-hint.text")).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

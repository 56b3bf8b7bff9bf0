//! `version-hint.text`: lets engines that open a table by its folder find the current metadata without a catalog.

use super::metadata_file::SUFFIX;
use crate::storage::Warehouse;

/// Names the metadata file at `metadata_location` in the hint beside it. A convenience that nothing here reads: it is not
/// flushed, and a failure is only logged.
pub(crate) async fn write(warehouse: &Warehouse, metadata_location: &str) {
    let Some((folder, name)) = metadata_location.rsplit_once('/') else {
        return;
    };
    let version = name.strip_suffix(SUFFIX).unwrap_or(name).to_owned();
    if let Err(error) = warehouse.replace(folder, "version-hint.text", version.into()).await {
        tracing::warn!(%error, metadata_location, "version-hint.text was not written");
    }
}

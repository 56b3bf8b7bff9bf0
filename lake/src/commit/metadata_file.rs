//! Metadata files: their names and their content.

use std::collections::BTreeMap;

use iceberg::spec::{SnapshotReference, TableMetadata};
use uuid::Uuid;

use super::metadata_json::{self, SnapshotTexts};
use crate::error::LakeError;
use crate::lake::Lake;
use crate::name::TableName;
use crate::storage::Batch;

/// Ending of a metadata file's name.
pub(crate) const SUFFIX: &str = ".metadata.json";

/// Location of a new table's first metadata file.
pub(crate) fn first_location(metadata: &TableMetadata) -> String {
    location(metadata, 0)
}

/// Location of the metadata file after the one at `base_location`; a new name at each call.
pub(crate) fn next_location(metadata: &TableMetadata, base_location: &str) -> String {
    // Counted from the name, as other engines do; a name without a version (Hadoop's `v12`) counts by the log instead.
    let version = version_of(base_location).unwrap_or_else(|| metadata.metadata_log().len() as u64);
    location(metadata, version.saturating_add(1))
}

fn location(metadata: &TableMetadata, version: u64) -> String {
    format!(
        "{}/metadata/{version:0>5}-{}{SUFFIX}",
        metadata.location(),
        Uuid::new_v4()
    )
}

fn version_of(location: &str) -> Option<u64> {
    let (_, name) = location.rsplit_once('/')?;
    name.split_once('-')?.0.parse().ok()
}

/// New metadata, durable, but not yet anybody's current one.
pub(crate) struct Written {
    /// Where the file is; `None` where the catalog writes it itself.
    pub location: Option<String>,
    pub bytes: usize,
    pub refs: BTreeMap<String, SnapshotReference>,
    pub snapshots: SnapshotTexts,
}

/// A metadata file that is to be written.
pub(crate) struct Unwritten<'a> {
    pub ident: &'a TableName,
    pub metadata: &'a TableMetadata,
    pub location: String,
    pub refs: BTreeMap<String, SnapshotReference>,
    /// Texts of snapshots that were written before.
    pub known: &'a SnapshotTexts,
}

/// Writes the file and makes it durable, together with what `batch` wrote before. Where the catalog writes metadata itself, only
/// the latter.
pub(crate) async fn write(lake: &Lake, batch: Batch, new: Unwritten<'_>) -> Result<Written, LakeError> {
    let Unwritten { location, refs, .. } = new;
    let encoded = metadata_json::encode(new.metadata, &refs, new.known).map_err(|error| LakeError::Unusable {
        table: new.ident.clone(),
        reason: format!("its metadata cannot be written: {error}"),
    })?;
    let bytes = encoded.bytes.len();
    let location = match lake.backend().writes_metadata() {
        true => None,
        false => {
            let failed = || LakeError::iceberg(format!("writing {location}"));
            let output = batch.io().new_output(&location).map_err(failed())?;
            output.write(encoded.bytes.into()).await.map_err(failed())?;
            Some(location)
        }
    };
    batch.finish().await?;
    Ok(Written {
        location,
        bytes,
        refs,
        snapshots: encoded.snapshots,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let name = "file:///w/t/metadata/00041-2f9b3f0e-1111-4222-8333-444455556666.metadata.json";
        assert_eq!(version_of(name), Some(41));
        assert_eq!(version_of("file:///w/t/metadata/v3.metadata.json"), None);
    }
}

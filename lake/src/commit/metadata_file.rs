//! Metadata files: their names and their content.

use iceberg::spec::TableMetadata;
use uuid::Uuid;

use crate::error::LakeError;
use crate::name::TableName;

/// Ending of a metadata file's name.
pub(crate) const SUFFIX: &str = ".metadata.json";

/// Location of a new table's first metadata file.
pub(crate) fn first_location(metadata: &TableMetadata) -> String {
    location(metadata, 0)
}

/// Location of the metadata file after the one at `base_location`; a new name at each call.
pub(super) fn next_location(metadata: &TableMetadata, base_location: &str) -> String {
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

/// The file's content.
pub(crate) fn to_json(metadata: &TableMetadata, ident: &TableName) -> Result<Vec<u8>, LakeError> {
    serde_json::to_vec(metadata).map_err(|error| LakeError::Unusable {
        table: ident.clone(),
        reason: format!("its metadata cannot be written: {error}"),
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

//! A table as it was at one metadata version.

mod state;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use flate2::read::GzDecoder;
use iceberg::io::FileIO;
use iceberg::spec::{
    FormatVersion, Manifest, ManifestFile, ManifestList, SnapshotRef, SnapshotReference, TableMetadata,
    TableMetadataRef,
};
use serde::Deserialize;
use tapehouse_core::words::one_line;
use tokio::sync::OnceCell;

use crate::catalog::Pointer;
use crate::commit::metadata_file::Written;
use crate::commit::metadata_json::SnapshotTexts;
use crate::error::LakeError;
use crate::name::TableName;
use crate::storage::{Warehouse, local_path};
pub use state::StateError;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Largest metadata that is parsed, in bytes of JSON: a small compressed file may hold any number of them.
const MAX_METADATA_BYTES: u64 = 64 << 20;

/// Of the parser's words, which may repeat any value, so many are shown.
const MAX_WORDS_CHARS: usize = 500;

/// Manifests of one snapshot, shared.
pub type Manifests = Arc<Vec<ManifestFile>>;

/// One version of a table: immutable, cheap to clone.
#[derive(Clone, Debug)]
pub struct LoadedTable {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ident: TableName,
    metadata_location: String,
    metadata: TableMetadataRef,
    metadata_bytes: u64,
    refs: BTreeMap<String, SnapshotReference>,
    snapshot_texts: SnapshotTexts,
    manifests: OnceCell<Manifests>,
}

/// The part of a metadata file that [`TableMetadata`] reads but does not show.
#[derive(Deserialize)]
pub(crate) struct Refs {
    #[serde(default)]
    pub refs: Option<BTreeMap<String, SnapshotReference>>,
}

/// Metadata as it was read.
#[derive(Clone, Debug)]
pub struct ParsedMetadata {
    /// The metadata.
    pub metadata: TableMetadata,
    /// Its branches and tags.
    pub refs: BTreeMap<String, SnapshotReference>,
    /// Size as JSON, in bytes.
    pub bytes: usize,
}

impl LoadedTable {
    /// The version that the catalog names: as it answered, else read from the metadata file.
    pub(crate) async fn read(warehouse: &Warehouse, ident: &TableName, pointer: Pointer) -> Result<Self, LakeError> {
        let location = pointer.metadata_location;
        let parsed = match pointer.metadata {
            Some(parsed) => *parsed,
            None => read_metadata(warehouse, ident, &location).await?,
        };
        Ok(Self::of(ident, location, parsed))
    }

    fn of(ident: &TableName, metadata_location: String, parsed: ParsedMetadata) -> Self {
        Self {
            inner: Arc::new(Inner {
                ident: ident.clone(),
                metadata_location,
                metadata: Arc::new(parsed.metadata),
                metadata_bytes: parsed.bytes as u64,
                refs: parsed.refs,
                snapshot_texts: SnapshotTexts::default(),
                manifests: OnceCell::new(),
            }),
        }
    }

    /// The table as it is after a swap to `metadata`: as the catalog shows it in its answer, else as it was written. `manifests`
    /// are those of the snapshot that was committed; where others have committed since, the catalog may show a later one.
    pub(crate) fn after_swap(
        ident: &TableName,
        metadata: TableMetadata,
        written: Written,
        swapped: Pointer,
        manifests: Option<Manifests>,
    ) -> Self {
        let committed = metadata.current_snapshot_id();
        let parsed = swapped.metadata.map_or_else(
            || ParsedMetadata {
                metadata,
                refs: written.refs,
                bytes: written.bytes,
            },
            |shown| *shown,
        );
        let is_ours = parsed.metadata.current_snapshot_id() == committed;
        let mut table = Self::of(ident, swapped.metadata_location, parsed);
        if let Some(inner) = Arc::get_mut(&mut table.inner) {
            inner.snapshot_texts = written.snapshots;
            inner.manifests = OnceCell::new_with(manifests.filter(|_| is_ours));
        }
        table
    }

    /// The table's name.
    pub fn ident(&self) -> &TableName {
        &self.inner.ident
    }

    /// Location of this version's metadata file.
    pub fn metadata_location(&self) -> &str {
        &self.inner.metadata_location
    }

    /// Size of this version's metadata as JSON, in bytes.
    pub fn metadata_bytes(&self) -> u64 {
        self.inner.metadata_bytes
    }

    /// The metadata.
    pub fn metadata(&self) -> &TableMetadataRef {
        &self.inner.metadata
    }

    /// Branches and tags by name, `main` among them.
    pub fn refs(&self) -> &BTreeMap<String, SnapshotReference> {
        &self.inner.refs
    }

    /// Texts of the snapshots that this process has written or seen written.
    pub(crate) fn snapshot_texts(&self) -> &SnapshotTexts {
        &self.inner.snapshot_texts
    }

    /// The table's folder, where it is one of the local file system.
    pub fn folder(&self) -> std::path::PathBuf {
        local_path(self.metadata().location())
    }

    /// The current snapshot's manifests; none before the first snapshot. Read once per version.
    ///
    /// # Errors
    /// When the manifest list cannot be read.
    pub async fn manifests(&self, io: &FileIO) -> Result<Manifests, LakeError> {
        let read = || async {
            match self.metadata().current_snapshot() {
                None => Ok(Arc::new(Vec::new())),
                Some(snapshot) => read_manifest_list(io, snapshot, self.metadata().format_version()).await,
            }
        };
        self.inner.manifests.get_or_try_init(read).await.cloned()
    }

    /// The current snapshot and those before it, newest first, as far as they are retained.
    pub fn ancestry(&self) -> impl Iterator<Item = &SnapshotRef> {
        let metadata = self.metadata();
        let mut next = metadata.current_snapshot();
        // As many steps as there are snapshots: broken metadata with a cycle must not hang its reader.
        (0..metadata.snapshots().len()).map_while(move |_| {
            let snapshot = next?;
            next = snapshot.parent_snapshot_id().and_then(|id| metadata.snapshot_by_id(id));
            Some(snapshot)
        })
    }

    /// All retained snapshots, oldest first.
    pub fn snapshots(&self) -> Vec<&SnapshotRef> {
        let mut snapshots: Vec<_> = self.metadata().snapshots().collect();
        snapshots.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.timestamp_ms()));
        snapshots
    }
}

/// Reads the manifest list of `snapshot`.
pub(crate) async fn read_manifest_list(
    io: &FileIO,
    snapshot: &SnapshotRef,
    version: FormatVersion,
) -> Result<Manifests, LakeError> {
    let failed = || LakeError::iceberg(format!("reading manifest list {}", snapshot.manifest_list()));
    let bytes = io
        .new_input(snapshot.manifest_list())
        .map_err(failed())?
        .read()
        .await
        .map_err(failed())?;
    let list = ManifestList::parse_with_version(&bytes, version).map_err(failed())?;
    Ok(Arc::new(list.consume_entries().into_iter().collect()))
}

/// Reads a manifest; its entries have the sequence numbers that they inherit.
pub(crate) async fn read_manifest(io: &FileIO, manifest: &ManifestFile) -> Result<Manifest, LakeError> {
    let failed = LakeError::iceberg(format!("reading manifest {}", manifest.manifest_path));
    manifest.load_manifest(io).await.map_err(failed)
}

/// Reads the metadata file at `location`.
async fn read_metadata(warehouse: &Warehouse, ident: &TableName, location: &str) -> Result<ParsedMetadata, LakeError> {
    let failed = || LakeError::iceberg(format!("reading metadata of {ident}"));
    // The catalog says where: of a table's files this one alone is not checked against the table's location.
    let folder = location.rsplit_once('/').map_or("", |(folder, _)| folder);
    let io = &warehouse.io_below(folder);
    let input = io.new_input(location).map_err(failed())?;
    let bytes = input.read().await.map_err(failed())?;
    parse_metadata(&bytes).map_err(|reason| LakeError::Unusable {
        table: ident.clone(),
        reason: format!("{location} is no table metadata: {reason}"),
    })
}

/// Reads the content of a metadata file, compressed with gzip or not.
///
/// # Errors
/// Why it is none.
pub fn parse_metadata(content: &[u8]) -> Result<ParsedMetadata, String> {
    let mut plain = Vec::new();
    let plain = match content.starts_with(&GZIP_MAGIC) {
        true => {
            let limited = GzDecoder::new(content)
                .take(MAX_METADATA_BYTES + 1)
                .read_to_end(&mut plain);
            limited.map_err(|error| error.to_string())?;
            &plain[..]
        }
        false => content,
    };
    if plain.len() as u64 > MAX_METADATA_BYTES {
        return Err(format!("it is larger than {MAX_METADATA_BYTES} bytes"));
    }
    let words = |error: serde_json::Error| one_line(&error.to_string(), MAX_WORDS_CHARS);
    let metadata = serde_json::from_slice(plain).map_err(words)?;
    let refs: Refs = serde_json::from_slice(plain).map_err(words)?;
    Ok(ParsedMetadata {
        metadata,
        refs: refs.refs.unwrap_or_default(),
        bytes: plain.len(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::write::GzEncoder;

    use super::*;

    fn compressed(content: impl std::io::Read) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::copy(&mut { content }, &mut encoder).unwrap();
        encoder.flush().unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_small_file_does_not_become_any_number_of_bytes() {
        let spaces = std::io::repeat(b' ').take(MAX_METADATA_BYTES + 1);
        let bomb = compressed(spaces);
        assert!(bomb.len() < 1 << 20);
        let refused = parse_metadata(&bomb).unwrap_err();
        assert!(refused.contains("larger than"), "{refused}");
        let other = parse_metadata(&compressed(&b"{}"[..])).unwrap_err();
        assert!(!other.contains("larger than"), "{other}");
    }
}

//! What the manifest lists of the retained snapshots name.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{ManifestFile, SnapshotRef};

use crate::error::LakeError;
use crate::table::{LoadedTable, read_manifest_list};

/// Manifest lists remembered at most, over all tables.
const MAX_LISTS: usize = 8192;

/// Which manifests the retained snapshots list.
#[derive(Default)]
pub(super) struct KnownManifests {
    /// Hashes of manifest paths, by the location of the list.
    lists: HashMap<String, Arc<[u64]>>,
    /// The manifests themselves.
    manifests: HashMap<u64, ManifestFile>,
}

impl KnownManifests {
    /// Hashes of the manifests that the list of `snapshot` names.
    pub async fn of(
        &mut self,
        io: &FileIO,
        table: &LoadedTable,
        snapshot: &SnapshotRef,
    ) -> Result<Arc<[u64]>, LakeError> {
        if let Some(known) = self.lists.get(snapshot.manifest_list()) {
            return Ok(Arc::clone(known));
        }
        let current = table.metadata().current_snapshot_id() == Some(snapshot.snapshot_id());
        let manifests = match current {
            true => table.manifests(io).await?,
            false => read_manifest_list(io, snapshot, table.metadata().format_version()).await?,
        };
        if self.lists.len() >= MAX_LISTS {
            self.lists.clear();
            self.manifests.clear();
        }
        let hashes = manifests.iter().map(|manifest| {
            let hash = hash(&manifest.manifest_path);
            self.manifests.entry(hash).or_insert_with(|| ManifestFile {
                // Not asked for, and the larger part of it.
                partitions: None,
                ..manifest.clone()
            });
            hash
        });
        let hashes: Arc<[u64]> = hashes.collect();
        self.lists
            .insert(snapshot.manifest_list().to_owned(), Arc::clone(&hashes));
        Ok(hashes)
    }

    /// The manifest of this hash; `None` when it was forgotten.
    pub fn manifest(&self, hash: u64) -> Option<&ManifestFile> {
        self.manifests.get(&hash)
    }

    /// Forgets a manifest, and returns its path where it was known.
    pub fn forget(&mut self, hash: u64) -> Option<String> {
        self.manifests.remove(&hash).map(|manifest| manifest.manifest_path)
    }

    /// Forgets a list.
    pub fn forget_list(&mut self, snapshot: &SnapshotRef) {
        self.lists.remove(snapshot.manifest_list());
    }
}

fn hash(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

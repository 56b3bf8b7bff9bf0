//! The live files of a table version, read from its manifests. Manifests never change, so what was read is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use iceberg::io::FileIO;
use iceberg::spec::{DataContentType, DataFile, Manifest, ManifestEntry, ManifestFile};

use crate::error::LakeError;
use crate::lake::Lake;
use crate::table::{LoadedTable, read_manifest};

/// Entries kept over all tables; above this the cache starts afresh. An entry of 15 columns takes some 3 KiB.
const MAX_CACHED_ENTRIES: usize = 20_000;

/// Manifests as they were read, by location.
#[derive(Debug, Default)]
pub(crate) struct ManifestCache(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    manifests: HashMap<String, Arc<Manifest>>,
    entries: usize,
}

impl ManifestCache {
    fn get(&self, location: &str) -> Option<Arc<Manifest>> {
        self.lock().manifests.get(location).cloned()
    }

    fn keep(&self, location: &str, manifest: &Arc<Manifest>) {
        let mut cached = self.lock();
        if cached.entries + manifest.entries().len() > MAX_CACHED_ENTRIES {
            *cached = Cached::default();
        }
        let previous = cached.manifests.insert(location.to_owned(), Arc::clone(manifest));
        if previous.is_none() {
            cached.entries += manifest.entries().len();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cached> {
        // Whole between any two statements that could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lake {
    /// The manifest that `manifest` names, with inherited sequence numbers filled in.
    pub(crate) async fn manifest(&self, io: &FileIO, manifest: &ManifestFile) -> Result<Arc<Manifest>, LakeError> {
        let location = &manifest.manifest_path;
        if let Some(known) = self.manifest_cache().get(location) {
            return Ok(known);
        }
        let loaded = Arc::new(read_manifest(io, manifest).await?);
        self.manifest_cache().keep(location, &loaded);
        Ok(loaded)
    }

    /// The live files of `table`.
    ///
    /// # Errors
    /// When a manifest cannot be read.
    pub async fn live_files(&self, table: &LoadedTable) -> Result<LiveFiles, LakeError> {
        let io = self.io_of(table);
        let mut live = LiveFiles::default();
        for file in table.manifests(&io).await?.iter() {
            let manifest = self.manifest(&io, file).await?;
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                live.add(entry);
            }
        }
        Ok(live)
    }
}

/// The live files of one table version.
#[derive(Clone, Debug, Default)]
pub struct LiveFiles {
    data: HashMap<String, Arc<ManifestEntry>>,
    /// Position deletes by the data file that they are for.
    deletes: HashMap<String, Vec<Arc<ManifestEntry>>>,
    /// Delete files that are for no single data file: of other engines.
    other_deletes: Vec<Arc<ManifestEntry>>,
}

impl LiveFiles {
    fn add(&mut self, entry: &Arc<ManifestEntry>) {
        let entry = Arc::clone(entry);
        let location = entry.file_path().to_owned();
        match (entry.content_type(), referenced_data_file(entry.data_file())) {
            (DataContentType::Data, _) => {
                self.data.insert(location, entry);
            }
            (DataContentType::PositionDeletes, Some(data_file)) => {
                self.deletes.entry(data_file).or_default().push(entry);
            }
            _ => self.other_deletes.push(entry),
        }
    }

    /// The data file at `location`; `None` when it is not live.
    pub fn data_file(&self, location: &str) -> Option<&DataFile> {
        Some(self.data.get(location)?.data_file())
    }

    /// Locations of all data and delete files.
    pub fn locations(&self) -> impl Iterator<Item = &str> {
        let deletes = self.deletes.values().flatten();
        let entries = self.data.values().chain(deletes).chain(&self.other_deletes);
        entries.map(|entry| entry.file_path())
    }

    /// Sequence number from which on deletes apply to the data file at `location`.
    pub fn data_sequence_number(&self, location: &str) -> Option<i64> {
        self.data.get(location)?.sequence_number()
    }

    /// All data files with their data sequence numbers, in no order.
    pub fn data_files(&self) -> impl Iterator<Item = (&DataFile, i64)> {
        self.data
            .values()
            .map(|entry| (entry.data_file(), entry.sequence_number().unwrap_or_default()))
    }

    /// The position deletes that are for the data file at `location` alone.
    pub fn deletes_of(&self, location: &str) -> impl Iterator<Item = &DataFile> {
        self.deletes
            .get(location)
            .into_iter()
            .flatten()
            .map(|entry| entry.data_file())
    }

    /// Highest data sequence number of the data file at `location` and of what deletes rows of it; `None` when it is not live.
    pub fn version_of(&self, location: &str) -> Option<i64> {
        let deletes = self.deletes.get(location).into_iter().flatten();
        let deletes = deletes.filter_map(|entry| entry.sequence_number()).max();
        Some(self.data_sequence_number(location)?.max(deletes.unwrap_or_default()))
    }

    /// Delete files that are not for one data file alone. Tapehouse writes none.
    pub fn other_deletes(&self) -> impl Iterator<Item = &DataFile> {
        self.other_deletes.iter().map(|entry| entry.data_file())
    }
}

/// The one data file that a position delete file is for: as it says itself, else as its bounds tell.
pub fn referenced_data_file(deletes: &DataFile) -> Option<String> {
    use iceberg::metadata_columns::RESERVED_FIELD_ID_DELETE_FILE_PATH as FILE_PATH;
    deletes.referenced_data_file().or_else(|| {
        let (lower, upper) = (
            deletes.lower_bounds().get(&FILE_PATH)?,
            deletes.upper_bounds().get(&FILE_PATH)?,
        );
        (lower == upper).then(|| match lower.literal() {
            iceberg::spec::PrimitiveLiteral::String(path) => path.clone(),
            _ => lower.to_string(),
        })
    })
}

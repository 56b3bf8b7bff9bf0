//! The handle through which everything else reads and changes tables.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use iceberg::TableCreation;
use iceberg::io::FileIO;
use iceberg::spec::{FormatVersion, Schema, SortOrder, TableMetadataBuilder, UnboundPartitionSpec};
use tapehouse_core::clock::Sighting;
use uuid::Uuid;

use crate::catalog::{self, CatalogSettings, CommitBackend, Creation};
use crate::commit::cleanup::{Cleaner, CleanupJob};
use crate::commit::live::ManifestCache;
use crate::commit::metadata_file::Unwritten;
use crate::commit::metadata_json::SnapshotTexts;
use crate::commit::{CommitPolicy, hint, metadata_file};
use crate::days::DaysCache;
use crate::error::LakeError;
use crate::name::TableName;
use crate::silver::source::ExtentsCache;
use crate::storage::{S3Settings, Warehouse};
use crate::table::LoadedTable;

/// Tables whose newest version is kept in memory, parsed. Above this the cache starts afresh.
const MAX_CACHED_TABLES: usize = 256;
/// Superseded metadata files that a table keeps.
const METADATA_VERSIONS_KEPT: &str = "20";

/// Where the lake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LakeSettings {
    /// The catalog.
    pub catalog: CatalogSettings,
    /// Folder of the tables: `file:///absolute/path`, `/absolute/path` or `s3://bucket/prefix`.
    pub warehouse: String,
    /// How to reach S3, where any location is in it.
    pub s3: S3Settings,
}

/// A table to be created.
#[derive(Clone, Debug)]
pub struct NewTable {
    /// The columns. Field ids are assigned afresh, in order.
    pub schema: Schema,
    /// The partitioning, on field ids of `schema`.
    pub partition_spec: UnboundPartitionSpec,
    /// Table properties.
    pub properties: HashMap<String, String>,
}

/// A cheap handle on catalog and warehouse.
#[derive(Clone, Debug)]
pub struct Lake {
    shared: Arc<Shared>,
    policy: CommitPolicy,
}

#[derive(Debug)]
struct Shared {
    backend: Arc<dyn CommitBackend>,
    warehouse: Warehouse,
    newest: Mutex<HashMap<TableName, LoadedTable>>,
    manifests: ManifestCache,
    extents: ExtentsCache,
    days: DaysCache,
    cleaner: Cleaner,
}

impl Lake {
    /// Opens the lake; creates the catalog's database and the warehouse's folder where they are missing. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// [`LakeError::Unsupported`] for kinds of catalog or warehouse that are not spoken; other errors when they cannot be used.
    pub async fn open(settings: LakeSettings) -> Result<Self, LakeError> {
        let warehouse = Warehouse::at(&settings.warehouse, &settings.s3)?;
        let backend = catalog::open(&settings.catalog, true).await?;
        warehouse.create_folders(&[warehouse.root().to_owned()]).await?;
        Ok(Self::with_backend(backend, warehouse))
    }

    /// Opens the lake for reading: nothing is created.
    ///
    /// # Errors
    /// As [`Lake::open`]; and [`LakeError::Missing`] when the database does not exist.
    pub async fn open_existing(settings: LakeSettings) -> Result<Self, LakeError> {
        let warehouse = Warehouse::at(&settings.warehouse, &settings.s3)?;
        let backend = catalog::open(&settings.catalog, false).await?;
        Ok(Self::with_backend(backend, warehouse))
    }

    /// A lake on any catalog.
    pub fn with_backend(backend: Arc<dyn CommitBackend>, warehouse: Warehouse) -> Self {
        let cleaner = Cleaner::start(warehouse.clone());
        Self {
            shared: Arc::new(Shared {
                backend,
                warehouse,
                newest: Mutex::default(),
                manifests: ManifestCache::default(),
                extents: ExtentsCache::default(),
                days: DaysCache::default(),
                cleaner,
            }),
            policy: CommitPolicy::default(),
        }
    }

    /// The same lake, committing by another policy.
    #[must_use]
    pub fn with_policy(&self, policy: CommitPolicy) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            policy,
        }
    }

    /// How this handle retries and what it retains.
    pub fn policy(&self) -> &CommitPolicy {
        &self.policy
    }

    /// Reads and writes files of `table`, and no others.
    pub fn io_of(&self, table: &LoadedTable) -> FileIO {
        self.warehouse().io_below(table.metadata().location())
    }

    /// Reads and writes files below the warehouse's root.
    pub fn file_io(&self) -> &FileIO {
        self.shared.warehouse.io()
    }

    /// The warehouse.
    pub fn warehouse(&self) -> &Warehouse {
        &self.shared.warehouse
    }

    /// The table as it is now; `None` when there is none. Costs one query of the catalog while nobody else commits.
    ///
    /// # Errors
    /// When catalog or metadata cannot be read.
    pub async fn load(&self, ident: &TableName) -> Result<Option<LoadedTable>, LakeError> {
        let Some(pointer) = self.backend().load(ident).await? else {
            self.newest().remove(ident);
            return Ok(None);
        };
        if let Some(known) = self.newest().get(ident)
            && known.metadata_location() == pointer.metadata_location
        {
            return Ok(Some(known.clone()));
        }
        let loaded = LoadedTable::read(self.warehouse(), ident, pointer).await?;
        self.remember(loaded.clone());
        Ok(Some(loaded))
    }

    /// Creates the table, and its namespace where it is missing. If it exists already, it is loaded as it is: the caller
    /// compares.
    ///
    /// # Errors
    /// When the schema is invalid, or catalog or warehouse cannot be written.
    pub async fn create_table(&self, ident: &TableName, spec: NewTable) -> Result<LoadedTable, LakeError> {
        if let Some(existing) = self.load(ident).await? {
            return Ok(existing);
        }
        let root = self.warehouse().root();
        // A folder of its own each time: a table that is dropped and created again never mixes files with its predecessor.
        let folder = format!("{root}/{}/{}", ident.namespace().replace('.', "/"), ident.name());
        let location = match self.warehouse().has_folder(&folder).await? {
            true => format!("{folder}-{}", &Uuid::new_v4().simple().to_string()[..8]),
            false => folder,
        };
        let mut properties = HashMap::from([
            (
                "write.metadata.previous-versions-max".to_owned(),
                METADATA_VERSIONS_KEPT.to_owned(),
            ),
            (
                "write.metadata.delete-after-commit.enabled".to_owned(),
                "true".to_owned(),
            ),
        ]);
        properties.extend(spec.properties);
        let creation = TableCreation::builder()
            .name(ident.name().to_owned())
            .location(location.clone())
            .schema(spec.schema)
            .partition_spec(spec.partition_spec)
            .sort_order(SortOrder::unsorted_order())
            .properties(properties)
            .format_version(FormatVersion::V2)
            .build();
        let failed = || LakeError::iceberg(format!("creating table {ident}"));
        let metadata = TableMetadataBuilder::from_table_creation(creation)
            .and_then(TableMetadataBuilder::build)
            .map_err(failed())?
            .metadata;
        let folders = ["data", "metadata"].map(|name| format!("{location}/{name}"));
        self.warehouse().create_folders(&folders).await?;
        let unwritten = Unwritten {
            ident,
            metadata: &metadata,
            location: metadata_file::first_location(&metadata),
            refs: BTreeMap::new(),
            known: &SnapshotTexts::default(),
        };
        let written = metadata_file::write(self, self.warehouse().batch(&location), unwritten).await?;
        let creation = Creation {
            table: ident,
            metadata: &metadata,
            metadata_location: written.location.as_deref(),
        };
        let Some(created) = self.backend().create(&creation).await? else {
            // Somebody created it meanwhile; our metadata file is an orphan.
            return self
                .load(ident)
                .await?
                .ok_or_else(|| LakeError::NoSuchTable(ident.clone()));
        };
        let created = LoadedTable::after_swap(ident, metadata, written, created, None);
        hint::write(self.warehouse(), created.metadata_location()).await;
        self.remember(created.clone());
        Ok(created)
    }

    /// All tables of the catalog, sorted by name.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn list_tables(&self) -> Result<Vec<TableName>, LakeError> {
        self.backend().list().await
    }

    /// A look at the catalog's clock; `None` where it has none of its own.
    ///
    /// # Errors
    /// When the catalog does not answer.
    pub async fn clock(&self) -> Result<Option<Sighting>, LakeError> {
        self.backend().clock().await
    }

    /// Waits until all files that earlier commits of this handle superseded are deleted.
    pub async fn settle(&self) {
        self.shared.cleaner.settle().await;
    }

    pub(crate) fn backend(&self) -> &dyn CommitBackend {
        self.shared.backend.as_ref()
    }

    pub(crate) fn manifest_cache(&self) -> &ManifestCache {
        &self.shared.manifests
    }

    pub(crate) fn extents_cache(&self) -> &ExtentsCache {
        &self.shared.extents
    }

    pub(crate) fn days_cache(&self) -> &DaysCache {
        &self.shared.days
    }

    pub(crate) fn remember(&self, table: LoadedTable) {
        let mut newest = self.newest();
        if newest.len() >= MAX_CACHED_TABLES && !newest.contains_key(table.ident()) {
            newest.clear();
        }
        newest.insert(table.ident().clone(), table);
    }

    pub(crate) fn clean_up(&self, job: CleanupJob) {
        self.shared.cleaner.submit(job);
    }

    fn newest(&self) -> std::sync::MutexGuard<'_, HashMap<TableName, LoadedTable>> {
        // The map is whole at every await-free step, so a panic elsewhere does not make it wrong.
        self.shared.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The files of one folder, wherever it is: checks each location, and speaks to the store that holds it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use iceberg::io::{
    FileIO, FileIOBuilder, FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig,
    StorageFactory,
};
use serde::{Deserialize, Serialize};

use super::batch::Unfinished;
use super::error::StorageError;
use super::local::LocalStorage;
use super::location::{Place, admitted, checked};
use super::s3::{S3Clients, S3Storage};

type Result<T, E = iceberg::Error> = std::result::Result<T, E>;

/// The stores, of which a location names one.
#[derive(Clone, Debug, Default)]
pub(super) struct Stores {
    /// The warehouse: nothing elsewhere is touched, whatever a catalog or a file says.
    root: Arc<str>,
    pub local: LocalStorage,
    pub s3: S3Storage,
}

impl Stores {
    pub(super) fn new(root: &str, s3: S3Clients) -> Self {
        Self {
            root: root.into(),
            local: LocalStorage,
            s3: S3Storage::new(s3),
        }
    }

    /// Whether `location` lies in the warehouse.
    pub(super) fn admit(&self, action: &'static str, location: &str) -> Result<(), StorageError> {
        admitted(action, location, &self.root).map(drop)
    }

    fn of(&self, place: Place<'_>) -> &dyn Storage {
        match place {
            Place::Local(_) => &self.local,
            Place::S3 { .. } => &self.s3,
        }
    }

    /// Reads and writes below `folder` alone.
    pub(super) fn below(&self, folder: &str) -> FileIO {
        self.scoped(folder, None)
    }

    /// The same, with each write noted in `unfinished`.
    pub(super) fn scoped(&self, folder: &str, unfinished: Option<Arc<Unfinished>>) -> FileIO {
        let storage = ScopedStorage {
            folder: folder.to_owned(),
            stores: self.clone(),
            unfinished,
        };
        FileIOBuilder::new(Arc::new(ScopedStorageFactory(storage))).build()
    }
}

/// iceberg's `Storage` for the files below one folder. (Serialisation, which the trait asks for, keeps the folder only:
/// credentials are never written.)
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct ScopedStorage {
    folder: String,
    #[serde(skip)]
    stores: Stores,
    #[serde(skip)]
    unfinished: Option<Arc<Unfinished>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct ScopedStorageFactory(ScopedStorage);

#[typetag::serde(name = "TapehouseScopedStorageFactory")]
impl StorageFactory for ScopedStorageFactory {
    fn build(&self, _config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.0.clone()))
    }
}

impl ScopedStorage {
    fn store(&self, action: &'static str, location: &str) -> Result<&dyn Storage, StorageError> {
        self.stores.admit(action, location)?;
        Ok(self.stores.of(checked(action, location, &self.folder)?))
    }
}

#[async_trait]
#[typetag::serde(name = "TapehouseScopedStorage")]
impl Storage for ScopedStorage {
    async fn exists(&self, path: &str) -> Result<bool> {
        self.store("looking for", path)?.exists(path).await
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        self.store("looking at", path)?.metadata(path).await
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        self.store("reading", path)?.read(path).await
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        self.store("reading", path)?.reader(path).await
    }

    async fn write(&self, path: &str, content: Bytes) -> Result<()> {
        let mut writer = self.writer(path).await?;
        writer.write(content).await?;
        writer.close().await
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        let store = self.store("writing", path)?;
        match &self.unfinished {
            Some(unfinished) => unfinished.writer(&self.stores, path).await,
            None => store.writer(path).await,
        }
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.store("deleting", path)?.delete(path).await
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        self.store("deleting", path)?.delete_prefix(path).await
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> Result<()> {
        // Every path is checked before any file is deleted.
        let paths: Vec<String> = paths.collect().await;
        for path in &paths {
            self.store("deleting", path)?;
        }
        let Some(first) = paths.first() else { return Ok(()) };
        let store = self.store("deleting", first)?;
        store.delete_stream(futures::stream::iter(paths).boxed()).await
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        self.store("reading", path)?;
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        self.store("writing", path)?;
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

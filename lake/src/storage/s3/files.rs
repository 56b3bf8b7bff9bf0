//! iceberg's `Storage` on S3.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage};
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use serde::{Deserialize, Serialize};

use super::client::{Bucket, S3Clients};
use super::fault::classify;
use super::upload;
use crate::storage::MAX_WHOLE_FILE_BYTES;
use crate::storage::error::{StorageError, StorageProblem};
use crate::storage::location::Place;

type Result<T, E = iceberg::Error> = std::result::Result<T, E>;

/// Requests of one deletion under way at once, where files are deleted one by one.
const MAX_DELETES_IN_FLIGHT: usize = 16;

/// Files in S3. Writing never overwrites where the server can hold that (`If-None-Match`); names are unique per attempt
/// anyway. What is written is durable.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct S3Storage {
    #[serde(skip)]
    clients: S3Clients,
}

/// An object: its bucket's client and its key.
struct Object {
    bucket: Arc<Bucket>,
    key: Path,
}

impl S3Storage {
    pub(in crate::storage) fn new(clients: S3Clients) -> Self {
        Self { clients }
    }

    fn object(&self, action: &'static str, location: &str) -> Result<Object, StorageError> {
        let failed = |problem| StorageError::new(action, location, problem);
        let Place::S3 { bucket, key } = Place::of(location).map_err(failed)? else {
            return Err(failed(StorageProblem::NoLocation("it does not begin with s3://")));
        };
        let key = Path::parse(key).map_err(|error| classify(action, location, &error.into()))?;
        let bucket = self.clients.bucket(bucket)?;
        Ok(Object { bucket, key })
    }

    /// Writes a new file out of `blocks`.
    pub(in crate::storage) async fn create(&self, location: &str, blocks: Vec<Bytes>) -> Result<(), StorageError> {
        let object = self.object("writing", location)?;
        upload::create(&object.bucket, location, &object.key, blocks).await
    }

    /// Writes a file, whatever was there.
    pub(in crate::storage) async fn replace(&self, location: &str, content: Bytes) -> Result<(), StorageError> {
        let object = self.object("writing", location)?;
        upload::replace(&object.bucket, location, &object.key, content).await
    }

    /// Whether any file lies below `folder`.
    pub(in crate::storage) async fn has_files_below(&self, folder: &str) -> Result<bool, StorageError> {
        let object = self.object("listing", folder)?;
        let first = object.bucket.client.list(Some(&object.key)).try_next().await;
        Ok(first.map_err(|error| classify("listing", folder, &error))?.is_some())
    }
}

#[async_trait]
#[typetag::serde(name = "TapehouseS3Storage")]
impl Storage for S3Storage {
    async fn exists(&self, path: &str) -> Result<bool> {
        match self.metadata(path).await {
            Ok(_) => Ok(true),
            Err(error) => match StorageError::in_source_of(&error) {
                Some(StorageError {
                    problem: StorageProblem::NotFound,
                    ..
                }) => Ok(false),
                _ => Err(error),
            },
        }
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        const ACTION: &str = "looking at";
        let object = self.object(ACTION, path)?;
        let head = object.bucket.client.head(&object.key).await;
        let size = head.map_err(|error| classify(ACTION, path, &error))?.size;
        Ok(FileMetadata { size })
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        const ACTION: &str = "reading";
        let object = self.object(ACTION, path)?;
        let failed = |error| classify(ACTION, path, &error);
        let found = object.bucket.client.get(&object.key).await.map_err(failed)?;
        if found.meta.size > MAX_WHOLE_FILE_BYTES {
            let problem =
                StorageProblem::Rejected(format!("{} bytes are too many to be read at once", found.meta.size));
            return Err(StorageError::new(ACTION, path, problem).into());
        }
        Ok(found.bytes().await.map_err(failed)?)
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        let object = self.object("reading", path)?;
        let location = path.to_owned();
        Ok(Box::new(S3Read { location, object }))
    }

    async fn write(&self, path: &str, content: Bytes) -> Result<()> {
        Ok(self.create(path, vec![content]).await?)
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        // Refused now rather than when all is written.
        self.object("writing", path)?;
        Ok(Box::new(S3Write {
            storage: self.clone(),
            location: path.to_owned(),
            blocks: Some(Vec::new()),
        }))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        const ACTION: &str = "deleting";
        let object = self.object(ACTION, path)?;
        match object.bucket.client.delete(&object.key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(classify(ACTION, path, &error).into()),
        }
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        const ACTION: &str = "deleting";
        let object = self.object(ACTION, path)?;
        let listed = object
            .bucket
            .client
            .list(Some(&object.key))
            .map_ok(|found| found.location);
        let mut deleted = object.bucket.client.delete_stream(listed.boxed());
        while let Some(result) = deleted.next().await {
            result.map_err(|error| classify(ACTION, path, &error))?;
        }
        Ok(())
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> Result<()> {
        let deletes = paths.map(|path| async move { self.delete(&path).await });
        deletes.buffer_unordered(MAX_DELETES_IN_FLIGHT).try_collect().await
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

struct S3Read {
    location: String,
    object: Object,
}

#[async_trait]
impl FileRead for S3Read {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let read = self.object.bucket.client.get_range(&self.object.key, range).await;
        Ok(read.map_err(|error| classify("reading", &self.location, &error))?)
    }
}

/// Takes blocks as they are, and sends them when it is closed.
struct S3Write {
    storage: S3Storage,
    location: String,
    blocks: Option<Vec<Bytes>>,
}

impl S3Write {
    fn closed(&self) -> StorageError {
        let problem = StorageProblem::Rejected("it was closed before".to_owned());
        StorageError::new("writing", &self.location, problem)
    }
}

#[async_trait]
impl FileWrite for S3Write {
    async fn write(&mut self, content: Bytes) -> Result<()> {
        match &mut self.blocks {
            Some(blocks) => blocks.push(content),
            None => return Err(self.closed().into()),
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        let blocks = self.blocks.take().ok_or_else(|| self.closed())?;
        Ok(self.storage.create(&self.location, blocks).await?)
    }
}

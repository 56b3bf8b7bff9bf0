//! New files of one commit, made durable together.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use iceberg::io::{FileIO, FileWrite, Storage as _};
use tokio::task::JoinSet;

use super::durable;
use super::error::{StorageError, StorageProblem};
use super::location::{Place, local_path};
use super::s3::S3Storage;
use super::scope::Stores;
use crate::error::LakeError;

/// Writes new files below one folder. They are durable, and may be read, when [`Batch::finish`] returns: until then local
/// files are not flushed, and those of S3 are under way, all at once. A batch that is dropped instead leaves files that
/// nothing names.
#[derive(Debug)]
pub struct Batch {
    folder: PathBuf,
    io: FileIO,
    unfinished: Arc<Unfinished>,
}

impl Batch {
    pub(super) fn below(stores: &Stores, folder: &str) -> Self {
        let unfinished = Arc::new(Unfinished::default());
        Self {
            folder: local_path(folder),
            io: stores.scoped(folder, Some(Arc::clone(&unfinished))),
            unfinished,
        }
    }

    /// Writes the batch's files, and reads what else lies below the folder.
    pub fn io(&self) -> &FileIO {
        &self.io
    }

    /// Makes all files durable that were written through [`Batch::io`].
    ///
    /// # Errors
    /// The first file that was not written or could not be flushed.
    pub async fn finish(self) -> Result<(), LakeError> {
        let (files, mut uploads) = {
            let mut state = self.unfinished.lock();
            (std::mem::take(&mut state.files), std::mem::take(&mut state.uploads))
        };
        while let Some(upload) = uploads.join_next().await {
            upload.map_err(|_| LakeError::Interrupted("an upload"))??;
        }
        if files.is_empty() {
            return Ok(());
        }
        // The entries of all folders below the batch's own: the first file of a day, for instance, has made one.
        let above = |file: &PathBuf| -> Vec<PathBuf> {
            let folders = file.ancestors().skip(1);
            folders
                .take_while(|folder| *folder != self.folder)
                .map(PathBuf::from)
                .collect()
        };
        let mut folders: Vec<PathBuf> = files.iter().flat_map(above).collect();
        folders.sort_unstable();
        folders.dedup();
        durable::sync_paths(files.into_iter().chain(folders)).await
    }
}

/// What a batch has yet to make durable.
#[derive(Debug, Default)]
pub(super) struct Unfinished(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    files: Vec<PathBuf>,
    uploads: JoinSet<Result<(), StorageError>>,
}

impl Unfinished {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A writer of `location`, which was checked.
    pub(super) async fn writer(
        self: &Arc<Self>,
        stores: &Stores,
        location: &str,
    ) -> iceberg::Result<Box<dyn FileWrite>> {
        let place = Place::of(location).map_err(|problem| StorageError::new("writing", location, problem))?;
        match place {
            Place::Local(_) => {
                let writer = stores.local.writer(location).await?;
                self.lock().files.push(local_path(location));
                Ok(writer)
            }
            Place::S3 { .. } => Ok(Box::new(Upload {
                unfinished: Arc::clone(self),
                storage: stores.s3.clone(),
                location: location.to_owned(),
                blocks: Some(Vec::new()),
            })),
        }
    }
}

/// Takes blocks as they are; closing it starts the upload and waits for nothing.
struct Upload {
    unfinished: Arc<Unfinished>,
    storage: S3Storage,
    location: String,
    blocks: Option<Vec<Bytes>>,
}

impl Upload {
    fn closed(&self) -> StorageError {
        let problem = StorageProblem::Rejected("it was closed before".to_owned());
        StorageError::new("writing", &self.location, problem)
    }
}

#[async_trait]
impl FileWrite for Upload {
    async fn write(&mut self, content: Bytes) -> iceberg::Result<()> {
        match &mut self.blocks {
            Some(blocks) => blocks.push(content),
            None => return Err(self.closed().into()),
        }
        Ok(())
    }

    async fn close(&mut self) -> iceberg::Result<()> {
        let blocks = self.blocks.take().ok_or_else(|| self.closed())?;
        let (storage, location) = (self.storage.clone(), std::mem::take(&mut self.location));
        let upload = async move { storage.create(&location, blocks).await };
        self.unfinished.lock().uploads.spawn(upload);
        Ok(())
    }
}

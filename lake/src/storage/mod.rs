//! Where files live: folders of the local file system or of S3, spoken to through iceberg's `Storage` trait.
//!
//! - [`location`]: which locations there are, and the check that a file lies below the folder it is said to belong to.
//! - [`Batch`]: new files, made durable together. Local files are flushed at once just before the swap (on a journalling
//!   file system that costs one flush instead of one a file); uploads to S3 run at once and are waited for.

mod batch;
pub mod durable;
pub mod error;
mod local;
mod location;
mod s3;
mod scope;
mod settings;

use std::path::PathBuf;

use bytes::Bytes;
use iceberg::io::FileIO;
use tapehouse_core::secret::mask_userinfo;

use crate::error::LakeError;
pub use batch::Batch;
pub use error::{StorageError, StorageProblem};
pub use local::LocalStorage;
use location::Place;
pub use location::local_path;
use s3::S3Clients;
use scope::Stores;
pub use settings::{S3Credentials, S3Settings};

/// Largest file that is read whole: metadata, manifest lists, manifests. Data files are read by range.
const MAX_WHOLE_FILE_BYTES: u64 = 512 << 20;

/// The warehouse: a root location, below which tables are made, and the means to read and write files of any table.
#[derive(Clone, Debug)]
pub struct Warehouse {
    root: String,
    io: FileIO,
    stores: Stores,
}

impl Warehouse {
    /// The warehouse at `location`: `file:///absolute/path`, `/absolute/path` or `s3://bucket/prefix`. Nothing is connected
    /// to yet.
    ///
    /// # Errors
    /// [`LakeError::Unsupported`] for any other kind of location, and for an S3 endpoint that cannot be used.
    pub fn at(location: &str, s3: &S3Settings) -> Result<Self, LakeError> {
        let unsupported = || LakeError::Unsupported {
            what: "warehouse",
            value: mask_userinfo(location),
            expected: "expected file:///absolute/path, /absolute/path or s3://bucket/prefix",
        };
        let root = match Place::of(location).map_err(|_| unsupported())? {
            Place::Local(path) if path.trim_end_matches('/').is_empty() => return Err(unsupported()),
            Place::Local(path) => format!("file://{}", path.trim_end_matches('/')),
            Place::S3 { bucket, key } if !format!("/{key}").contains("//") => {
                s3.checked_endpoint()?;
                format!("s3://{bucket}/{key}").trim_end_matches('/').to_owned()
            }
            Place::S3 { .. } => return Err(unsupported()),
        };
        let stores = Stores::new(&root, S3Clients::new(s3.clone()));
        Ok(Self {
            io: stores.below(&root),
            root,
            stores,
        })
    }

    /// The root as a URI, without a slash at its end.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The root as a path of the file system; `None` when it is in S3.
    pub fn root_path(&self) -> Option<PathBuf> {
        self.is_local(&self.root).then(|| local_path(&self.root))
    }

    /// Reads and writes files below the root.
    pub fn io(&self) -> &FileIO {
        &self.io
    }

    /// Reads and writes files below `folder`, and no others. Cheap; clients and connections are shared.
    pub fn io_below(&self, folder: &str) -> FileIO {
        self.stores.below(folder)
    }

    /// Writes new files below `folder` that become durable together.
    pub fn batch(&self, folder: &str) -> Batch {
        Batch::below(&self.stores, folder)
    }

    /// Makes sure that files can be written into `folders`, durably. S3 knows no folders.
    pub(crate) async fn create_folders(&self, folders: &[String]) -> Result<(), LakeError> {
        for folder in folders.iter().filter(|folder| self.is_local(folder)) {
            let path = local_path(folder);
            tokio::task::spawn_blocking(move || durable::create_folder(&path))
                .await
                .map_err(|_| LakeError::Interrupted("creating a folder"))??;
        }
        Ok(())
    }

    /// Whether `folder` exists; in S3: whether it has files.
    pub(crate) async fn has_folder(&self, folder: &str) -> Result<bool, LakeError> {
        if !self.is_local(folder) {
            return Ok(self.stores.s3.has_files_below(folder).await?);
        }
        let path = local_path(folder);
        let found = tokio::task::spawn_blocking(move || path.try_exists().map_err(LakeError::io("looking for", &path)));
        found
            .await
            .map_err(|_| LakeError::Interrupted("looking for a folder"))?
    }

    /// Writes the file `name` in `folder`, whatever was there. A reader sees the old content or the new one. It is not
    /// flushed.
    pub(crate) async fn replace(&self, folder: &str, name: &'static str, content: Bytes) -> Result<(), LakeError> {
        let location = format!("{folder}/{name}");
        self.stores.admit("writing", &location)?;
        if !self.is_local(&location) {
            return Ok(self.stores.s3.replace(&location, content).await?);
        }
        let path = local_path(&location);
        tokio::task::spawn_blocking(move || local::replace(&path, &content).map_err(LakeError::io("writing", &path)))
            .await
            .map_err(|_| LakeError::Interrupted("writing a file"))?
    }

    fn is_local(&self, location: &str) -> bool {
        matches!(Place::of(location), Ok(Place::Local(_)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn locations() {
        let s3 = S3Settings::default();
        for good in ["file:///w/h", "/w/h", "/w/h/", "file:/w/h"] {
            let warehouse = Warehouse::at(good, &s3).unwrap();
            assert_eq!(warehouse.root(), "file:///w/h", "{good}");
            assert_eq!(warehouse.root_path().as_deref(), Some(Path::new("/w/h")));
        }
        for (given, root) in [
            ("s3://b/w", "s3://b/w"),
            ("s3a://b/w/", "s3://b/w"),
            ("s3://b", "s3://b"),
        ] {
            let warehouse = Warehouse::at(given, &s3).unwrap();
            assert_eq!(warehouse.root(), root);
            assert_eq!(warehouse.root_path(), None);
        }
        for bad in [
            "gs://bucket/w",
            "w/h",
            "",
            "file://host",
            "/w/../etc",
            "s3://",
            "s3://b/../c",
            "s3://b//c",
        ] {
            let error = Warehouse::at(bad, &s3).unwrap_err();
            assert!(matches!(error, LakeError::Unsupported { .. }), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_folders_files_are_reached_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let root = format!("file://{}", dir.path().display());
        let warehouse = Warehouse::at(&root, &S3Settings::default()).unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        let table = format!("{root}/t");
        let io = warehouse.io_below(&table);
        for outside in [
            format!("{root}/secret"),
            format!("{table}/../secret"),
            "/etc/hostname".to_owned(),
        ] {
            assert!(io.new_input(&outside).is_err(), "{outside}");
            assert!(io.new_output(&outside).is_err(), "{outside}");
            assert!(io.delete(&outside).await.is_err(), "{outside}");
            let both = futures::stream::iter([format!("{table}/a"), outside.clone()]);
            assert!(io.delete_stream(both).await.is_err(), "{outside}");
        }
        assert!(dir.path().join("secret").exists());
        // Nor does a table's own word lead out of the warehouse.
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join("secret"), "x").unwrap();
        let secret = format!("{}/secret", elsewhere.path().display());
        for folder in ["/", &elsewhere.path().display().to_string()] {
            assert!(warehouse.io_below(folder).new_input(&secret).is_err(), "{folder}");
            assert!(warehouse.batch(folder).io().new_output(&secret).is_err(), "{folder}");
            assert!(
                warehouse.replace(folder, "hint", Bytes::new()).await.is_err(),
                "{folder}"
            );
        }
        let batch = warehouse.batch(&table);
        let file = format!("{table}/data/day=1/a");
        let output = batch.io().new_output(&file).unwrap();
        output.write(Bytes::from_static(b"rows")).await.unwrap();
        batch.finish().await.unwrap();
        assert_eq!(io.new_input(&file).unwrap().read().await.unwrap(), "rows");
    }
}

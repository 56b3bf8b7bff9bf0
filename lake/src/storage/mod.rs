//! Where files live: one folder of the local file system, spoken to through iceberg's `Storage` trait.
//!
//! Nothing is fsynced file by file. A commit collects what it wrote and makes all of it durable at once just before the
//! swap ([`durable`]): on a journalling file system that costs one flush instead of one a file.

pub mod durable;
mod local;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use iceberg::io::{FileIO, FileIOBuilder};

use crate::error::LakeError;
pub use local::{LocalStorage, LocalStorageFactory};

/// The warehouse: a root location and the means to read and write below it.
#[derive(Clone, Debug)]
pub struct Warehouse {
    root: String,
    io: FileIO,
}

impl Warehouse {
    /// The warehouse at `location`: `file:///absolute/path` or `/absolute/path`.
    ///
    /// # Errors
    /// [`LakeError::Unsupported`] for any other kind of location.
    pub fn at(location: &str) -> Result<Self, LakeError> {
        let unsupported = || LakeError::Unsupported {
            what: "warehouse",
            value: location.to_owned(),
            expected: "expected file:///absolute/path or /absolute/path",
        };
        let path = match location.split_once(':') {
            Some(("file", rest)) => rest.strip_prefix("//").unwrap_or(rest),
            Some((scheme, rest)) if rest.starts_with("//") && !scheme.contains('/') => return Err(unsupported()),
            _ => location,
        };
        let path = path.trim_end_matches('/');
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(unsupported());
        }
        Ok(Self {
            root: format!("file://{path}"),
            io: FileIOBuilder::new(Arc::new(LocalStorageFactory)).build(),
        })
    }

    /// The root as a URI, without a slash at its end.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The root as a path.
    pub fn root_path(&self) -> PathBuf {
        local_path(&self.root)
    }

    /// Reads and writes files by location.
    pub fn io(&self) -> &FileIO {
        &self.io
    }
}

/// The path in the file system that a location (`file:///a`, `file:/a` or `/a`) names.
pub fn local_path(location: &str) -> PathBuf {
    let path = location
        .strip_prefix("file://")
        .or_else(|| location.strip_prefix("file:"))
        .unwrap_or(location);
    Path::new(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        for good in ["file:///w/h", "/w/h", "/w/h/", "file:/w/h"] {
            let warehouse = Warehouse::at(good).unwrap();
            assert_eq!(warehouse.root(), "file:///w/h", "{good}");
            assert_eq!(warehouse.root_path(), Path::new("/w/h"));
        }
        for bad in ["s3://bucket/w", "w/h", "", "file://host", "/w/../etc"] {
            let error = Warehouse::at(bad).unwrap_err();
            assert!(matches!(error, LakeError::Unsupported { .. }), "{bad}");
        }
    }
}

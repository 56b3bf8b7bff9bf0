//! Locations: what a file is called, and whether it may be touched.
//!
//! Metadata, manifests and messages name files by location, and whoever writes those could name any file. So each location
//! is checked here before it is read, written or deleted: it lies below the folder of the table (or the warehouse) that is
//! being worked on, and has no segments that lead elsewhere.

use std::path::{Path, PathBuf};

use super::error::{StorageError, StorageProblem};

/// A location taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// A path of the file system.
    Local(&'a str),
    /// An object.
    S3 {
        /// The bucket.
        bucket: &'a str,
        /// The object's key, without a slash at its beginning.
        key: &'a str,
    },
}

impl<'a> Place<'a> {
    /// Takes `file:///a`, `file:/a`, `/a` or `s3://bucket/a` (also `s3a`, `s3n`: Hadoop's names of the same) apart.
    pub(crate) fn of(location: &'a str) -> Result<Self, StorageProblem> {
        if location.chars().any(char::is_control) {
            return Err(StorageProblem::NoLocation("it holds a control character"));
        }
        let place = match location.split_once("://") {
            Some(("s3" | "s3a" | "s3n", rest)) => {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() || !bucket.chars().all(is_bucket_character) {
                    return Err(StorageProblem::NoLocation("it names no bucket"));
                }
                Self::S3 { bucket, key }
            }
            Some((scheme, _)) if scheme != "file" && !scheme.contains('/') => {
                return Err(StorageProblem::NoLocation("only file:// and s3:// are spoken"));
            }
            _ => Self::Local(local_text(location)),
        };
        let path = match place {
            Self::Local(path) if !path.starts_with('/') => {
                return Err(StorageProblem::NoLocation("its path is not absolute"));
            }
            Self::Local(path) => path,
            Self::S3 { key, .. } => key,
        };
        if path.split('/').any(|segment| segment == ".." || segment == ".") {
            return Err(StorageProblem::NoLocation("a segment of it is `.` or `..`"));
        }
        Ok(place)
    }

    /// Whether this lies below `folder`.
    pub(crate) fn is_below(&self, folder: &Place<'_>) -> bool {
        let below = |path: &str, folder: &str| {
            let folder = folder.trim_end_matches('/');
            folder.is_empty() && !path.is_empty()
                || path
                    .strip_prefix(folder)
                    .is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
        };
        match (self, folder) {
            (Self::Local(path), Place::Local(folder)) => below(path, folder),
            (
                Self::S3 { bucket, key },
                Place::S3 {
                    bucket: other,
                    key: folder,
                },
            ) => bucket == other && below(key, folder),
            _ => false,
        }
    }
}

/// `location`, taken apart, if it lies in the warehouse at `root`: below its folder, or in its bucket. A catalog may choose
/// where a table is, but not any folder of this machine, nor any bucket that our key opens.
pub(crate) fn admitted<'a>(action: &'static str, location: &'a str, root: &str) -> Result<Place<'a>, StorageError> {
    let refused = |problem| StorageError::new(action, location, problem);
    let place = Place::of(location).map_err(refused)?;
    let limit = match Place::of(root).map_err(refused)? {
        Place::Local(_) => root.to_owned(),
        Place::S3 { bucket, .. } => format!("s3://{bucket}"),
    };
    match Place::of(&limit).is_ok_and(|limit| place.is_below(&limit)) {
        true => Ok(place),
        false => Err(refused(StorageProblem::Outside(limit))),
    }
}

/// `location`, taken apart, if it lies below `folder`.
pub(crate) fn checked<'a>(action: &'static str, location: &'a str, folder: &str) -> Result<Place<'a>, StorageError> {
    let refused = |problem| StorageError::new(action, location, problem);
    let place = Place::of(location).map_err(refused)?;
    let outside = || refused(StorageProblem::Outside(folder.to_owned()));
    match Place::of(folder).is_ok_and(|folder| place.is_below(&folder)) {
        true => Ok(place),
        false => Err(outside()),
    }
}

/// The path in the file system that a location (`file:///a`, `file:/a` or `/a`) names.
pub fn local_path(location: &str) -> PathBuf {
    Path::new(local_text(location)).to_owned()
}

fn local_text(location: &str) -> &str {
    let path = location.strip_prefix("file://");
    path.or_else(|| location.strip_prefix("file:")).unwrap_or(location)
}

fn is_bucket_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_taken_apart() {
        for local in ["file:///w/t", "file:/w/t", "/w/t"] {
            assert_eq!(Place::of(local).unwrap(), Place::Local("/w/t"), "{local}");
        }
        for s3 in ["s3://b/w/t", "s3a://b/w/t", "s3n://b/w/t"] {
            assert_eq!(
                Place::of(s3).unwrap(),
                Place::S3 {
                    bucket: "b",
                    key: "w/t"
                },
                "{s3}"
            );
        }
        for bad in [
            "w/t",
            "",
            "file://host",
            "gs://b/w",
            "s3://",
            "s3:///w",
            "s3://b:1/w",
            "/w/../x",
            "s3://b/./x",
            "/w\n/x",
        ] {
            assert!(Place::of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_lies_in_the_warehouse_is_touched() {
        for (location, root) in [
            ("file:///w/h/t/a", "file:///w/h"),
            ("s3://b/elsewhere/t/a", "s3://b/w"),
            ("s3a://b/a", "s3://b"),
        ] {
            assert!(admitted("reading", location, root).is_ok(), "{location} in {root}");
        }
        for (location, root) in [
            ("/etc/passwd", "file:///w/h"),
            ("/w/h2/a", "file:///w/h"),
            ("/dev/zero", "s3://b/w"),
            ("s3://b/w/t", "file:///w/h"),
            ("s3://other/w/t", "s3://b/w"),
            ("/w/h/t", ""),
        ] {
            let refused = admitted("reading", location, root);
            assert!(refused.is_err(), "{location} in {root}");
        }
    }

    #[test]
    fn only_what_lies_below_the_folder_is_touched() {
        for (location, folder) in [
            ("file:///w/t/metadata/a", "/w/t"),
            ("/w/t/metadata/a", "file:///w/t/"),
            ("s3a://b/w/t/data/a", "s3://b/w/t"),
            ("s3://b/a", "s3://b"),
        ] {
            assert!(checked("reading", location, folder).is_ok(), "{location} in {folder}");
        }
        for (location, folder) in [
            ("/w/t2/a", "/w/t"),
            ("/w/t", "/w/t"),
            ("/w/t/", "/w/t"),
            ("/w/t/../u/a", "/w/t"),
            ("/etc/passwd", "/w/t"),
            ("/w/t/a", "s3://b/w/t"),
            ("s3://c/w/t/a", "s3://b/w/t"),
            ("s3://b/w/ta", "s3://b/w/t"),
        ] {
            assert!(checked("reading", location, folder).is_err(), "{location} in {folder}");
        }
    }
}

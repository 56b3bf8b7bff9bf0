//! Faults of a file system that a cause lower down names: each heals by itself once somebody makes room.

use std::error::Error;
use std::io;

// Numbers of Linux.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const EDQUOT: i32 = 122;
// Primary result codes of SQLite; the extended ones hold them in their low byte.
const SQLITE_READONLY: i32 = 8;
const SQLITE_FULL: i32 = 13;

/// Causes looked at before the search is given up.
const MAX_DEPTH: usize = 16;

/// What a file system refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageFault {
    /// No space is left, or a quota is used up.
    DiskFull,
    /// The file system, or the catalog's database, is mounted or marked read-only.
    ReadOnly,
    /// The process or the system has no file descriptor left.
    TooManyOpenFiles,
}

impl StorageFault {
    /// The fault behind `error`, looked for among its causes.
    pub fn behind(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        for _ in 0..MAX_DEPTH {
            let error = cause?;
            if let Some(fault) = Self::of(error) {
                return Some(fault);
            }
            cause = error.source();
        }
        None
    }

    fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return match error.raw_os_error() {
                Some(ENOSPC | EDQUOT) => Some(Self::DiskFull),
                Some(EROFS) => Some(Self::ReadOnly),
                Some(EMFILE | ENFILE) => Some(Self::TooManyOpenFiles),
                // Sled and others copy an error by its text alone.
                _ if error.kind() == io::ErrorKind::StorageFull => Some(Self::DiskFull),
                _ => error.get_ref().and_then(|inner| Self::of_text(&inner.to_string())),
            };
        }
        let database = error.downcast_ref::<sqlx::Error>()?.as_database_error()?;
        match database.code()?.parse::<i32>().ok()? & 0xff {
            SQLITE_FULL => Some(Self::DiskFull),
            SQLITE_READONLY => Some(Self::ReadOnly),
            _ => None,
        }
    }

    /// The fault that an operating system's words name, where nothing else is left of an error.
    pub fn of_text(text: &str) -> Option<Self> {
        let numbers = [
            (ENOSPC, Self::DiskFull),
            (EDQUOT, Self::DiskFull),
            (EROFS, Self::ReadOnly),
            (EMFILE, Self::TooManyOpenFiles),
        ];
        let named =
            |number: i32| text.contains(&format!("(os error {number})")) || text.contains(&format!("code: {number},"));
        numbers
            .iter()
            .find(|(number, _)| named(*number))
            .map(|(_, fault)| *fault)
    }

    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::ReadOnly => "read_only",
            Self::TooManyOpenFiles => "too_many_open_files",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{CommitError, LakeError};
    use crate::files::FileError;
    use crate::name::TableName;

    fn full() -> io::Error {
        io::Error::from_raw_os_error(ENOSPC)
    }

    #[test]
    fn it_is_found_below_every_layer() {
        let lake = LakeError::io("writing", "/w")(full());
        assert_eq!(StorageFault::behind(&lake), Some(StorageFault::DiskFull));
        let table = TableName::new("bronze", "t").unwrap();
        let commit = CommitError::Fatal { table, source: lake };
        assert_eq!(StorageFault::behind(&commit), Some(StorageFault::DiskFull));
        let of_file = iceberg::Error::new(iceberg::ErrorKind::Unexpected, "writing").with_source(full());
        assert_eq!(StorageFault::behind(&of_file), Some(StorageFault::DiskFull));
        assert_eq!(
            StorageFault::behind(&FileError::Write(LakeError::iceberg("writing")(of_file))),
            Some(StorageFault::DiskFull)
        );
        let copied = io::Error::other(full().to_string());
        assert_eq!(StorageFault::behind(&copied), Some(StorageFault::DiskFull));
    }

    #[test]
    fn others_are_none_of_these() {
        let missing = LakeError::io("opening", "/w")(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(StorageFault::behind(&missing), None);
        let read_only = io::Error::from_raw_os_error(EROFS);
        assert_eq!(StorageFault::behind(&read_only), Some(StorageFault::ReadOnly));
    }
}

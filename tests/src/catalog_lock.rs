//! A writer that hangs in the middle of a transaction.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use crate::{Error, Site};

/// Holds the write lock of a site's SQLite catalog until it is dropped.
#[derive(Debug)]
pub struct CatalogLock(Child);

impl CatalogLock {
    /// Takes the lock; returns when it is held.
    ///
    /// # Errors
    /// When it is not to be had.
    pub fn on(site: &Site) -> Result<Self, Error> {
        let mut command = site.tools().python("feeds/lock.py");
        command.arg(site.catalog_file());
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut lock = Self(spawned.map_err(Error::io("lock.py"))?);
        let mut said = String::new();
        if let Some(output) = lock.0.stdout.take() {
            let read = BufReader::new(output).read_line(&mut said);
            read.map_err(Error::io("lock.py"))?;
        }
        match said.trim() {
            "locked" => Ok(lock),
            other => Err(Error::unexpected(format!("the catalog was not locked: {other:?}"))),
        }
    }
}

impl Drop for CatalogLock {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

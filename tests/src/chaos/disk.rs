//! A disk of its own for one case, which can be full.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::Rng as _;

use super::performance::{PATIENCE, Performance, Story};
use crate::{Error, await_that, fill_disk, free_disk, run};

/// Space beside that for the records.
const BASE_MIB: u64 = 96;
/// Space for one record, with everything that is written beside it.
const RECORD_BYTES: u64 = 500;
/// What a node says that cannot write: the system's words, and SQLite's.
const COMPLAINTS: [&str; 2] = ["No space left on device", "database or disk is full"];

/// A tmpfs. Unmounted when dropped.
pub(super) struct Disk {
    mounted: crate::Disk,
    kept: PathBuf,
}

impl Disk {
    /// Mounts one at `folder` with room for `records`; the log of node `a` lies elsewhere, so that it can tell.
    ///
    /// # Errors
    /// [`Error::Needs`] where this may not be done.
    pub(super) fn mount(folder: &Path, records: u64) -> Result<Self, Error> {
        let size_bytes = (BASE_MIB << 20) + records * RECORD_BYTES;
        let disk = Self {
            kept: folder.with_extension("kept"),
            mounted: crate::Disk::mount(folder, size_bytes)?,
        };
        fs::create_dir_all(&disk.kept).map_err(Error::io(disk.kept.display().to_string()))?;
        symlink(disk.kept.join("a.log"), folder.join("a.log")).map_err(Error::io("the log's link"))?;
        Ok(disk)
    }

    /// Keeps what is on it, for inspection.
    pub(super) fn keep(&self) {
        let mut copy = Command::new("cp");
        copy.args(["-a", "--"]).arg(self.mounted.folder()).arg(&self.kept);
        let _ = run(copy);
    }

    /// Unmounts it and removes what was kept.
    pub(super) fn remove(self) -> Result<(), Error> {
        let (folder, kept) = (self.mounted.folder().to_owned(), self.kept.clone());
        drop(self);
        super::ground::remove(&kept)?;
        super::ground::remove(&folder)
    }
}

impl Performance<'_> {
    pub(super) fn disk_full(&mut self, is_killed: bool) -> Result<Story, Error> {
        let mut node = self.start_for_ever("a")?;
        let rows = self.rng.random_range(self.rows / 20..self.rows / 4);
        self.await_rows(&mut node, rows)?;
        let filled = fill_disk(self.site.folder())?;
        await_that("a node that says that the disk is full", PATIENCE, || {
            let log = node.log();
            if let Some(status) = node.poll()? {
                return Err(Error::unexpected(format!("it ended with {status}:\n{}", node.tail())));
            }
            Ok(COMPLAINTS.iter().any(|complaint| log.contains(complaint)))
        })?;
        let at = self.await_stall(&mut node)?;
        let mut story = format!("full at {} ({filled} MiB of it)", self.shown(at));
        if is_killed {
            node.kill()?;
            node = self.start_for_ever("a")?;
            // Either it waits or it ends with an error, as long as there is no room; then a service manager starts it again.
            std::thread::sleep(std::time::Duration::from_millis(self.rng.random_range(0..2000)));
            story.push_str("; killed and started meanwhile");
        }
        free_disk(self.site.folder())?;
        if let Some(status) = node.poll()? {
            story.push_str(&format!(", where it ended with {status}"));
            if status.code() == Some(0) {
                return Err(Error::unexpected(format!("it claims success:\n{}", node.tail())));
            }
            node = self.start_for_ever("a")?;
        }
        self.end_at_all_rows(&mut node)?;
        Ok(story)
    }
}

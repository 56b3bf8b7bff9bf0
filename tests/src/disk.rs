//! A small disk that a test can fill, empty and make read-only: a tmpfs.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, run};

const FILLER: &str = "filler";

/// A mounted tmpfs. Unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts one of `size_bytes` at `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// [`Error::Needs`] where this may not be done.
    pub fn mount(folder: &Path, size_bytes: u64) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io(folder.display().to_string()))?;
        let mut mount = Command::new("mount");
        let options = format!("size={}k", size_bytes.div_ceil(1024));
        mount
            .args(["-t", "tmpfs", "-o", &options, "tapehouse-test"])
            .arg(folder);
        if !run(mount).is_ok_and(|mounted| mounted.code == Some(0)) {
            let _ = fs::remove_dir(folder);
            return Err(Error::Needs("root, to mount a tmpfs that can be full".to_owned()));
        }
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes it read-only, or writable again.
    ///
    /// # Errors
    /// When the system refuses, for instance because a file is open for writing.
    pub fn set_read_only(&self, is_read_only: bool) -> Result<(), Error> {
        let mut mount = Command::new("mount");
        let options = if is_read_only { "remount,ro" } else { "remount,rw" };
        mount.args(["-o", options]).arg(&self.folder);
        run(mount)?.expect(&[0])?;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a node that still ends may hold a file.
        let mut unmount = Command::new("umount");
        unmount.arg("--lazy").arg(&self.folder);
        let _ = run(unmount);
    }
}

/// Writes into `folder` until nothing more fits on its disk; the number of MiB.
///
/// # Errors
/// When the file that fills it cannot be made.
pub fn fill_disk(folder: &Path) -> Result<u64, Error> {
    let file = File::options().append(true).create(true).open(folder.join(FILLER));
    let mut file = file.map_err(Error::io("the filler"))?;
    let mut bytes: u64 = 0;
    for block in [1 << 20, 1 << 12] {
        let zeros = vec![0_u8; block];
        while file.write_all(&zeros).is_ok() {
            bytes += block as u64;
        }
    }
    Ok(bytes >> 20)
}

/// Takes back what [`fill_disk`] wrote.
///
/// # Errors
/// When it cannot be removed.
pub fn free_disk(folder: &Path) -> Result<(), Error> {
    fs::remove_file(folder.join(FILLER)).map_err(Error::io("the filler"))
}

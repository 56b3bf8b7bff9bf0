//! A wall clock that is wrong for one node alone.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, run};

/// Shifts the wall clock of the nodes that are started with [`Self::environment`]; their monotonic clocks are right.
#[derive(Clone, Debug)]
pub struct ShiftedClock {
    library: PathBuf,
    offset: PathBuf,
}

impl ShiftedClock {
    /// Builds the library into `folder`; the clock is right as yet.
    ///
    /// # Errors
    /// When there is no C compiler.
    pub fn build(folder: &Path) -> Result<Self, Error> {
        let clock = Self {
            library: folder.join("shifted_clock.so"),
            offset: folder.join("clock-offset"),
        };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("feeds/shifted_clock.c");
        let mut compiler = Command::new("cc");
        compiler
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&clock.library)
            .arg(source)
            .arg("-ldl");
        run(compiler)?.expect(&[0])?;
        clock.set_ahead(0)?;
        Ok(clock)
    }

    /// From now on the clock is so many seconds ahead, also of nodes that run.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_ahead(&self, seconds: u32) -> Result<(), Error> {
        // In place, as nodes have it open, and of one length: no reader sees half of it or nothing.
        let failed = || Error::io("the clock's offset");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.offset);
        let written = file.map_err(failed())?.write_all(format!("{seconds:<8}").as_bytes());
        written.map_err(failed())
    }

    /// Variables for the environment of a node.
    pub fn environment(&self) -> Vec<(String, String)> {
        let of = |name: &str, path: &Path| (name.to_owned(), path.display().to_string());
        vec![of("LD_PRELOAD", &self.library), of("SHIFTED_CLOCK", &self.offset)]
    }
}

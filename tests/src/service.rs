//! One server of `services/`, started and stopped by its script.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::guardian::Guardian;
use crate::{Error, run};

/// A script of `services/`.
pub fn script(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("services").join(name))
}

/// A running server of this process alone, in a folder that is removed when it stops. Stopped when dropped, and when the
/// process ends otherwise.
#[derive(Debug)]
pub struct Service {
    name: &'static str,
    folder: PathBuf,
    address: String,
    said: String,
    options: Vec<String>,
    _guardian: Guardian,
}

impl Service {
    /// Starts the server of the script `name` with further `options`; it says its address as `key=ADDRESS`.
    ///
    /// # Errors
    /// [`Error::Needs`] when it cannot run on this machine.
    pub fn start(name: &'static str, key: &str, options: &[&str]) -> Result<Self, Error> {
        let folder = folder()?;
        let guardian = Guardian::over(&script(name), "stop", &folder)?;
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let started = act(name, "start", &folder, &options)?;
        Ok(Self {
            name,
            address: said(&started, key)?,
            said: started,
            folder,
            options,
            _guardian: guardian,
        })
    }

    /// Its address; the same over restarts.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Another value that its script said as `key=VALUE`.
    ///
    /// # Errors
    /// When it said none.
    pub fn value(&self, key: &str) -> Result<String, Error> {
        said(&self.said, key)
    }

    /// Where its state and log are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Stops it in good order.
    ///
    /// # Errors
    /// When the script fails.
    pub fn stop(&self) -> Result<(), Error> {
        act(self.name, "stop", &self.folder, &[]).map(|_| ())
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// When the script fails.
    pub fn kill(&self) -> Result<(), Error> {
        act(self.name, "kill", &self.folder, &[]).map(|_| ())
    }

    /// Starts it again, with its data and at its port; returns when it answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&self) -> Result<(), Error> {
        act(self.name, "start", &self.folder, &self.options).map(|_| ())
    }
}

/// A new folder for servers.
pub(crate) fn folder() -> Result<PathBuf, Error> {
    let made = tempfile::Builder::new().prefix("tapehouse-servers-").tempdir();
    Ok(made.map_err(Error::io("a temporary folder"))?.keep())
}

/// What a script said as `key=VALUE`.
pub(crate) fn said(output: &str, key: &str) -> Result<String, Error> {
    let value = output
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = value.map(str::to_owned);
    value.ok_or_else(|| Error::unexpected(format!("no {key} was said: {output}")))
}

fn act(name: &str, action: &str, folder: &Path, options: &[String]) -> Result<String, Error> {
    let mut command = script(name);
    command.arg(action).arg(folder).args(options);
    Ok(run(command)?.expect(&[0])?.stdout)
}

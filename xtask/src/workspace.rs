//! Where things are: the checkout, the target directory, the tracked files.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stages::Failure;

/// The checkout and cargo's target directory.
pub struct Workspace {
    /// The folder of the workspace's Cargo.toml.
    pub root: PathBuf,
    /// The target directory that this program was built into, whatever configured it.
    pub target: PathBuf,
}

/// Whether cargo set the variable for the package that it runs, which is this program's. Build scripts look at some of them (that of
/// `ring` at most): what was built by `cargo` itself would be built again by `cargo xtask`, with all that is above it, and again after that.
fn is_of_a_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

impl Workspace {
    /// Finds both.
    ///
    /// # Errors
    /// When this program does not lie in a target directory, which means that cargo did not start it.
    pub fn locate() -> Result<Self, Failure> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        let root = root.ok_or_else(|| Failure::failed("the xtask crate has no parent folder"))?;
        let program = std::env::current_exe().map_err(|e| Failure::failed(format!("where am I: {e}")))?;
        let target = program.ancestors().nth(2);
        let target = target.ok_or_else(|| Failure::failed("run it as `cargo xtask`"))?;
        Ok(Self {
            root: root.to_owned(),
            target: target.to_owned(),
        })
    }

    /// The cargo that started this program, to be run in the root and with the same target directory.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_a_package(name)) {
            command.env_remove(name);
        }
        command
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .args(arguments);
        command
    }

    /// A release build of the node and the test programs, with `arguments` added. The two are always selected together: cargo unifies
    /// the features of dependencies over what is selected, and another selection would compile half of the dependencies again.
    pub fn build(&self, arguments: &[&str]) -> Command {
        let mut command = self.cargo(&["build", "--release", "-p", "tapehouse", "-p", "tapehouse-tests"]);
        command.args(arguments);
        command
    }

    /// A program of this checkout or of the system, to be run in the root.
    pub fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).args(arguments);
        command
    }

    /// The text files that git knows or would add, relative to the root and sorted.
    ///
    /// # Errors
    /// When git cannot list them.
    pub fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        let listed = self
            .program("git", &["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .output()
            .map_err(|e| Failure::failed(format!("git: {e}")))?;
        if !listed.status.success() {
            return Err(Failure::failed(
                "git ls-files failed: tidy reads the list of files from git",
            ));
        }
        let names = String::from_utf8_lossy(&listed.stdout);
        let mut files: Vec<PathBuf> = names
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
            .collect();
        files.sort();
        files.dedup();
        Ok(files)
    }
}

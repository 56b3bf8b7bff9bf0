//! Where the programs are that the tests use.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, run, script};

/// Names the node with failpoints; `cargo xtask test` and `cargo xtask chaos` set it.
const NODE_VARIABLE: &str = "TAPEHOUSE_BIN";

/// The node, the scripts and Python.
#[derive(Clone, Debug)]
pub struct Tools {
    tests: PathBuf,
    node: PathBuf,
    python: PathBuf,
    environment: Vec<(String, String)>,
}

impl Tools {
    /// Finds them; makes the oracles' Python environment where it is missing.
    ///
    /// # Errors
    /// [`Error::Needs`] for what is not there.
    pub fn locate() -> Result<Self, Error> {
        let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let needs_node = || {
            Error::Needs(format!(
                "{NODE_VARIABLE}, a node with failpoints: cargo xtask test builds it"
            ))
        };
        let node = std::env::var_os(NODE_VARIABLE)
            .map(PathBuf::from)
            .filter(|node| node.is_file())
            .ok_or_else(needs_node)?;
        let node = node.canonicalize().map_err(Error::io("the node's path"))?;
        let venv = run(script("venv.sh"))?.expect(&[0])?;
        let python = PathBuf::from(venv.stdout.trim());
        Ok(Self {
            tests,
            node,
            python,
            environment: Vec::new(),
        })
    }

    /// The same, with variables for the Python programs.
    #[must_use]
    pub(crate) fn with_environment(mut self, variables: Vec<(String, String)>) -> Self {
        self.environment = variables;
        self
    }

    /// The node.
    pub fn node(&self) -> &Path {
        &self.node
    }

    /// A Python program of the `tests` folder.
    pub fn python(&self, program: &str) -> Command {
        let mut command = Command::new(&self.python);
        let variables = self.environment.iter().map(|(name, value)| (name, value));
        command.envs(variables).arg(self.tests.join(program));
        command
    }
}

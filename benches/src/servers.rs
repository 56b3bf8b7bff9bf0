//! Real Kafka and Apicurio by the test scripts, in a folder of their own; and the programs that are run against them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Outcome;

/// Where `cargo xtask bench` says which node to measure.
const NODE_VARIABLE: &str = "TAPEHOUSE_BIN";

/// Running servers; stopped when dropped.
#[derive(Debug)]
pub struct Servers {
    folder: PathBuf,
    /// Kafka's address.
    pub bootstrap: String,
    /// The registry's address.
    pub registry: String,
}

/// The programs that the benches run.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The node.
    pub node: PathBuf,
    /// The limit loop.
    pub limit: PathBuf,
    /// Python with the oracles' packages.
    pub python: PathBuf,
    /// kcat, where it is installed.
    pub kcat: Option<PathBuf>,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn script(name: &str, arguments: &[&str]) -> Outcome<String> {
    let output = Command::new("bash")
        .arg(repository().join("tests/services").join(name))
        .args(arguments)
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name}: {}: {}", output.status, said.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

impl Servers {
    /// Starts both in `folder`.
    ///
    /// # Errors
    /// When something that they need is missing; the text says what.
    pub fn start(folder: &Path) -> Outcome<Self> {
        let folder = folder.to_owned();
        // Made first: when starting fails or is interrupted, what already runs is stopped.
        let mut servers = Self {
            folder,
            bootstrap: String::new(),
            registry: String::new(),
        };
        let answer = script("stack.sh", &["up", &servers.folder.to_string_lossy()])?;
        for line in answer.lines() {
            match line.split_once('=') {
                Some(("KAFKA_BOOTSTRAP_SERVERS", value)) => servers.bootstrap = value.to_owned(),
                Some(("SCHEMA_REGISTRY_URL", value)) => servers.registry = value.to_owned(),
                _ => {}
            }
        }
        if servers.bootstrap.is_empty() || servers.registry.is_empty() {
            return Err(format!("stack.sh printed no addresses: {answer}").into());
        }
        Ok(servers)
    }

    /// A command of the node with these servers, and catalog, warehouse, state and port of its own in `folder`.
    pub fn node(&self, programs: &Programs, folder: &Path) -> Command {
        let mut command = Command::new(&programs.node);
        command
            .current_dir(folder)
            .env("KAFKA_BOOTSTRAP_SERVERS", &self.bootstrap)
            .env("SCHEMA_REGISTRY_URL", &self.registry)
            .env("ICEBERG_CATALOG_URI", format!("sqlite://{}", catalog(folder).display()))
            .env("ICEBERG_WAREHOUSE_PATH", folder.join("warehouse"))
            .env("TAPEHOUSE__HTTP__LISTEN", "127.0.0.1:0")
            .env("TAPEHOUSE__GRPC__LISTEN", "127.0.0.1:0")
            .arg("--state-dir")
            .arg(folder.join("state"));
        command
    }

    /// Produces trades; `arguments` say how many or how fast.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn generate(&self, programs: &Programs, folder: &Path, arguments: &[&str]) -> Outcome<Value> {
        let output = self
            .node(programs, folder)
            .args(["generate", "--topic", "trades", "--partitions", "4", "-o", "json"])
            .args(arguments)
            .output()?;
        if !output.status.success() {
            return Err(format!("generate: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Err(error) = script("stack.sh", &["down", &self.folder.to_string_lossy()]) {
            eprintln!("the servers in {} may still run: {error}", self.folder.display());
        }
    }
}

/// Where the node of `folder` keeps its catalog.
pub fn catalog(folder: &Path) -> PathBuf {
    folder.join("catalog.db")
}

impl Programs {
    /// Finds them: the node by `TAPEHOUSE_BIN` or beside this program.
    ///
    /// # Errors
    /// When one that is needed is missing.
    pub fn find() -> Outcome<Self> {
        let beside = |name: &str| Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name(name));
        let node = match std::env::var_os(NODE_VARIABLE) {
            Some(path) => PathBuf::from(path),
            None => beside("tapehouse")?,
        };
        let programs = Self {
            node,
            limit: beside("limit")?,
            python: script("venv.sh", &[])?.trim().into(),
            kcat: on_the_path(&["kcat", "kafkacat"]),
        };
        for needed in [&programs.node, &programs.limit, &programs.python] {
            if !needed.exists() {
                return Err(format!("{} does not exist; `cargo xtask bench` builds it", needed.display()).into());
            }
        }
        Ok(programs)
    }

    /// An oracle of `tests/oracle`.
    pub fn oracle(&self, name: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(repository().join("tests/oracle").join(name));
        command
    }
}

fn on_the_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|candidate| candidate.is_file())
}

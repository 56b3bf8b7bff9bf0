//! Configuration: one TOML file, the environment and flags.
//!
//! Precedence: flag, `TAPEHOUSE__SECTION__KEY`, short name, file, default. Every fault that can be found without asking
//! anybody else is found at once, and says its key, its reason, where the value came from and an example.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod environment;
mod fault;
mod file;
mod interfaces;
mod keys;
mod resolve;
mod risks;
pub mod schema;
mod secret;
mod settings;
pub mod show;
mod topics;
mod values;

#[cfg(test)]
mod tests;

pub use environment::Environment;
pub use fault::{ConfigError, Fault, nearest};
pub use interfaces::{Client, ClientToken, Grpc, ServerTls, Tokens};
pub use keys::Part;
pub use risks::risks;
pub use secret::Secret;
pub use topics::Topic;

use resolve::Resolved;
use tapehouse_core::ledger::Limits;
use tapehouse_lake::{CatalogSettings, S3Settings};

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// Keys by dotted path, of `--set` and of the flags that stand for a key.
    pub set: Vec<(String, String)>,
    /// `--insecure`.
    pub insecure: bool,
}

/// How to reach Kafka. No `Debug`: the properties may hold secrets.
#[derive(Clone)]
pub struct Kafka {
    /// `host:port[,host:port...]`.
    pub bootstrap_servers: String,
    /// librdkafka's name of the security protocol.
    pub security_protocol: String,
    /// SASL mechanism, user and password.
    pub sasl: Option<Sasl>,
    /// Certificate authority of the brokers.
    pub ssl_ca_location: Option<String>,
    /// Certificate of this client.
    pub ssl_certificate_location: Option<String>,
    /// Key of this client.
    pub ssl_key_location: Option<String>,
    /// Password of that key.
    pub ssl_key_password: Option<Secret>,
    /// Passed through to librdkafka.
    pub properties: BTreeMap<String, String>,
}

/// How to log in at Kafka.
#[derive(Clone, Debug)]
pub struct Sasl {
    /// PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    pub mechanism: String,
    /// User.
    pub username: String,
    /// Password.
    pub password: Secret,
}

/// How to log in at the Schema Registry.
#[derive(Clone, Debug)]
pub enum RegistryLogin {
    /// Not at all.
    None,
    /// Basic authentication.
    Basic {
        /// User.
        user: String,
        /// Password.
        password: Secret,
    },
    /// Bearer token.
    Bearer(Secret),
}

/// How to reach the Schema Registry.
#[derive(Clone, Debug)]
pub struct Registry {
    /// Base URL, without a slash at its end.
    pub url: String,
    /// How to log in.
    pub login: RegistryLogin,
    /// Certificate authority.
    pub ca: Option<PathBuf>,
    /// Longest wait for one answer.
    pub timeout: Duration,
}

/// Where the tables are.
#[derive(Clone, Debug)]
pub struct Lake {
    /// The catalog.
    pub catalog: CatalogSettings,
    /// `file:///absolute/path`, an absolute path or `s3://bucket/prefix`.
    pub warehouse: String,
    /// How to reach S3.
    pub s3: S3Settings,
}

/// Where a partition starts that the table has never seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At its first offset.
    Earliest,
    /// Behind its last.
    Latest,
    /// At the first record of this time or later, in milliseconds since 1970-01-01 UTC.
    TimestampMs(i64),
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A configuration without faults. The parts that the command did not ask for may be missing.
#[derive(Clone)]
pub struct Config {
    resolved: Resolved,
    /// The file it was read from, if any.
    pub file: Option<PathBuf>,
    /// Name of the cluster.
    pub cluster: String,
    /// Name of this node.
    pub node: String,
    /// Folder of checkpoints.
    pub state_dir: PathBuf,
    /// Bytes of records held in memory at once.
    pub memory_budget_bytes: u64,
    /// Kafka.
    pub kafka: Option<Kafka>,
    /// Where unseen partitions start.
    pub start: Start,
    /// The Schema Registry.
    pub registry: Option<Registry>,
    /// Catalog and warehouse.
    pub lake: Option<Lake>,
    /// How long after its first touch a day of `silver.trader_activity` is computed.
    pub activity_debounce: Duration,
    /// The day that is not over is computed no more often than so, in gold.
    pub open_day_debounce: Duration,
    /// How much is computed at once.
    pub run_limits: Limits,
    /// Longest age of a commit's oldest record.
    pub commit_max_age: Duration,
    /// Bytes of records in a commit.
    pub commit_max_bytes: u64,
    /// Rows in a commit.
    pub commit_max_rows: Option<u64>,
    /// Size up to which files are compacted; `None`: they are not.
    pub compaction_target_bytes: Option<u64>,
    /// Topics and their tables.
    pub topics: Vec<Topic>,
    /// Address of the HTTP server.
    pub http_listen: SocketAddr,
    /// The gRPC server.
    pub grpc: Grpc,
    /// The node that commands ask; `None` where they read tables and Kafka themselves.
    pub client: Option<Client>,
    /// Prometheus push gateway.
    pub pushgateway_url: Option<String>,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_filter: String,
    /// Whether nobody said which log lines are written.
    pub log_is_default: bool,
}

impl std::fmt::Debug for Config {
    /// Names the file only: what was resolved holds secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads the configuration of this process. `parts` are those that the command cannot do without.
    ///
    /// # Errors
    /// Every fault that was found.
    pub fn load(flags: &Flags, parts: &[Part]) -> Result<Self, ConfigError> {
        Self::load_from(flags, parts, Environment::of_process())
    }

    /// The configuration of a command that reads neither a file nor any address: flags and the log's own variables only.
    ///
    /// # Errors
    /// Every fault of the flags.
    pub fn load_without_file(flags: &Flags) -> Result<Self, ConfigError> {
        let names = ["RUST_LOG", "TAPEHOUSE__LOG__LEVEL", "TAPEHOUSE__LOG__FORMAT"];
        Self::build(flags, &[], &Environment::of_process().only(&names), None, Vec::new())
    }

    /// [`Config::load`] with an environment of the caller's.
    ///
    /// # Errors
    /// Every fault that was found.
    pub fn load_from(flags: &Flags, parts: &[Part], mut environment: Environment) -> Result<Self, ConfigError> {
        let path = file::locate(flags.file.as_deref(), &environment);
        let folder = path
            .as_deref()
            .and_then(Path::parent)
            .filter(|folder| !folder.as_os_str().is_empty());
        let mut faults = Vec::new();
        let dotenv = environment.read_dotenv(folder.unwrap_or(Path::new(".")));
        faults.extend(dotenv.err().map(|fault| *fault));
        Self::build(flags, parts, &environment, path, faults)
    }

    fn build(
        flags: &Flags,
        parts: &[Part],
        environment: &Environment,
        path: Option<PathBuf>,
        mut faults: Vec<Fault>,
    ) -> Result<Self, ConfigError> {
        let content = path
            .as_deref()
            .map(|path| file::read(path, environment))
            .unwrap_or_default();
        let (resolved, found) = resolve::resolve(&content, environment, &flags.set, parts);
        let (topics, of_topics) = topics::read(&content);
        faults.extend(content.faults);
        faults.extend(found);
        faults.extend(of_topics);
        let config = settings::build(resolved, topics, path, flags.insecure, &mut faults);
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            _ => {
                faults.dedup();
                Err(ConfigError { faults })
            }
        }
    }

    /// The topics that `words` mean (name, short name or table); all of them where there are no words.
    ///
    /// # Errors
    /// A fault for each word that means none.
    pub fn topics_meant(&self, words: &[String]) -> Result<Vec<Topic>, ConfigError> {
        if words.is_empty() {
            return Ok(self.topics.clone());
        }
        let known: Vec<&str> = self
            .topics
            .iter()
            .flat_map(|topic| [topic.short_name(), &topic.topic])
            .collect();
        let unknown = |word: &&String| !self.topics.iter().any(|topic| topic.is_meant_by(word));
        let faults: Vec<Fault> = words
            .iter()
            .filter(unknown)
            .map(|word| {
                let fault = Fault::new(format!("--source {word}"), "no such topic is configured");
                fault
                    .suggest(fault::nearest(word, known.iter().copied()))
                    .example(known.join(", "))
            })
            .collect();
        if !faults.is_empty() {
            return Err(ConfigError { faults });
        }
        let meant = |topic: &&Topic| words.iter().any(|word| topic.is_meant_by(word));
        Ok(self.topics.iter().filter(meant).cloned().collect())
    }
}

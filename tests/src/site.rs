//! A lake of its own for one test: catalog, warehouse, configuration, and what can be seen of it from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::backend::SiteLake;
use crate::{Error, Servers, Service, Tools};

/// A Kafka topic and the table that it fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Name in Kafka.
    pub topic: String,
    /// Full table name.
    pub table: String,
}

impl Topic {
    /// A topic; its table is `bronze.` and the name with underscores.
    pub fn named(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            table: format!("bronze.{}", topic.replace(['.', '-'], "_")),
        }
    }
}

impl Topic {
    /// The silver table that the configuration makes of its table: those of the contract have one.
    fn silver(&self) -> Option<&'static str> {
        (self.table == "bronze.raw_trades").then_some("silver.trades")
    }
}

/// How far a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows of the current snapshot.
    pub rows: u64,
    /// Commits so far: the sequence number.
    pub commits: u64,
}

/// Catalog, warehouse, configuration and logs of one test, in one folder.
#[derive(Clone, Debug)]
pub struct Site {
    folder: PathBuf,
    tools: Tools,
    bootstrap: String,
    registry: String,
    lake: SiteLake,
    topics: Vec<Topic>,
}

impl Site {
    /// Writes the configuration for `topics` into `folder`; `settings` are further lines of TOML, sections first.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn new(folder: &Path, servers: &Servers, topics: &[Topic], settings: &str) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io(folder.display().to_string()))?;
        let mut text = format!("{settings}\n[http]\nlisten = \"127.0.0.1:0\"\n[grpc]\nlisten = \"127.0.0.1:0\"\n");
        for configured in topics {
            let Topic { topic, table } = configured;
            let silver = configured.silver();
            let silver = silver.map_or_else(String::new, |silver| format!("silver = \"{silver}\"\n"));
            text.push_str(&format!(
                "\n[[topics]]\ntopic = \"{topic}\"\ntable = \"{table}\"\n{silver}timestamp_fields = [\"trade_timestamp\", \"event_timestamp\"]\nevent_time_field = \"event_timestamp\"\n"
            ));
        }
        let file = folder.join("tapehouse.toml");
        fs::write(&file, text).map_err(Error::io(file.display().to_string()))?;
        Ok(Self {
            folder: folder.to_owned(),
            lake: servers.lake_for(folder)?,
            tools: servers.tools().clone(),
            bootstrap: servers.bootstrap().to_owned(),
            registry: servers.registry().to_owned(),
            topics: topics.to_vec(),
        })
    }

    /// Everything of this site is here.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The programs.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// The same with another broker.
    #[must_use]
    pub fn with_broker(mut self, bootstrap: &str) -> Self {
        bootstrap.clone_into(&mut self.bootstrap);
        self
    }

    /// The same with another registry.
    #[must_use]
    pub fn with_registry(mut self, url: &str) -> Self {
        url.clone_into(&mut self.registry);
        self
    }

    /// `host:port` of the broker.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The topics.
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// The catalog, as the oracles take it.
    pub fn catalog(&self) -> String {
        self.lake.for_oracles()
    }

    /// Path of the catalog's database, where it is a file.
    pub fn catalog_file(&self) -> PathBuf {
        self.folder.join("catalog.db")
    }

    /// Where the warehouse's files are on disk: those of the S3 server, where the tables are in S3.
    pub fn warehouse_folder(&self) -> &Path {
        &self.lake.files
    }

    /// The catalog's server, where the site has one of its own.
    pub fn catalog_server(&self) -> Option<&Service> {
        self.lake.server.as_deref()
    }

    /// State folder of the node `name`.
    pub fn state_dir(&self, name: &str) -> PathBuf {
        self.folder.join(format!("state-{name}"))
    }

    /// The program under test as node `name` of this site. Of the caller's environment only the PATH is passed on.
    pub fn tapehouse(&self, name: &str) -> Command {
        let mut command = Command::new(self.tools.node());
        command
            .current_dir(&self.folder)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("KAFKA_BOOTSTRAP_SERVERS", &self.bootstrap)
            .env("SCHEMA_REGISTRY_URL", &self.registry)
            .env("ICEBERG_CATALOG_URI", &self.lake.uri)
            .env("ICEBERG_CATALOG_NAME", &self.lake.name)
            .env("ICEBERG_WAREHOUSE_PATH", &self.lake.warehouse)
            .envs(self.lake.environment.iter().map(|(name, value)| (name, value)))
            .env("TAPEHOUSE__NODE__ID", name)
            .env("TAPEHOUSE__NODE__STATE_DIR", self.state_dir(name));
        command
    }

    /// How far the table is, by its version hint: a moment old, or `None` before the first commit.
    pub fn progress(&self, table: &str) -> Option<Progress> {
        let metadata = self.metadata(table)?;
        let current = metadata.get("current-snapshot-id")?.as_i64()?;
        let snapshots = metadata.get("snapshots")?.as_array()?;
        let snapshot = snapshots
            .iter()
            .find(|snapshot| snapshot["snapshot-id"].as_i64() == Some(current))?;
        Some(Progress {
            rows: snapshot["summary"]["total-records"].as_str()?.parse().ok()?,
            commits: snapshot["sequence-number"].as_u64()?,
        })
    }

    /// The table's metadata as its version hint names it.
    pub fn metadata(&self, table: &str) -> Option<Value> {
        let folder = self.lake.files.join(table.replace('.', "/")).join("metadata");
        let version = fs::read_to_string(folder.join("version-hint.text")).ok()?;
        let text = fs::read(folder.join(format!("{version}.metadata.json"))).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Snapshots of the table that carry a time which has not come yet, by more than a second.
    pub fn snapshots_to_come(&self, table: &str) -> usize {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let soon_ms = i64::try_from(since.as_millis())
            .unwrap_or(i64::MAX)
            .saturating_add(1000);
        let metadata = self.metadata(table).unwrap_or_default();
        let snapshots = metadata["snapshots"].as_array().map(Vec::as_slice).unwrap_or_default();
        let times = snapshots
            .iter()
            .filter_map(|snapshot| snapshot["timestamp-ms"].as_i64());
        times.filter(|time_ms| *time_ms > soon_ms).count()
    }
}

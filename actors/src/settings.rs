//! What a node is told to do.

use std::path::PathBuf;
use std::time::Duration;

use tapehouse_core::ledger::Limits;
use tapehouse_kafka::KafkaSettings;
use tapehouse_kafka::consumer::StartOffsets;
use tapehouse_kafka::registry::RegistrySettings;
use tapehouse_lake::compaction::CompactionSettings;
use tapehouse_lake::derived::DayTable;
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::silver::clean::Rules;
use tapehouse_lake::{LakeSettings, TableName};

/// Settings of one node.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Owner of the tables: another cluster refuses to write them.
    pub cluster: String,
    /// Name of this node, in summaries and logs.
    pub node: String,
    /// Folder for checkpoints; `state/` below it may be deleted at any time.
    pub state_dir: PathBuf,
    /// Topics to ingest.
    pub topics: Vec<TopicSettings>,
    /// Silver tables to keep; none where the node has the bronze layer alone.
    pub silver: Vec<SilverSettings>,
    /// Tables that are derived a day at a time, each after its sources.
    pub derived: Vec<DerivedSettings>,
    /// Where `gold.trader_performance` and `gold.portfolio_positions` are kept: the day that is not over is computed no more often than so.
    pub positions: Option<Duration>,
    /// How much is computed at once.
    pub run_limits: Limits,
    /// Kafka.
    pub kafka: KafkaSettings,
    /// Schema Registry.
    pub registry: RegistrySettings,
    /// Catalog and warehouse.
    pub lake: LakeSettings,
    /// When commits are cut.
    pub commit: CommitPolicy,
    /// How bronze tables are compacted while they are written; `None`: they are not.
    pub compaction: Option<CompactionSettings>,
    /// Memory for queues, batches and open files, over all topics, in bytes.
    pub memory_budget_bytes: u64,
    /// Where a partition that was never read starts.
    pub start: StartOffsets,
    /// Make tables of another cluster this one's, once, at the start.
    pub take_over: bool,
    /// Cut a commit at once when a topic is read to its end, instead of at its age: for runs that stop there.
    pub cut_at_end: bool,
}

/// One topic and its bronze table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Kafka topic.
    pub topic: String,
    /// Bronze table.
    pub table: TableName,
    /// Consumer group for informational offset commits.
    pub group: String,
    /// Fields that are parsed as ISO-8601 where they arrive as strings.
    pub timestamp_fields: Vec<String>,
    /// Field whose latest value each commit's summary names.
    pub event_time_field: Option<String>,
}

/// One silver table.
#[derive(Clone, Debug)]
pub struct SilverSettings {
    /// The table.
    pub table: SilverTable,
    /// The bronze table that it is made from.
    pub source: TableName,
    /// How its rows are cleaned.
    pub rules: Rules,
    /// When its files are compacted; never where there is none.
    pub compaction: Option<CompactionSettings>,
}

/// A table that is derived a day at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DerivedSettings {
    /// The table.
    pub table: DayTable,
    /// `silver.trader_activity`: a touched day is computed so long after the first touch. Gold: the day that is not over is computed no
    /// more often than so; other days at once.
    pub debounce: Duration,
}

/// A commit is cut by the first limit that is reached. While the previous commit is in flight the age stretches by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPolicy {
    /// Age of the oldest record that waits.
    pub max_age: Duration,
    /// Encoded bytes.
    pub max_bytes: u64,
    /// Rows, if limited.
    pub max_rows: Option<u64>,
}

impl Default for CommitPolicy {
    fn default() -> Self {
        Self {
            max_age: Duration::from_millis(500),
            max_bytes: 256 << 20,
            max_rows: None,
        }
    }
}

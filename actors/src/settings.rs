//! What a node is told to do.

use std::path::PathBuf;
use std::time::Duration;

use tapehouse_kafka::KafkaSettings;
use tapehouse_kafka::consumer::StartOffsets;
use tapehouse_kafka::registry::RegistrySettings;
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
    /// Kafka.
    pub kafka: KafkaSettings,
    /// Schema Registry.
    pub registry: RegistrySettings,
    /// Catalog and warehouse.
    pub lake: LakeSettings,
    /// When commits are cut.
    pub commit: CommitPolicy,
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

/// How one topic's share of the memory budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryShare {
    /// Payload bytes that librdkafka may prefetch, in KiB. Its bookkeeping costs twice as much again for small records, and a
    /// queue that outgrows the processor's caches makes consuming slower, not faster.
    pub queue_kib: usize,
    /// Payload and key bytes of one batch.
    pub batch_bytes: usize,
    /// Encoded bytes of open files, at which a commit is cut whatever the policy says.
    pub file_bytes: u64,
}

/// Batches between poll thread and writer.
pub(crate) const BATCHES_IN_FLIGHT: usize = 3;

impl MemoryShare {
    /// The share of one of `topics` topics.
    pub(crate) fn of(budget_bytes: u64, topics: usize) -> Self {
        let share = (budget_bytes / topics.max(1) as u64).max(16 << 20);
        let to_usize = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            queue_kib: to_usize(share / 32 / 1024).clamp(1024, 8192),
            batch_bytes: to_usize(share / 64).clamp(256 << 10, 8 << 20),
            file_bytes: share / 4,
        }
    }
}

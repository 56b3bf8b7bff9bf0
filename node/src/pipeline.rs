//! One node in this process: started, watched, stopped. Shared by `run` and `demo`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::Registry;
use serde_json::{Value, json};
use tapehouse_actors::{
    CommitPolicy, DerivedSettings, NodeHandle, NodeProgress, NodeSettings, SilverProgress, SilverSettings, StartError,
    StopReport, TopicProgress, TopicSettings, TopicState,
};
use tapehouse_core::clock::now_ms;
use tapehouse_core::freshness::DelayQuantiles;
use tapehouse_kafka::consumer::StartOffsets;
use tapehouse_lake::compaction::CompactionSettings;
use tapehouse_lake::derived::DayTable;
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::silver::clean::Rules;
use tokio::sync::watch;

use crate::beacon::Beacon;
use crate::config::{Config, ConfigError, Fault, Grpc, Start, Topic};
use crate::connect::{
    consumer_failure, kafka_settings, lake_failure, lake_settings, registry_failure, registry_settings,
};
use crate::exit::{Failure, chain};
use crate::grpc::{GrpcListener, GrpcServer, Identity, Logs, Source};
use crate::http::{HttpServer, NotReady};
use crate::metrics;
use crate::view::table_name;

/// Staged work is committed or dropped within this time after a signal, so that the process is out within 10 s.
pub const STOP_DEADLINE: Duration = Duration::from_secs(8);
/// Silver's files are made no larger while rows are merged: a compaction holds one of them in memory.
const SILVER_FILE_BYTES: u64 = 64 << 20;
/// How often progress is looked at.
pub const TICK: Duration = Duration::from_millis(100);

/// The settings of a node that ingests `topics`.
///
/// # Errors
/// When the configuration does not say all that a node needs.
pub fn node_settings(config: &Config, topics: &[Topic]) -> Result<NodeSettings, Failure> {
    Ok(NodeSettings {
        cluster: config.cluster.clone(),
        node: config.node.clone(),
        state_dir: config.state_dir.clone(),
        topics: topics.iter().map(topic_settings).collect::<Result<_, _>>()?,
        silver: Vec::new(),
        derived: Vec::new(),
        positions: None,
        run_limits: config.run_limits,
        kafka: kafka_settings(config)?,
        registry: registry_settings(config)?,
        lake: lake_settings(config)?,
        commit: CommitPolicy {
            max_age: config.commit_max_age,
            max_bytes: config.commit_max_bytes,
            max_rows: config.commit_max_rows,
        },
        compaction: config.compaction_target_bytes.map(|target_bytes| CompactionSettings {
            target_bytes,
            ..CompactionSettings::default()
        }),
        memory_budget_bytes: config.memory_budget_bytes,
        start: match config.start {
            Start::Earliest => StartOffsets::Earliest,
            Start::Latest => StartOffsets::Latest,
            Start::TimestampMs(time_ms) => StartOffsets::TimestampMs(time_ms),
        },
        take_over: false,
        cut_at_end: false,
    })
}

/// The settings of one topic.
///
/// # Errors
/// When its table's name is none.
pub fn topic_settings(topic: &Topic) -> Result<TopicSettings, Failure> {
    Ok(TopicSettings {
        topic: topic.topic.clone(),
        table: table_name(topic)?,
        group: topic.group.clone(),
        timestamp_fields: topic.timestamp_fields.clone(),
        event_time_field: topic.event_time_field.clone(),
    })
}

/// The silver tables that are made from `topics`, compacted as bronze ones are.
///
/// # Errors
/// When a table's name is none.
pub fn silver_settings(
    topics: &[Topic],
    compaction: Option<&CompactionSettings>,
) -> Result<Vec<SilverSettings>, Failure> {
    let tables = topics.iter().filter_map(|topic| Some((topic, topic.silver?)));
    tables
        .map(|(topic, table)| {
            Ok(SilverSettings {
                table,
                source: table_name(topic)?,
                rules: Rules::default(),
                compaction: compaction.map(|bronze| CompactionSettings {
                    target_bytes: bronze.target_bytes.min(SILVER_FILE_BYTES),
                    ..bronze.clone()
                }),
            })
        })
        .collect()
}

/// What is derived where `silver` is kept: `silver.trader_activity`, and gold, whose open day is computed
/// no more often than every `open_day_debounce`, where there is one. Nothing without trades.
pub fn derived_settings(
    silver: &[SilverSettings],
    activity_debounce: Duration,
    open_day_debounce: Option<Duration>,
) -> Vec<DerivedSettings> {
    let has_trades = silver.iter().any(|settings| settings.table == SilverTable::Trades);
    let tables = DayTable::ALL.into_iter().filter_map(|table| {
        let debounce = match table.is_gold() {
            true => open_day_debounce?,
            false => activity_debounce,
        };
        Some(DerivedSettings { table, debounce })
    });
    tables.filter(|_| has_trades).collect()
}

/// Where a node is asked.
pub struct Servers {
    /// Address of the HTTP server.
    pub http: SocketAddr,
    /// The gRPC server.
    pub grpc: Grpc,
    /// Whether a free port is taken where one of these is taken.
    pub or_any_port: bool,
}

/// A running node with its servers.
pub struct Pipeline {
    node: NodeHandle,
    http: HttpServer,
    grpc: GrpcServer,
    registry: Registry,
    latest: Arc<Mutex<NodeProgress>>,
    _beacon: Option<Beacon>,
}

impl Pipeline {
    /// Starts node and servers. `topics` are those of the settings.
    ///
    /// # Errors
    /// What keeps any of them from starting.
    pub async fn start(settings: NodeSettings, topics: &[Topic], servers: &Servers) -> Result<Self, Failure> {
        let started_ms = now_ms();
        let registry = Registry::new();
        metrics::register(&registry).map_err(Failure::failed)?;
        let latest = Arc::new(Mutex::new(NodeProgress::default()));
        let asked = Arc::clone(&latest);
        let not_ready: NotReady = Arc::new(move || not_ready(&asked.lock().unwrap_or_else(PoisonError::into_inner)));
        let http = HttpServer::start(servers.http, servers.or_any_port, registry.clone(), not_ready).await?;
        let grpc = GrpcListener::bind(&servers.grpc, servers.or_any_port).await?;
        let mut identity = Identity {
            cluster: settings.cluster.clone(),
            node: settings.node.clone(),
            run_id: String::new(),
            started_ms,
            grpc_address: grpc.address(),
            http_address: http.address(),
        };
        let state_dir = settings.state_dir.clone();
        let names = topics.iter().map(|topic| topic.topic.clone());
        let logs =
            Logs::new(settings.kafka.clone(), names).map_err(|error| consumer_failure(&error, &settings.kafka))?;
        let node = NodeHandle::start(settings, &registry)
            .await
            .map_err(|error| start_failure(&error))?;
        identity.run_id = node.run_id().to_owned();
        let beacon = Beacon::light(&state_dir, grpc.address(), servers.grpc.tls.is_some(), node.run_id());
        let (drain, draining) = watch::channel(false);
        let progress = Box::new(node.progress_reader());
        let source = Source::new(
            identity,
            topics.to_vec(),
            (node.lake().clone(), node.ledger().clone(), node.schedules().clone()),
            logs,
            progress,
            draining,
        );
        let grpc = grpc.serve(source, drain, &registry)?;
        let pipeline = Self {
            node,
            http,
            grpc,
            registry,
            latest,
            _beacon: beacon,
        };
        pipeline.progress();
        Ok(pipeline)
    }

    /// Where the HTTP server listens.
    pub fn http_address(&self) -> SocketAddr {
        self.http.address()
    }

    /// Where the gRPC server listens.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc.address()
    }

    /// The metrics of node and process.
    pub fn metrics(&self) -> &Registry {
        &self.registry
    }

    /// The node.
    pub fn node(&self) -> &NodeHandle {
        &self.node
    }

    /// How far each topic is. Also what `/readyz` tells from then on: call it about every [`TICK`].
    pub fn progress(&self) -> NodeProgress {
        let progress = self.node.progress();
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = progress.clone();
        progress
    }

    /// Stops: health says so first; staged work is committed or dropped, within [`STOP_DEADLINE`].
    pub async fn stop(self) -> StopReport {
        self.grpc.drain();
        let report = self.node.stop(STOP_DEADLINE).await;
        self.grpc.stop().await;
        report
    }
}

/// A failure to start, by its class.
pub fn start_failure(error: &StartError) -> Failure {
    match error {
        StartError::Lake(error) => lake_failure(error),
        StartError::Registry(error) => registry_failure(error),
        StartError::Kafka(error) => ConfigError::from(Fault::new("kafka.properties", error.to_string())).into(),
        StartError::Property(error) => ConfigError::from(Fault::new("kafka.properties", error.to_string())).into(),
        StartError::Memory(error) => ConfigError::from(Fault::new("node.memory_budget_mb", error.to_string())).into(),
        StartError::Checkpoints(_) | StartError::Ledger(_) => Failure::failed(chain(error))
            .code("state_dir")
            .hint("is another node running with this node.state_dir? Each needs its own"),
        _ => Failure::failed(chain(error)),
    }
}

/// Why the node is not ready: topics that have not begun, fail or wait for an operator.
pub fn not_ready(progress: &NodeProgress) -> Option<String> {
    if progress.topics.is_empty() {
        return Some("the node is starting".to_owned());
    }
    let reasons: Vec<String> = progress
        .topics
        .iter()
        .flat_map(|topic| {
            let reason = match &topic.state {
                TopicState::Starting => "starting".to_owned(),
                TopicState::Retrying { error, attempt, .. } => format!("attempt {attempt} failed: {error}"),
                TopicState::Stopped(stopped) => format!("stopped: [{}] {}", stopped.code, stopped.message),
                TopicState::Running | TopicState::Idle => return stopped_partitions(topic),
            };
            vec![format!("{}: {reason}", topic.topic)]
        })
        .chain(progress.silver.iter().filter_map(|table| match &table.state {
            TopicState::Retrying { error, attempt, .. } => {
                Some(format!("{}: attempt {attempt} failed: {error}", table.table))
            }
            _ => None,
        }))
        .collect();
    (!reasons.is_empty()).then(|| reasons.join("\n"))
}

/// A line for each partition that waits for an operator.
fn stopped_partitions(topic: &TopicProgress) -> Vec<String> {
    let stopped = topic
        .partitions
        .iter()
        .filter_map(|partition| partition.stopped.as_ref());
    stopped
        .map(|stopped| format!("{}: stopped: [{}] {}", topic.topic, stopped.code, stopped.message))
        .collect()
}

/// A silver table's progress, for programs.
pub fn silver_as_json(table: &SilverProgress) -> Value {
    let rows = &table.rows;
    let quantile = |quantile| table.freshness.quantile_ms(quantile);
    json!({
        "table": table.table, "source": table.source, "rows": table.table_rows, "derived": table.is_derived, "commits": table.commits, "input": rows.input,
        "written": rows.written, "deduplicated": rows.deduplicated, "dropped": rows.dropped, "quarantined": rows.quarantined,
        "freshness_ms": { "p50": quantile(0.5), "p99": quantile(0.99), "max": quantile(1.0) },
    })
}

/// Sums over a node's topics.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Rows committed, undecodable ones included.
    pub rows: u64,
    /// Undecodable rows among them.
    pub undecodable: u64,
    /// Commits.
    pub commits: u64,
    /// Produce to visible.
    pub freshness: DelayQuantiles,
}

impl Totals {
    /// Sums `progress`.
    pub fn of(progress: &NodeProgress) -> Self {
        let mut totals = Self::default();
        for topic in &progress.topics {
            totals.rows += topic.rows_committed;
            totals.undecodable += topic.undecodable;
            totals.commits += topic.commits;
            totals.freshness.merge(&topic.freshness);
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use tapehouse_actors::TopicStopped;

    use super::*;

    #[test]
    fn readiness_names_each_topic_that_is_not() {
        assert!(not_ready(&NodeProgress::default()).is_some());
        let topic = |topic: &str, state| TopicProgress {
            topic: topic.to_owned(),
            state,
            ..TopicProgress::default()
        };
        let mut progress = NodeProgress {
            topics: vec![topic("a", TopicState::Running), topic("b", TopicState::Idle)],
            ..NodeProgress::default()
        };
        assert_eq!(not_ready(&progress), None);
        let stopped = TopicStopped {
            topic: "c".into(),
            code: "offset_lost",
            message: "gone".into(),
        };
        progress.topics.push(topic("c", TopicState::Stopped(stopped)));
        progress.topics.push(topic(
            "d",
            TopicState::Retrying {
                code: "kafka",
                error: "away".into(),
                attempt: 3,
            },
        ));
        let reason = not_ready(&progress).unwrap();
        assert_eq!(reason, "c: stopped: [offset_lost] gone\nd: attempt 3 failed: away");
    }
}

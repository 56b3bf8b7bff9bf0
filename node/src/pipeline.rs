//! One node in this process: started, watched, stopped. Shared by `run` and `demo`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::Registry;
use tapehouse_actors::{
    CommitPolicy, NodeHandle, NodeProgress, NodeSettings, StartError, StopReport, TopicProgress, TopicSettings,
    TopicState,
};
use tapehouse_core::freshness::DelayQuantiles;
use tapehouse_kafka::consumer::StartOffsets;

use crate::config::{Config, ConfigError, Fault, Start, Topic};
use crate::connect::{kafka_settings, lake_failure, lake_settings, registry_failure, registry_settings};
use crate::exit::{Failure, chain};
use crate::http::{HttpServer, NotReady};
use crate::view::table_name;

/// Staged work is committed or dropped within this time after a signal, so that the process is out within 10 s.
pub const STOP_DEADLINE: Duration = Duration::from_secs(8);
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
        kafka: kafka_settings(config)?,
        registry: registry_settings(config)?,
        lake: lake_settings(config)?,
        commit: CommitPolicy {
            max_age: config.commit_max_age,
            max_bytes: config.commit_max_bytes,
            max_rows: config.commit_max_rows,
        },
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

/// A running node with its HTTP server.
pub struct Pipeline {
    node: NodeHandle,
    http: HttpServer,
    latest: Arc<Mutex<NodeProgress>>,
}

impl Pipeline {
    /// Starts node and HTTP server. With `or_any_port`, HTTP takes a free port where the configured one is taken.
    ///
    /// # Errors
    /// What keeps either from starting.
    pub async fn start(settings: NodeSettings, listen: SocketAddr, or_any_port: bool) -> Result<Self, Failure> {
        let registry = Registry::new();
        let latest = Arc::new(Mutex::new(NodeProgress::default()));
        let asked = Arc::clone(&latest);
        let not_ready: NotReady = Arc::new(move || not_ready(&asked.lock().unwrap_or_else(PoisonError::into_inner)));
        let http = HttpServer::start(listen, or_any_port, registry.clone(), not_ready).await?;
        let node = NodeHandle::start(settings, &registry)
            .await
            .map_err(|error| start_failure(&error))?;
        let pipeline = Self { node, http, latest };
        pipeline.progress();
        Ok(pipeline)
    }

    /// Where the HTTP server listens.
    pub fn http_address(&self) -> SocketAddr {
        self.http.address()
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

    /// Stops: staged work is committed or dropped, within [`STOP_DEADLINE`].
    pub async fn stop(self) -> StopReport {
        self.node.stop(STOP_DEADLINE).await
    }
}

fn start_failure(error: &StartError) -> Failure {
    match error {
        StartError::Lake(error) => lake_failure(error),
        StartError::Registry(error) => registry_failure(error),
        StartError::Kafka(error) => ConfigError::from(Fault::new("kafka.properties", error.to_string())).into(),
        StartError::Property(error) => ConfigError::from(Fault::new("kafka.properties", error.to_string())).into(),
        StartError::Memory(error) => ConfigError::from(Fault::new("node.memory_budget_mb", error.to_string())).into(),
        StartError::Checkpoints(_) => Failure::failed(chain(error))
            .code("state_dir")
            .hint("is another node running with this node.state_dir? Each needs its own"),
        _ => Failure::failed(chain(error)),
    }
}

/// Why the node is not ready: topics that have not begun, fail or wait for an operator.
fn not_ready(progress: &NodeProgress) -> Option<String> {
    if progress.topics.is_empty() {
        return Some("the node is starting".to_owned());
    }
    let reasons: Vec<String> = progress
        .topics
        .iter()
        .flat_map(|topic| {
            let reason = match &topic.state {
                TopicState::Starting => "starting".to_owned(),
                TopicState::Retrying { error, attempt } => format!("attempt {attempt} failed: {error}"),
                TopicState::Stopped(stopped) => format!("stopped: [{}] {}", stopped.code, stopped.message),
                TopicState::Running | TopicState::Idle => return stopped_partitions(topic),
            };
            vec![format!("{}: {reason}", topic.topic)]
        })
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
                error: "away".into(),
                attempt: 3,
            },
        ));
        let reason = not_ready(&progress).unwrap();
        assert_eq!(reason, "c: stopped: [offset_lost] gone\nd: attempt 3 failed: away");
    }
}

//! Supervisor of one topic: builds its pipeline from the table's truth, and builds it again when any part fails.

use std::sync::Arc;
use std::time::Duration;

use tapehouse_core::backoff::Backoff;
use tapehouse_core::state::StreamState;
use tapehouse_core::watermark::Watermark;
use tapehouse_kafka::consumer::ReaderOptions;
use tapehouse_kafka::registry::RegistryClient;
use tapehouse_lake::{Lake, LoadedTable};
use tokio::sync::{broadcast, watch};

use crate::bronze::SchemaBook;
use crate::bronze::rows::RowSource;
use crate::bronze_writer::BronzeWriter;
use crate::checkpoint::Checkpoints;
use crate::committer::Committer;
use crate::failure::{ALERT_AT, Failure, TopicStopped};
use crate::ingest::{self, IngestOptions};
use crate::mailbox::mailbox;
use crate::metrics::Metrics;
use crate::pool::CpuPool;
use crate::progress::{ProgressCell, TopicState};
use crate::settings::{BATCHES_IN_FLIGHT, MemoryShare, NodeSettings, TopicSettings};
use crate::undecodable::Notices;

/// A batch is sealed at so many records, whatever their size.
const BATCH_RECORDS: usize = 32_768;
/// A batch is sealed when its first record is so old.
const LINGER: Duration = Duration::from_millis(50);
/// Requests that may wait for the committer: an append, and a schema change behind it.
const COMMIT_REQUESTS: usize = 2;

/// What all topics of a node share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) settings: Arc<NodeSettings>,
    pub(crate) lake: Lake,
    pub(crate) registry: RegistryClient,
    pub(crate) pool: CpuPool,
    pub(crate) metrics: Metrics,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) watermarks: broadcast::Sender<Watermark>,
    pub(crate) run_id: Arc<str>,
    /// Turns true when the node stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// How one generation ended.
enum End {
    /// The node stops; everything staged is committed.
    Stopped,
    /// Something failed; a new generation may follow.
    Failed(Failure),
}

/// Runs one topic until the node stops or the topic waits for an operator.
pub(crate) async fn supervise(shared: Shared, topic: TopicSettings, progress: ProgressCell) {
    let mut failures = 0;
    loop {
        let commits_before = progress.snapshot().commits;
        progress.set_state(TopicState::Starting);
        let failure = match generation(&shared, &topic, &progress).await {
            End::Stopped => return,
            End::Failed(failure) => failure,
        };
        let code = failure.code();
        if *shared.stopping.borrow() {
            return;
        }
        if failure.stops_the_topic() {
            tracing::error!(topic = topic.topic, code, error = %failure, "the topic has stopped and waits for an operator");
            shared.metrics.stopped.with_label_values(&[&topic.topic]).set(1);
            progress.set_state(TopicState::Stopped(TopicStopped {
                topic: topic.topic.clone(),
                code,
                message: failure.to_string(),
            }));
            return;
        }
        shared
            .metrics
            .restarts
            .with_label_values(&[topic.topic.as_str(), code])
            .inc();
        // A generation that committed has healed: what comes now is a new incident.
        failures = if progress.snapshot().commits > commits_before {
            1
        } else {
            failures + 1
        };
        let delay = match failure {
            Failure::NewPartitions => Duration::ZERO,
            _ => Backoff::INGEST.delay(failures - 1, rand::random()),
        };
        let alert = failures == ALERT_AT;
        tracing::warn!(topic = topic.topic, code, error = %failure, failures, ?delay, alert, "the pipeline failed and is built again");
        progress.set_state(TopicState::Retrying {
            error: failure.to_string(),
            attempt: failures,
        });
        let mut stopping = shared.stopping.clone();
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Builds the pipeline from the table's truth and waits for its end.
async fn generation(shared: &Shared, topic: &TopicSettings, progress: &ProgressCell) -> End {
    match Pipeline::start(shared, topic, progress).await {
        Ok(pipeline) => pipeline.finish(shared.stopping.clone()).await,
        Err(failure) => End::Failed(failure),
    }
}

/// The parts of one generation.
struct Pipeline {
    ingest: ingest::IngestHandle,
    polled: tokio::sync::oneshot::Receiver<Result<(), Failure>>,
    written: tokio::task::JoinHandle<Result<(), Failure>>,
}

impl Pipeline {
    async fn start(shared: &Shared, topic: &TopicSettings, progress: &ProgressCell) -> Result<Self, Failure> {
        let settings = &shared.settings;
        let table = shared.lake.load(&topic.table).await?;
        let state = recorded_state(table.as_ref(), settings, topic, &shared.checkpoints)?;
        let share = MemoryShare::of(settings.memory_budget_bytes, settings.topics.len());
        let waits = |name: &str| shared.metrics.mailbox(&format!("{name}:{}", topic.topic));
        let (batches, batch_queue) = mailbox(BATCHES_IN_FLIGHT, waits("batches"));
        let (requests, request_queue) = mailbox(COMMIT_REQUESTS, waits("commits"));
        let options = IngestOptions {
            kafka: settings.kafka.clone(),
            topic: topic.topic.clone(),
            reader: ReaderOptions {
                group: topic.group.clone(),
                queue_kib: share.queue_kib,
                max_records: BATCH_RECORDS,
                max_bytes: share.batch_bytes,
                linger: LINGER,
            },
            recorded: state.next.clone(),
            start: settings.start,
            progress: progress.clone(),
            metrics: shared.metrics.clone(),
        };
        let (ingest, polled) = ingest::spawn(options, batches).map_err(|error| {
            Failure::from(crate::pool::JobPanicked(format!(
                "no poll thread could be started: {error}"
            )))
        })?;
        let committer = Committer {
            lake: shared.lake.clone(),
            table: topic.table.clone(),
            node: settings.node.clone(),
            metrics: shared.metrics.clone(),
            progress: progress.clone(),
            checkpoints: shared.checkpoints.clone(),
            watermarks: shared.watermarks.clone(),
            ingest: ingest.clone(),
            notices: Notices::default(),
        };
        tokio::spawn(committer.run(request_queue));
        let writer = BronzeWriter {
            lake: shared.lake.clone(),
            cluster: settings.cluster.clone(),
            policy: settings.commit,
            file_bytes: share.file_bytes,
            cut_at_end: settings.cut_at_end,
            pool: shared.pool.clone(),
            committer: requests,
            progress: progress.clone(),
            metrics: shared.metrics.clone(),
            schemas: SchemaBook::new(shared.registry.clone(), topic, shared.metrics.clone()),
            source: Arc::new(RowSource::new(
                &topic.topic,
                state.incarnation,
                &shared.run_id,
                BATCH_RECORDS,
            )),
            incarnation: state.incarnation,
            run_id: Arc::clone(&shared.run_id),
            settings: topic.clone(),
            table,
        };
        let written = tokio::spawn(writer.run(batch_queue));
        Ok(Self {
            ingest,
            polled,
            written,
        })
    }

    /// Waits for the first part to end, lets the others follow, and says why.
    async fn finish(self, mut stopping: watch::Receiver<bool>) -> End {
        let Self {
            ingest,
            mut polled,
            mut written,
        } = self;
        let mut stopped = false;
        let (from_poll, from_writer) = tokio::select! {
            result = &mut polled => (Some(flatten(result)), None),
            result = &mut written => (None, Some(joined(result))),
            _ = stopping.wait_for(|stop| *stop) => {
                stopped = true;
                (None, None)
            }
        };
        ingest.stop();
        // The poll thread lets go of the mailbox, then the writer commits what is left and ends.
        let from_poll = match from_poll {
            Some(result) => result,
            None => flatten(polled.await),
        };
        let from_writer = match from_writer {
            Some(result) => result,
            None => joined(written.await),
        };
        match (from_writer, from_poll) {
            // A thread that found its mailbox closed only followed the writer.
            (Err(failure), Err(Failure::Closed(_)) | Ok(())) | (_, Err(failure)) => End::Failed(failure),
            (Ok(()), Ok(())) if stopped => End::Stopped,
            (Ok(()), Ok(())) => End::Failed(crate::mailbox::Closed.into()),
        }
    }
}

fn flatten(result: Result<Result<(), Failure>, tokio::sync::oneshot::error::RecvError>) -> Result<(), Failure> {
    result.unwrap_or_else(|_| Err(crate::mailbox::Closed.into()))
}

fn joined(result: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    result.unwrap_or_else(|error| Err(crate::pool::JobPanicked(error.to_string()).into()))
}

/// What the table records, checked for its owner; a checkpoint that says otherwise is reported and passed over.
fn recorded_state(
    table: Option<&LoadedTable>,
    settings: &NodeSettings,
    topic: &TopicSettings,
    checkpoints: &Checkpoints,
) -> Result<StreamState, Failure> {
    let Some(table) = table else {
        return Ok(StreamState::new(&settings.cluster, &topic.topic));
    };
    let state = table.stream_state()?;
    if state.owner != settings.cluster {
        return Err(Failure::ForeignOwner {
            owner: state.owner,
            cluster: settings.cluster.clone(),
        });
    }
    if state.topic != topic.topic {
        return Err(Failure::Refused(tapehouse_core::append::RefuseReason::OtherTopic {
            recorded: state.topic,
            staged: topic.topic.clone(),
        }));
    }
    let name = topic.table.to_string();
    match checkpoints.get(&name) {
        Some(known) if known.table_uuid == table.metadata().uuid().to_string() && known.state == state => {
            tracing::debug!(
                table = name,
                rows = known.total_rows,
                "the checkpoint agrees with the table"
            );
        }
        Some(_) => tracing::info!(table = name, "the checkpoint is of another moment: the table counts"),
        None => tracing::debug!(table = name, "no checkpoint: the table counts"),
    }
    Ok(state)
}

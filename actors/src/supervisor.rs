//! Supervisor of one topic: builds its pipeline from the table's truth, and builds it again when any part fails.

use std::sync::Arc;
use std::time::Duration;

use tapehouse_core::backoff::Backoff;
use tapehouse_core::identity::TopicIdentity;
use tapehouse_core::state::StreamState;
use tapehouse_core::watermark::Watermark;
use tapehouse_kafka::consumer::{ReaderOptions, StartOffsets};
use tapehouse_kafka::identity::Identities;
use tapehouse_kafka::registry::RegistryClient;
use tapehouse_lake::Lake;
use tokio::sync::watch::Receiver;
use tokio::sync::{Semaphore, broadcast};
use tokio::task::JoinSet;

use crate::bronze::SchemaBook;
use crate::bronze::rows::RowSource;
use crate::bronze_writer::BronzeWriter;
use crate::checkpoint::Checkpoints;
use crate::clock::ClockWatch;
use crate::committer::Committer;
use crate::compaction::Compactor;
use crate::failure::{ALERT_AT, Failure, TopicStopped};
use crate::ingest::{self, IngestOptions};
use crate::ledger::RunLedger;
use crate::mailbox::mailbox;
use crate::memory::{BATCHES_IN_FLIGHT, Memory, Pool};
use crate::metrics::Metrics;
use crate::pool::CpuPool;
use crate::progress::{ProgressCell, TopicState};
use crate::recorded::Ground;
use crate::schedules::Looks;
use crate::settings::{NodeSettings, TopicSettings};
use crate::topic_memory::TopicMemory;
use crate::undecodable::Notices;
use crate::watch;

/// A batch is sealed when its first record is so old.
const LINGER: Duration = Duration::from_millis(50);
/// Where memory is too scarce for a set of each topic, none is held for longer.
const SCARCE_MAX_AGE: Duration = Duration::from_millis(500);
/// Requests that may wait for the committer: an append, a schema change behind it, compacted files.
const COMMIT_REQUESTS: usize = 3;

/// What all topics of a node share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) settings: Arc<NodeSettings>,
    pub(crate) lake: Lake,
    pub(crate) registry: RegistryClient,
    pub(crate) identities: Identities,
    pub(crate) pool: CpuPool,
    pub(crate) memory: Memory,
    pub(crate) metrics: Metrics,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) ledger: RunLedger,
    /// Wakes the actors of a layer.
    pub(crate) looks: Looks,
    pub(crate) clock: ClockWatch,
    pub(crate) watermarks: broadcast::Sender<Watermark>,
    pub(crate) run_id: Arc<str>,
    /// Who may compact a bronze table: one at a time.
    pub(crate) compactions: Arc<Semaphore>,
    /// The same of silver tables.
    pub(crate) silver_compactions: Arc<Semaphore>,
    /// Turns true when the node stops.
    pub(crate) stopping: Receiver<bool>,
}

/// How one generation ended.
enum End {
    /// The node stops; everything staged is committed.
    Stopped,
    /// Something failed; a new generation may follow.
    Failed(Failure),
}

/// Runs one topic until the node stops. A topic that waits for an operator is tried again when its table has changed.
pub(crate) async fn supervise(shared: Shared, topic: TopicSettings, progress: ProgressCell) {
    let mut failures = 0;
    let mut stopping = shared.stopping.clone();
    let mut waits_for: Option<TopicStopped> = None;
    let mut take_over = shared.settings.take_over;
    loop {
        let commits_before = progress.snapshot().commits;
        if waits_for.is_none() {
            progress.set_state(TopicState::Starting);
        }
        let version = watch::version(&shared, &topic).await;
        let failure = match generation(&shared, &topic, &progress, &mut waits_for, &mut take_over).await {
            End::Stopped => return,
            End::Failed(failure) => failure,
        };
        if *shared.stopping.borrow() {
            return;
        }
        if failure.stops_the_topic() {
            stop(&shared, &topic, &progress, &failure, &mut waits_for);
            tokio::select! {
                () = watch::another_version(&shared, &topic, version) => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
            continue;
        }
        waits_for = None;
        // A generation that committed has healed: what comes now is a new incident.
        let has_healed = progress.snapshot().commits > commits_before;
        failures = if has_healed { 1 } else { failures + 1 };
        let delay = retry(&shared, &topic, &progress, &failure, failures);
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Says that the topic waits for an operator; once for each reason.
fn stop(
    shared: &Shared,
    topic: &TopicSettings,
    progress: &ProgressCell,
    failure: &Failure,
    waits_for: &mut Option<TopicStopped>,
) {
    let stopped = TopicStopped {
        topic: topic.topic.clone(),
        code: failure.code(),
        message: failure.to_string(),
    };
    if waits_for.as_ref() == Some(&stopped) {
        return;
    }
    tracing::error!(
        node = shared.settings.node, run_id = %shared.run_id, actor = "supervisor", topic = topic.topic, table = %topic.table,
        code = stopped.code, error = %failure,
        "the topic has stopped and waits for an operator");
    shared.metrics.stopped.with_label_values(&[&topic.topic]).set(1);
    *waits_for = Some(stopped.clone());
    progress.set_state(TopicState::Stopped(stopped));
}

/// Says that the pipeline is built again, and returns when.
fn retry(
    shared: &Shared,
    topic: &TopicSettings,
    progress: &ProgressCell,
    failure: &Failure,
    failures: u32,
) -> Duration {
    let code = failure.code();
    shared
        .metrics
        .restarts
        .with_label_values(&[topic.topic.as_str(), code])
        .inc();
    let delay = match failure {
        Failure::NewPartitions | Failure::StateChanged => Duration::ZERO,
        _ => Backoff::INGEST.delay(failures - 1, rand::random()),
    };
    let alert = failures == ALERT_AT;
    tracing::warn!(
        node = shared.settings.node, run_id = %shared.run_id, actor = "supervisor", topic = topic.topic, table = %topic.table,
        code, error = %failure, failures, ?delay, alert,
        "the pipeline failed and is built again");
    progress.set_state(TopicState::Retrying {
        code,
        error: failure.to_string(),
        attempt: failures,
    });
    delay
}

/// Builds the pipeline from the table's truth and waits for its end.
async fn generation(
    shared: &Shared,
    topic: &TopicSettings,
    progress: &ProgressCell,
    waits_for: &mut Option<TopicStopped>,
    take_over: &mut bool,
) -> End {
    let ground = Ground::look(shared, topic, take_over).await;
    match ground.and_then(|ground| Pipeline::start(shared, topic, progress, ground)) {
        Ok(pipeline) => {
            *waits_for = None;
            shared.metrics.stopped.with_label_values(&[&topic.topic]).set(0);
            pipeline.finish(shared, topic, progress).await
        }
        Err(failure) => End::Failed(failure),
    }
}

/// The parts of one generation.
struct Pipeline {
    ingest: ingest::IngestHandle,
    polled: tokio::sync::oneshot::Receiver<Result<(), Failure>>,
    written: tokio::task::JoinHandle<Result<(), Failure>>,
    /// The compactor, which ends when this is dropped.
    _compactor: JoinSet<()>,
    /// What the topic was before its first record was read.
    identity: TopicIdentity,
    /// What the table recorded then.
    state: StreamState,
}

impl Pipeline {
    fn start(shared: &Shared, topic: &TopicSettings, progress: &ProgressCell, ground: Ground) -> Result<Self, Failure> {
        let settings = &shared.settings;
        let Ground { table, state, identity } = ground;
        let plan = &shared.memory.plan;
        let waits = |name: &str| shared.metrics.mailbox(&format!("{name}:{}", topic.topic));
        let (batches, batch_queue) = mailbox(BATCHES_IN_FLIGHT, waits("batches"));
        let (requests, request_queue) = mailbox(COMMIT_REQUESTS, waits("commits"));
        let options = ingest_options(shared, topic, &state, progress);
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
            clock: shared.clock.clone(),
            checkpoints: shared.checkpoints.clone(),
            watermarks: shared.watermarks.clone(),
            ingest: ingest.clone(),
            notices: Notices::default(),
        };
        tokio::spawn(committer.run(request_queue));
        let compactor = Compactor::start(shared, &topic.table, &requests, progress);
        let mut policy = settings.commit;
        if plan.is_scarce(settings.topics.len()) {
            policy.max_age = policy.max_age.min(SCARCE_MAX_AGE);
        }
        let writer = BronzeWriter {
            lake: shared.lake.clone(),
            cluster: settings.cluster.clone(),
            policy,
            memory: TopicMemory::of(&shared.memory, &shared.metrics, &topic.topic),
            cut_at_end: settings.cut_at_end,
            pool: shared.pool.clone(),
            committer: requests,
            progress: progress.clone(),
            clock: shared.clock.clone(),
            metrics: shared.metrics.clone(),
            schemas: SchemaBook::new(shared.registry.clone(), topic, shared.metrics.clone()),
            source: Arc::new(RowSource::new(
                &topic.topic,
                state.incarnation,
                &shared.run_id,
                plan.batch_records,
            )),
            incarnation: state.incarnation,
            identities: shared.identities.clone(),
            identity: identity.clone(),
            run_id: Arc::clone(&shared.run_id),
            settings: topic.clone(),
            table,
        };
        let written = tokio::spawn(writer.run(batch_queue));
        Ok(Self {
            ingest,
            polled,
            written,
            _compactor: compactor,
            identity,
            state,
        })
    }

    /// Waits for the first part to end, lets the others follow, and says why.
    async fn finish(self, shared: &Shared, topic: &TopicSettings, progress: &ProgressCell) -> End {
        let Self {
            ingest,
            mut polled,
            mut written,
            _compactor,
            identity,
            state,
        } = self;
        let mut stopping = shared.stopping.clone();
        let mut stopped = false;
        let mut changed = None;
        let (from_poll, from_writer) = tokio::select! {
            result = &mut polled => (Some(flatten(result)), None),
            result = &mut written => (None, Some(joined(result))),
            _ = stopping.wait_for(|stop| *stop) => {
                stopped = true;
                (None, None)
            }
            failure = watch::another_topic(shared, topic, &identity) => {
                changed = Some(failure);
                (None, None)
            }
            failure = watch::decision(shared, topic, progress, &state) => {
                changed = Some(failure);
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
        if let Some(failure) = changed {
            return End::Failed(failure);
        }
        match (from_writer, from_poll) {
            // A thread that found its mailbox closed only followed the writer.
            (Err(failure), Err(Failure::Closed(_)) | Ok(())) | (_, Err(failure)) => End::Failed(failure),
            (Ok(()), Ok(())) if stopped => End::Stopped,
            (Ok(()), Ok(())) => End::Failed(crate::mailbox::Closed.into()),
        }
    }
}

fn ingest_options(
    shared: &Shared,
    topic: &TopicSettings,
    state: &StreamState,
    progress: &ProgressCell,
) -> IngestOptions {
    let plan = &shared.memory.plan;
    IngestOptions {
        kafka: shared.settings.kafka.clone(),
        topic: topic.topic.clone(),
        reader: ReaderOptions {
            group: topic.group.clone(),
            queue_bytes: plan.queue_bytes,
            fetch_bytes: plan.fetch_bytes,
            max_records: plan.batch_records,
            max_bytes: usize::try_from(plan.batch_bytes).unwrap_or(usize::MAX),
            linger: LINGER,
        },
        recorded: state.next.clone(),
        // A topic that was adopted is read from its beginning: what was produced before that must not be skipped.
        start: match state.incarnation {
            0 => shared.settings.start,
            _ => StartOffsets::Earliest,
        },
        progress: progress.clone(),
        metrics: shared.metrics.clone(),
        room: Pool::new(plan.batch_bytes * BATCHES_IN_FLIGHT as u64),
    }
}

fn flatten(result: Result<Result<(), Failure>, tokio::sync::oneshot::error::RecvError>) -> Result<(), Failure> {
    result.unwrap_or_else(|_| Err(crate::mailbox::Closed.into()))
}

fn joined(result: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    result.unwrap_or_else(|error| Err(crate::pool::JobPanicked(error.to_string()).into()))
}

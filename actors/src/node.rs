//! A running node: all topics' pipelines and what they share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::Registry;
use tapehouse_core::watermark::Watermark;
use tapehouse_kafka::ForbiddenProperty;
use tapehouse_kafka::consumer::ConsumerError;
use tapehouse_kafka::identity::Identities;
use tapehouse_kafka::registry::{RegistryClient, RegistryError};
use tapehouse_lake::days::date_text;
use tapehouse_lake::gold::positions::PositionTable;
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::{Lake, LakeError};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::checkpoint::{CheckpointError, Checkpoints};
use crate::clock::ClockWatch;
use crate::derived::DerivedActor;
use crate::failure::TopicStopped;
use crate::follow::{CatchUp, Follow, Follower, follow};
use crate::ledger::{LedgerError, RunLedger, known_code};
use crate::memory::{BudgetTooSmall, Memory, MemoryPlan};
use crate::metrics::Metrics;
use crate::pool::CpuPool;
use crate::positions::PositionsActor;
use crate::progress::{CaughtUp, NodeProgress, ProgressCell};
use crate::schedules::{Looks, Schedules};
use crate::settings::{DerivedSettings, NodeSettings, SilverSettings};
use crate::silver::progress::SilverCell;
use crate::silver_merge::SilverMerge;
use crate::supervisor::{Shared, supervise};

/// Watermarks that a slow subscriber may lag behind; it then looks at the tables, as it does anyway.
const WATERMARKS_KEPT: usize = 256;

/// Longest wait for a ledger that a command has.
const LEDGER_PATIENCE: Duration = Duration::from_secs(10);
const LEDGER_LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why a node does not start. What is merely away (Kafka, registry) does not keep it from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A Kafka property that loads or runs code.
    #[error(transparent)]
    Property(#[from] ForbiddenProperty),
    /// The Kafka client's settings.
    #[error(transparent)]
    Kafka(#[from] ConsumerError),
    /// The registry's settings.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Catalog or warehouse.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The state folder.
    #[error(transparent)]
    Checkpoints(#[from] CheckpointError),
    /// The ledger of runs.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The memory budget.
    #[error(transparent)]
    Memory(#[from] BudgetTooSmall),
    /// The CPU pool.
    #[error("threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The metrics are registered twice.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// How a node stopped.
#[derive(Clone, Debug)]
pub struct StopReport {
    /// Whether everything polled was committed. Otherwise it was dropped; the next start reads it again.
    pub drained: bool,
    /// Time that it took.
    pub took: Duration,
    /// How far every topic was at the very end.
    pub progress: NodeProgress,
}

/// One silver table's actor.
#[derive(Clone)]
struct SilverHandle {
    progress: SilverCell,
    catch_up: mpsc::Sender<CatchUp>,
}

impl SilverHandle {
    fn merge(shared: &Shared, settings: SilverSettings, tasks: &mut Vec<JoinHandle<()>>) -> Self {
        let progress = SilverCell::new(settings.table.name(), &settings.source.to_string());
        let actor = |follower| SilverMerge::new(shared.clone(), settings, follower);
        Self::start(shared, "silver_merge", progress, actor, tasks)
    }

    fn derived(shared: &Shared, settings: DerivedSettings, tasks: &mut Vec<JoinHandle<()>>) -> Self {
        let sources = settings.table.sources().join(", ");
        let progress = SilverCell::derived_from(settings.table.name(), &sources);
        let actor = |follower| DerivedActor::new(shared.clone(), settings, follower);
        Self::start(shared, "derived", progress, actor, tasks)
    }

    /// Both tables of one actor.
    fn positions(shared: &Shared, open_day_debounce: Duration, tasks: &mut Vec<JoinHandle<()>>) -> [Self; 2] {
        let cell = |table: PositionTable| SilverCell::derived_from(table.name(), SilverTable::Trades.name());
        let performance = cell(PositionTable::Performance);
        shared.metrics.begin_silver(PositionTable::Performance.name());
        let made = performance.clone();
        let actor = |follower| PositionsActor::new(shared.clone(), open_day_debounce, follower, made);
        let positions = Self::start(shared, "positions", cell(PositionTable::Positions), actor, tasks);
        let catch_up = positions.catch_up.clone();
        [
            Self {
                progress: performance,
                catch_up,
            },
            positions,
        ]
    }

    fn start<A: Follow + 'static>(
        shared: &Shared,
        name: &'static str,
        progress: SilverCell,
        actor: impl FnOnce(Follower) -> A,
        tasks: &mut Vec<JoinHandle<()>>,
    ) -> Self {
        let (follower, catch_up) = Follower::new(shared, name, progress.clone());
        tasks.push(tokio::spawn(follow(actor(follower))));
        Self { progress, catch_up }
    }

    /// Waits until all is merged that bronze has now.
    async fn caught_up(&self) {
        let (answer, done) = oneshot::channel();
        // An actor that is gone has stopped with the node: there is nothing to wait for.
        if self.catch_up.send(answer).await.is_ok() {
            let _ = done.await;
        }
    }
}

/// A running node.
pub struct NodeHandle {
    topics: Vec<ProgressCell>,
    silver: Vec<SilverHandle>,
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    watermarks: broadcast::Sender<Watermark>,
    checkpoints: Checkpoints,
    ledger: RunLedger,
    schedules: Schedules,
    lake: Lake,
    run_id: Arc<str>,
}

impl NodeHandle {
    /// Starts a node; must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] for what would not heal by itself.
    pub async fn start(settings: NodeSettings, registry: &Registry) -> Result<Self, StartError> {
        settings.kafka.check()?;
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let plan = MemoryPlan::of(settings.memory_budget_bytes, settings.topics.len(), threads)?;
        let lake = Lake::open(settings.lake.clone()).await?;
        let checkpoints = Checkpoints::open(&settings.state_dir)?;
        let ledger = open_ledger(&settings).await?;
        let (stop, stopping) = watch::channel(false);
        let (watermarks, _) = broadcast::channel(WATERMARKS_KEPT);
        let shared = Shared {
            identities: Identities::start(&settings.kafka)?,
            registry: RegistryClient::new(settings.registry.clone())?,
            pool: CpuPool::new(threads)?,
            memory: Memory::new(plan),
            metrics: Metrics::register(registry)?,
            checkpoints: checkpoints.clone(),
            ledger: ledger.clone(),
            looks: Looks::new(),
            clock: ClockWatch::default(),
            lake: lake.clone(),
            watermarks: watermarks.clone(),
            compactions: Arc::new(Semaphore::new(1)),
            silver_compactions: Arc::new(Semaphore::new(1)),
            run_id: Uuid::now_v7().to_string().into(),
            stopping,
            settings: Arc::new(settings),
        };
        shared
            .metrics
            .memory_budget
            .set(i64::try_from(shared.settings.memory_budget_bytes).unwrap_or(i64::MAX));
        tracing::info!(run_id = %shared.run_id, node = shared.settings.node, "node started");
        // Asked before the first commit. Neighbours that are away are asked again later: a node must start without them.
        shared.clock.ask(&shared.registry, &lake).await;
        watch_clock(&shared);
        tracing::debug!(?plan, "memory");
        let mut topics = Vec::new();
        let mut tasks = Vec::new();
        for topic in shared.settings.topics.clone() {
            shared.metrics.begin(&topic.topic, &topic.table.to_string());
            let cell = ProgressCell::new(&topic.topic, &topic.table.to_string());
            topics.push(cell.clone());
            tasks.push(tokio::spawn(supervise(shared.clone(), topic, cell)));
        }
        let silver = shared.settings.silver.clone().into_iter();
        let mut silver: Vec<_> = silver
            .map(|settings| SilverHandle::merge(&shared, settings, &mut tasks))
            .collect();
        // Each after its sources: to be caught up with it, these have to be.
        for settings in &shared.settings.derived {
            silver.push(SilverHandle::derived(&shared, *settings, &mut tasks));
        }
        if let Some(open_day_debounce) = shared.settings.positions {
            silver.extend(SilverHandle::positions(&shared, open_day_debounce, &mut tasks));
        }
        let schedules = start_schedules(&shared);
        Ok(Self {
            topics,
            silver,
            tasks,
            stop,
            watermarks,
            checkpoints,
            ledger,
            schedules,
            lake,
            run_id: shared.run_id,
        })
    }

    /// How far every topic is.
    pub fn progress(&self) -> NodeProgress {
        progress_of(&self.topics, &self.silver)
    }

    /// Id of this process's run, as rows and snapshots carry it.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The lake that the node commits to: what it knows of its tables is in memory.
    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    /// The runs by which days are computed.
    pub fn ledger(&self) -> &RunLedger {
        &self.ledger
    }

    /// What is done at a time of day.
    pub fn schedules(&self) -> &Schedules {
        &self.schedules
    }

    /// Looks at the progress from elsewhere, also while the node stops.
    pub fn progress_reader(&self) -> impl Fn() -> NodeProgress + Send + Sync + use<> {
        let (topics, silver) = (self.topics.clone(), self.silver.clone());
        move || progress_of(&topics, &silver)
    }

    /// Waits until everything that was visible at the start is committed, in all layers.
    ///
    /// # Errors
    /// [`TopicStopped`] when a topic waits for an operator instead, or a day could not be computed.
    pub async fn caught_up(&self) -> Result<(), TopicStopped> {
        for topic in &self.topics {
            let mut state = topic.subscribe();
            let reached = state.wait_for(|state| *state != CaughtUp::No).await;
            if let Ok(state) = reached
                && let CaughtUp::Never(stopped) = &*state
            {
                return Err(stopped.clone());
            }
        }
        for table in &self.silver {
            table.caught_up().await;
            let asset = table.progress.snapshot().table;
            if let Some(run) = self.ledger.failure_of(&asset) {
                let error = run.error.unwrap_or_else(|| unreachable!("a run that failed says why"));
                return Err(TopicStopped {
                    topic: asset,
                    code: known_code(&error.code),
                    message: format!("run {} of {} failed: {}", run.id, date_text(run.day), error.message),
                });
            }
        }
        Ok(())
    }

    /// Watermarks of every commit from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Watermark> {
        self.watermarks.subscribe()
    }

    /// Stops: what is staged is committed, or dropped at the deadline.
    pub async fn stop(self, deadline: Duration) -> StopReport {
        let started = Instant::now();
        self.stop.send_replace(true);
        let aborts: Vec<_> = self.tasks.iter().map(JoinHandle::abort_handle).collect();
        let all = futures::future::join_all(self.tasks);
        let drained = tokio::time::timeout(deadline, all).await.is_ok();
        if !drained {
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
        }
        if drained {
            self.lake.settle().await;
        }
        self.checkpoints.flush();
        StopReport {
            drained,
            took: started.elapsed(),
            progress: progress_of(&self.topics, &self.silver),
        }
    }
}

/// Opens the ledger of runs. A command that has its file has it for a moment; another node would have the checkpoints too.
async fn open_ledger(settings: &NodeSettings) -> Result<RunLedger, LedgerError> {
    let patience = Instant::now() + LEDGER_PATIENCE;
    loop {
        match RunLedger::open(&settings.state_dir, &settings.node, settings.run_limits) {
            Err(LedgerError::InUse(_)) if Instant::now() < patience => tokio::time::sleep(LEDGER_LOOK_EVERY).await,
            opened => return opened,
        }
    }
}

/// Starts the schedules of the layers that the node keeps.
fn start_schedules(shared: &Shared) -> Schedules {
    let settings = &shared.settings;
    let derived = settings.derived.iter().map(|derived| derived.table);
    let gold = derived
        .filter(|table| table.is_gold())
        .map(|table| table.name().to_owned());
    let positions = settings
        .positions
        .iter()
        .flat_map(|_| [PositionTable::Performance, PositionTable::Positions]);
    let gold = gold.chain(positions.map(|table| table.name().to_owned())).collect();
    let (ledger, lake, looks) = (shared.ledger.clone(), shared.lake.clone(), shared.looks.clone());
    let schedules = Schedules::new(ledger, lake, looks, !settings.silver.is_empty(), gold);
    tokio::spawn(schedules.clone().keep(shared.stopping.clone()));
    schedules
}

/// Keeps looking how far this clock is from the neighbours'.
fn watch_clock(shared: &Shared) {
    let watch = shared.clock.clone().watch(
        shared.registry.clone(),
        shared.lake.clone(),
        shared.metrics.clock_ahead_seconds.clone(),
        shared.stopping.clone(),
    );
    tokio::spawn(watch);
}

fn progress_of(topics: &[ProgressCell], silver: &[SilverHandle]) -> NodeProgress {
    NodeProgress {
        topics: topics.iter().map(ProgressCell::snapshot).collect(),
        silver: silver.iter().map(|table| table.progress.snapshot()).collect(),
    }
}

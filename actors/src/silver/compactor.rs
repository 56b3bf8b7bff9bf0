//! Compaction of a silver table beside its merges: one job at a time, and one in the whole node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tapehouse_lake::compaction::plan::CompactionSettings;
use tapehouse_lake::silver::merge::{Compacted, Compaction, MergeError, Merger};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

use super::batch::summary_of;
use super::failure::SilverFailure;
use crate::follow::PassFailure as _;
use crate::pool::JobPanicked;
use crate::silver_merge::SilverMerge;

/// After a compaction failed.
const REST: Duration = Duration::from_secs(30);

/// What came of a job; `None` of one that was stopped.
type Outcome = Result<Option<Compacted>, MergeError>;

#[derive(Debug)]
enum Job {
    None,
    UnderWay(oneshot::Receiver<Outcome>),
    Over(Result<Outcome, JobPanicked>),
}

/// The compaction of one table. Dropping it abandons the job under way: what it wrote is in no snapshot.
#[derive(Debug)]
pub(crate) struct Compactor {
    settings: CompactionSettings,
    /// One job at a time in a node.
    turns: Arc<Semaphore>,
    job: Job,
    /// Not before then, after a failure.
    not_before: Option<Instant>,
    stop: Arc<AtomicBool>,
}

impl Drop for Compactor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Compactor {
    pub(crate) fn new(settings: CompactionSettings, turns: Arc<Semaphore>) -> Self {
        Self {
            settings,
            turns,
            job: Job::None,
            not_before: None,
            stop: Arc::default(),
        }
    }

    /// Begins what is worth doing now, unless a job is under way or another table has its turn.
    pub(crate) fn begin(&mut self, merger: &Merger) {
        if !matches!(self.job, Job::None) || self.not_before.is_some_and(|time| Instant::now() < time) {
            return;
        }
        let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else {
            return;
        };
        let Some(compaction) = merger.plan_compaction(&self.settings) else {
            return;
        };
        let (stop, runtime) = (Arc::clone(&self.stop), Handle::current());
        let (answer, outcome) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            // Who asked may be gone.
            let _ = answer.send(run(compaction, &stop, &runtime));
        });
        self.job = Job::UnderWay(outcome);
    }

    /// Waits until the job under way is over; for ever where there is none. May be given up and asked again.
    pub(crate) async fn over(&mut self) {
        let Job::UnderWay(outcome) = &mut self.job else {
            return std::future::pending().await;
        };
        self.job = Job::Over(outcome.await.map_err(panicked));
    }

    /// Nothing is begun for a while: what failed may fail again.
    fn rest(&mut self) {
        self.not_before = Some(Instant::now() + REST);
    }

    /// What came of a job that is over; `None` where none is, or it was stopped.
    pub(crate) fn take(&mut self) -> Result<Option<Compacted>, SilverFailure> {
        let outcome = match std::mem::replace(&mut self.job, Job::None) {
            Job::None => return Ok(None),
            Job::Over(outcome) => outcome,
            Job::UnderWay(mut answer) => match answer.try_recv() {
                Ok(outcome) => Ok(outcome),
                Err(oneshot::error::TryRecvError::Closed) => Err(panicked(())),
                Err(oneshot::error::TryRecvError::Empty) => {
                    self.job = Job::UnderWay(answer);
                    return Ok(None);
                }
            },
        };
        Ok(outcome??)
    }
}

impl SilverMerge {
    /// What compacts this table, if anything is to.
    pub(crate) fn compactor(&self) -> Option<Compactor> {
        let settings = self.settings.compaction.clone()?;
        Some(Compactor::new(settings, Arc::clone(&self.shared.silver_compactions)))
    }

    /// Commits what has been compacted meanwhile, and begins what is worth compacting now. Between two merges: their rows are where the
    /// plan saw them. Merging goes on when a compaction fails.
    pub(crate) async fn compact(
        &self,
        mut merger: Merger,
        compactor: Option<&mut Compactor>,
    ) -> Result<Merger, SilverFailure> {
        let Some(compactor) = compactor else {
            return Ok(merger);
        };
        let table = self.settings.table.name();
        let count = |outcome| self.shared.metrics.compacted(table, outcome);
        match compactor.take() {
            Ok(Some(compacted)) => {
                merger = self.commit_compaction(merger, compacted).await?;
                count("committed");
            }
            Ok(None) => {}
            Err(error) => {
                count("failed");
                compactor.rest();
                tracing::warn!(
                    node = self.shared.settings.node, run_id = %self.shared.run_id, actor = "silver_merge", table,
                    code = error.code(), %error, "files were not compacted");
            }
        }
        compactor.begin(&merger);
        Ok(merger)
    }

    async fn commit_compaction(&self, mut merger: Merger, compacted: Compacted) -> Result<Merger, SilverFailure> {
        let started = Instant::now();
        let mut summary = summary_of(&self.shared);
        summary.insert("tapehouse.compacted-files".to_owned(), compacted.inputs().to_string());
        let staged = merger.stage_compaction(compacted, summary).await?;
        let (inputs, outputs) = (staged.inputs(), staged.outputs());
        let commit = || async { Ok(merger.commit_compaction(&staged).await.map(Some)?) };
        if let Some(committed) = self.follower.commit::<SilverFailure, _>(commit).await? {
            merger.follow_compaction(staged, &committed)?;
            let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::debug!(
                node = self.shared.settings.node, run_id = %self.shared.run_id, actor = "silver_merge",
                table = self.settings.table.name(), snapshot_id = committed.snapshot_id, inputs, outputs,
                files = merger.data_files(), ms, "compacted files committed");
        }
        Ok(merger)
    }
}

fn panicked<E>(_: E) -> JobPanicked {
    JobPanicked("compaction ended without an answer".to_owned())
}

fn run(compaction: Compaction, stop: &AtomicBool, runtime: &Handle) -> Outcome {
    let (started, files, rows) = (Instant::now(), compaction.inputs(), compaction.rows());
    let outcome = runtime.block_on(compaction.run(stop));
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(actor = "silver_merge", files, rows, ms, "files compacted");
    outcome
}

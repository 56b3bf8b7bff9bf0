//! Compactor: makes few large files of a bronze table's many small ones, while ingest runs.
//!
//! It only ever does what can wait. A group of files is rewritten on a thread of low priority, one at a time in the node, when no topic's
//! work waits for the CPU pool and the topic is not behind; only where a partition has gathered very many small files it is done anyway,
//! because readers pay for them. The outcome goes through the table's committer, so that it never races with ingest.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tapehouse_lake::commit::{CommitOutcome, Rewrite};
use tapehouse_lake::compaction::{CompactionError, CompactionSettings, Group, SmallFiles, plan, plan_rest, rewrite};
use tapehouse_lake::{LakeError, LoadedTable, TableName};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::committer::Request;
use crate::failure::Failure;
use crate::mailbox::{Closed, Mailbox};
use crate::progress::ProgressCell;
use crate::supervisor::Shared;

/// How often it is looked whether there is anything to do.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A look at a large table takes its time: so many times as long nothing is looked at after it.
const PAUSE_AFTER_LOOK: u32 = 20;
/// After a failure, which may last.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(30);
/// A topic that is so many records behind is behind.
const BEHIND_RECORDS: i64 = 300_000;
/// With so many small files in a partition it is compacted whatever else there is to do.
const MANY_FILES: usize = 100;
/// A file is not small for that when it has this part of the target size.
const SMALL_PART: u64 = 16;
/// Niceness of the thread.
const NICENESS: i32 = 10;
/// Files that cannot be rewritten are remembered up to this number, and then tried again.
const MAX_UNFIT: usize = 1000;

/// State of the actor.
pub(crate) struct Compactor {
    shared: Shared,
    table: TableName,
    committer: Mailbox<Request>,
    progress: ProgressCell,
    settings: CompactionSettings,
    /// Inputs of groups that could not be rewritten.
    unfit: HashSet<String>,
}

/// One group to be rewritten.
struct Job {
    table: LoadedTable,
    files: Arc<SmallFiles>,
    date: i32,
    group: Group,
    /// Its partition has more small files than may lie there.
    is_urgent: bool,
}

impl Compactor {
    fn new(
        shared: &Shared,
        table: &TableName,
        committer: Mailbox<Request>,
        progress: &ProgressCell,
        settings: CompactionSettings,
    ) -> Self {
        Self {
            shared: shared.clone(),
            table: table.clone(),
            committer,
            progress: progress.clone(),
            settings,
            unfit: HashSet::new(),
        }
    }

    /// Starts it where the settings want it; it ends when what is given back is dropped.
    pub(crate) fn start(
        shared: &Shared,
        table: &TableName,
        committer: &Mailbox<Request>,
        progress: &ProgressCell,
    ) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if let Some(settings) = shared.settings.compaction.clone() {
            tasks.spawn(Self::new(shared, table, committer.clone(), progress, settings).run());
        }
        tasks
    }

    /// Runs until the committer is gone.
    async fn run(mut self) {
        // Commits when there was nothing left to do.
        let mut done_at: Option<u64> = None;
        let mut pause = LOOK_EVERY;
        loop {
            tokio::time::sleep(pause).await;
            pause = LOOK_EVERY;
            let commits = self.progress.snapshot().commits;
            let fan_in = self.settings.fan_in as u64;
            if done_at.is_some_and(|done_at| commits < done_at + fan_in) {
                continue;
            }
            let started = Instant::now();
            let jobs = match self.look().await {
                Ok(jobs) => jobs,
                Err(error) => {
                    tracing::debug!(table = %self.table, %error, "the table cannot be looked at for now");
                    continue;
                }
            };
            pause = pause.max(started.elapsed() * PAUSE_AFTER_LOOK);
            if jobs.is_empty() {
                done_at = Some(commits);
            }
            for job in jobs {
                if !job.is_urgent && self.is_busy() {
                    break;
                }
                match self.compact(job).await {
                    Ok(true) => {}
                    Ok(false) => {
                        pause = PAUSE_AFTER_FAILURE;
                        break;
                    }
                    Err(Closed) => return,
                }
            }
        }
    }

    /// Whether others need the machine more.
    fn is_busy(&self) -> bool {
        let partitions = self.progress.snapshot().partitions;
        let behind = partitions.iter().filter_map(|partition| {
            let end = partition.high_watermark?;
            partition.stopped.is_none().then(|| end - partition.next_offset)
        });
        behind.sum::<i64>() > BEHIND_RECORDS || self.shared.pool.is_busy()
    }

    /// What there is to do, cheapest first.
    async fn look(&self) -> Result<Vec<Job>, LakeError> {
        let Some(table) = self.shared.lake.load(&self.table).await? else {
            return Ok(Vec::new());
        };
        let mut files = SmallFiles::of(&self.shared.lake, &table).await?;
        for candidates in files.partitions.values_mut() {
            candidates.retain(|file| !self.unfit.contains(&file.location));
        }
        let files = Arc::new(files);
        // Rows come into the newest date: the others get no more.
        let newest = files.partitions.keys().next_back().copied();
        let mut jobs = Vec::new();
        for (date, candidates) in &files.partitions {
            let mut groups = plan(candidates, &self.settings);
            if groups.is_empty() && Some(*date) != newest {
                groups = plan_rest(candidates, &self.settings);
            }
            let small = self.settings.target_bytes / SMALL_PART;
            let is_urgent = candidates.iter().filter(|file| file.bytes < small).count() > MANY_FILES;
            jobs.extend(groups.into_iter().map(|group| Job {
                table: table.clone(),
                files: Arc::clone(&files),
                date: *date,
                group,
                is_urgent,
            }));
        }
        jobs.sort_by_key(|job| job.group.bytes);
        Ok(jobs)
    }

    /// Rewrites a group and commits it; whether that went well. It fails only when the committer is gone.
    async fn compact(&mut self, job: Job) -> Result<bool, Closed> {
        let started = Instant::now();
        let inputs: Vec<String> = {
            let candidates = job.files.partitions.get(&job.date).into_iter().flatten();
            let taken = candidates.enumerate().filter(|(at, _)| job.group.inputs.contains(at));
            taken.map(|(_, file)| file.location.clone()).collect()
        };
        let (rows, bytes) = (job.group.rows, job.group.bytes);
        let rewritten = {
            // One in the node, so that what it takes in memory and CPU is known.
            let _turn = self.shared.compactions.acquire().await;
            on_thread(&self.shared, job).await
        };
        let outcome = match rewritten {
            Ok(rewrite) => self.commit(rewrite).await?,
            Err(error) => Err(error),
        };
        let outcome = match outcome {
            Ok(CommitOutcome::Committed(_)) => {
                tracing::debug!(node = self.shared.settings.node, actor = "compaction", table = %self.table, files = inputs.len(), rows, bytes,
                    took = ?started.elapsed(), "compacted");
                "committed"
            }
            Ok(CommitOutcome::Done(moved)) => {
                tracing::debug!(table = %self.table, %moved, "compacted files were not needed");
                "refused"
            }
            Err(error) => {
                tracing::warn!(node = self.shared.settings.node, actor = "compaction", table = %self.table, %error, code = error.code(),
                    "files were not compacted");
                if self.unfit.len() + inputs.len() > MAX_UNFIT {
                    self.unfit.clear();
                }
                if !error.is_retryable() {
                    self.unfit.extend(inputs);
                }
                "failed"
            }
        };
        self.shared.metrics.compacted(&self.table.to_string(), outcome);
        Ok(outcome != "failed")
    }

    async fn commit(
        &self,
        rewrite: Rewrite,
    ) -> Result<Result<CommitOutcome<tapehouse_lake::commit::MovedFile>, NotCompacted>, Closed> {
        let (answer, outcome) = oneshot::channel();
        self.committer.send(Request::Rewrite(Box::new(rewrite), answer)).await?;
        let outcome = outcome.await.map_err(|_| Closed)?;
        Ok(outcome.map_err(NotCompacted::Commit))
    }
}

/// Why files were not compacted.
#[derive(Debug, thiserror::Error)]
enum NotCompacted {
    #[error(transparent)]
    Rewrite(#[from] CompactionError),
    #[error(transparent)]
    Commit(#[from] Failure),
    #[error("the thread that rewrote them has ended")]
    Panicked,
    #[error("no thread could be started: {0}")]
    NoThread(#[from] std::io::Error),
}

impl NotCompacted {
    fn code(&self) -> &'static str {
        match self {
            Self::Rewrite(error) => error.code(),
            Self::Commit(failure) => failure.code(),
            Self::Panicked | Self::NoThread(_) => "internal",
        }
    }

    /// Whether the same files may be compacted later.
    fn is_retryable(&self) -> bool {
        match self {
            Self::Rewrite(error) => error.is_retryable(),
            Self::Commit(_) | Self::NoThread(_) => true,
            Self::Panicked => false,
        }
    }
}

/// Rewrites on a thread of its own: a priority that is lowered cannot be raised again, so it must not be one that others use.
async fn on_thread(shared: &Shared, job: Job) -> Result<Rewrite, NotCompacted> {
    let (done, result) = oneshot::channel();
    let (runtime, lake) = (Handle::current(), shared.lake.clone());
    let work = move || {
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::debug!(%error, "the thread keeps its priority");
        }
        let rewritten = {
            // Nobody waits any more when the pipeline was torn down.
            let goes_on = || !done.is_closed();
            let Job {
                table,
                files,
                date,
                group,
                ..
            } = &job;
            runtime.block_on(rewrite(&lake, table, files, *date, group, &goes_on))
        };
        let _ = done.send(rewritten);
    };
    std::thread::Builder::new().name("compaction".to_owned()).spawn(work)?;
    Ok(result.await.map_err(|_| NotCompacted::Panicked)??)
}

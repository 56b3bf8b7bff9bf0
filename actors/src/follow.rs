//! What actors have in common that keep one table up with others: they look, do what is to be done, publish it, and wait for a reason
//! to look again. A watermark says when; what is to be done is always derived from the tables.

mod due;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::{Duration, Instant};

use tapehouse_core::backoff::Backoff;
use tapehouse_core::clock::now_ms;
use tapehouse_core::freshness::ProducedAt;
use tapehouse_core::watermark::{Touched, Watermark};
use tapehouse_lake::commit::Committed;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use self::due::Due;
use crate::failure::{ALERT_AT, ErrorCode};
use crate::pool::JobPanicked;
use crate::progress::TopicState;
use crate::silver::batch::Action;
use crate::silver::progress::{SilverCell, SilverRows};
use crate::supervisor::Shared;

/// Without any watermark the tables are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(300);
/// Questions that may wait for an actor.
const CATCH_UPS: usize = 8;

/// Asks to be told when all is done that there was to do at the time of asking.
pub(crate) type CatchUp = oneshot::Sender<()>;

/// Why there is something to do.
pub(crate) enum Cause {
    Look,
    Asked(CatchUp),
    Stop,
}

/// Why a pass ended.
pub(crate) trait PassFailure: std::fmt::Display {
    /// Stable code.
    fn code(&self) -> ErrorCode;
    /// Whether only an operator can help. It is tried again nevertheless, at the longest delay: what helps is a change of the tables.
    fn needs_an_operator(&self) -> bool;
    /// Whether the same commit may be tried again as it is: it may have succeeded, or may yet.
    fn may_repeat(&self) -> bool;
}

/// An actor that follows tables.
pub(crate) trait Follow: Send {
    type Failure: PassFailure + Send;

    /// Where it is told of them.
    fn follower(&mut self) -> &mut Follower;

    /// Does all that is to be done now.
    fn pass(&mut self) -> impl Future<Output = Result<(), Self::Failure>> + Send;

    /// Waits for a reason to look.
    fn cause(&mut self) -> impl Future<Output = Cause> + Send;
}

/// Looks until the node stops.
pub(crate) async fn follow<A: Follow>(mut actor: A) {
    let mut waiting: Vec<CatchUp> = Vec::new();
    let mut failures = 0;
    let mut next = Cause::Look;
    loop {
        match next {
            Cause::Stop => return,
            Cause::Asked(answer) => waiting.push(answer),
            Cause::Look => {}
        }
        // Whoever asked before this pass begins is answered after it.
        while let Ok(answer) = actor.follower().catch_up.try_recv() {
            waiting.push(answer);
        }
        actor.follower().is_asked = !waiting.is_empty();
        next = match actor.pass().await {
            Ok(()) => {
                failures = 0;
                let trouble = actor.follower().trouble();
                let is_done = trouble.is_none();
                actor.follower().progress.set_state(trouble.unwrap_or(TopicState::Idle));
                // Whoever asked may be gone.
                let done = if is_done {
                    std::mem::take(&mut waiting)
                } else {
                    Vec::new()
                };
                for answer in done {
                    let _ = answer.send(());
                }
                actor.cause().await
            }
            Err(failure) => {
                failures += 1;
                let delay = actor.follower().retry(&failure, failures);
                drop(failure);
                actor.follower().pause(delay).await
            }
        };
    }
}

/// A table that is kept up, and what its actor hears and tells.
pub(crate) struct Follower {
    shared: Shared,
    /// Name of the actor, for logs.
    actor: &'static str,
    table: String,
    pub(crate) progress: SilverCell,
    watermarks: broadcast::Receiver<Watermark>,
    catch_up: mpsc::Receiver<CatchUp>,
    looks: watch::Receiver<u64>,
    is_asked: bool,
}

/// A commit that is in the table, and what is told of it.
pub(crate) struct Published<'a> {
    pub(crate) committed: &'a Committed,
    /// When its work began.
    pub(crate) started: Instant,
    /// Live rows of the table.
    pub(crate) table_rows: u64,
    pub(crate) rows: SilverRows,
    pub(crate) rules: &'a BTreeMap<(Action, &'static str), u64>,
    /// Of rows that come from Kafka directly; else empty.
    pub(crate) produced_at: &'a ProducedAt,
    /// Days whose rows are other ones than before, since 1970-01-01.
    pub(crate) days: BTreeSet<i32>,
}

impl Follower {
    /// Of the table of `progress`; and where it is asked whether it has caught up.
    pub(crate) fn new(shared: &Shared, actor: &'static str, progress: SilverCell) -> (Self, mpsc::Sender<CatchUp>) {
        let table = progress.snapshot().table;
        shared.metrics.begin_silver(&table);
        let (ask, catch_up) = mpsc::channel(CATCH_UPS);
        let looks = shared.looks.subscribe(&table);
        let follower = Self {
            shared: shared.clone(),
            actor,
            table,
            progress,
            watermarks: shared.watermarks.subscribe(),
            catch_up,
            looks,
            is_asked: false,
        };
        (follower, ask)
    }

    /// Whether somebody waits for this pass: then nothing is put off.
    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// How the table stands where all is done that can be done now, and a run of it waits for another attempt.
    fn trouble(&self) -> Option<TopicState> {
        self.shared.ledger.trouble(&self.table)
    }

    /// Waits for a reason to look: `other`, a schedule, or that a watermark `touches` the table's sources. Then it is looked so long after the first
    /// touch, or when an hour ends. Touches that came during a pass are in the channel: the next pass is due for them as for any.
    pub(crate) async fn cause(
        &mut self,
        debounce: Duration,
        touches: impl Fn(&Watermark) -> bool,
        other: impl Future<Output = ()>,
    ) -> Cause {
        let mut stopping = self.shared.stopping.clone();
        let mut due = Due::new(debounce);
        let longest = tokio::time::Instant::now() + LOOK_EVERY;
        tokio::pin!(other);
        loop {
            let until = due.at().map_or(longest, |at| longest.min(at.into()));
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => return Cause::Stop,
                Some(answer) = self.catch_up.recv() => return Cause::Asked(answer),
                () = tokio::time::sleep_until(until) => break,
                Ok(()) = self.looks.changed() => break,
                watermark = self.watermarks.recv() => match watermark {
                    Ok(watermark) if !touches(&watermark) => {}
                    Err(RecvError::Closed) => return Cause::Stop,
                    // What was missed may have touched them.
                    Ok(_) | Err(RecvError::Lagged(_)) if debounce.is_zero() => break,
                    Ok(_) | Err(RecvError::Lagged(_)) => due.touched(Instant::now(), now_ms()),
                },
                () = &mut other => break,
            }
        }
        // What came meanwhile is seen by the same pass.
        while !matches!(
            self.watermarks.try_recv(),
            Err(TryRecvError::Empty | TryRecvError::Closed)
        ) {}
        Cause::Look
    }

    /// Waits before the next attempt.
    async fn pause(&self, delay: Duration) -> Cause {
        let mut stopping = self.shared.stopping.clone();
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => Cause::Stop,
            () = tokio::time::sleep(delay) => Cause::Look,
        }
    }

    /// Tells of a failure, the `failures`th in a row; the time until the next attempt.
    fn retry(&self, failure: &impl PassFailure, failures: u32) -> Duration {
        let (code, table) = (failure.code(), self.table.as_str());
        let delay = match failure.needs_an_operator() {
            true => Backoff::INGEST.max,
            false => Backoff::INGEST.delay(failures - 1, rand::random()),
        };
        let alert = failures == ALERT_AT;
        if alert {
            self.shared.metrics.asset_failures.with_label_values(&[table]).inc();
        }
        tracing::warn!(
            node = self.shared.settings.node, run_id = %self.shared.run_id, actor = self.actor, table,
            code, error = %failure, failures, ?delay, alert,
            "keeping the table up failed and is tried again");
        self.progress.set_state(TopicState::Retrying {
            code,
            error: failure.to_string(),
            attempt: failures,
        });
        delay
    }

    /// Repeats `attempt` while it fails in a way that `heals` by itself.
    pub(crate) async fn until_certain<T, F, A>(
        &self,
        mut attempt: impl FnMut() -> A,
        heals: impl Fn(&F) -> bool,
    ) -> Result<T, F>
    where
        F: PassFailure,
        A: Future<Output = Result<T, F>>,
    {
        let mut failures = 0;
        loop {
            self.shared.clock.hold().await;
            let delay = match attempt().await {
                Err(failure) if heals(&failure) => {
                    failures += 1;
                    self.retry(&failure, failures)
                }
                certain => return certain,
            };
            tokio::time::sleep(delay).await;
        }
    }

    /// Commits; `None` when another node has done the same. Repeats what may heal by itself, for ever: the files stay valid, and the
    /// commit id keeps them from being committed twice.
    pub(crate) async fn commit<F, A>(&self, attempt: impl FnMut() -> A) -> Result<Option<Committed>, F>
    where
        F: PassFailure,
        A: Future<Output = Result<Option<Committed>, F>>,
    {
        let certain = self.until_certain(attempt, F::may_repeat).await;
        let commits = &self.shared.metrics.commits;
        let count = |outcome: &str| commits.with_label_values(&[self.table.as_str(), outcome]).inc();
        match &certain {
            Ok(Some(_)) => {}
            Ok(None) => count("already_committed"),
            Err(_) => count("refused"),
        }
        certain
    }

    /// Everything that follows a commit, none of which correctness depends on.
    pub(crate) fn published(&self, published: Published<'_>) {
        self.published_of(&self.table, &self.progress, published);
    }

    /// The same of another table that the actor keeps up.
    pub(crate) fn published_of(&self, table: &str, progress: &SilverCell, published: Published<'_>) {
        let metrics = &self.shared.metrics;
        let Published {
            committed,
            started,
            table_rows,
            rows,
            rules,
            produced_at,
            days,
        } = published;
        let visible_ms = now_ms();
        metrics.commits.with_label_values(&[table, "committed"]).inc();
        metrics.conflicts(table, committed.attempts);
        let seconds = metrics.asset_seconds.with_label_values(&[table]);
        seconds.observe(started.elapsed().as_secs_f64());
        metrics.visible(table, visible_ms, produced_at);
        let live = metrics.table_rows.with_label_values(&[table]);
        live.set(i64::try_from(table_rows).unwrap_or(i64::MAX));
        metrics.merged(table, &rows, rules);
        progress.set_table_rows(table_rows);
        progress.committed(&rows, visible_ms, produced_at);
        // Without subscribers there is nobody to tell; a watermark is only a hint.
        let _ = self.shared.watermarks.send(Watermark {
            table: table.to_owned(),
            snapshot: committed.snapshot_id,
            rows: rows.written,
            touched: Touched::Days(days),
        });
    }
}

/// Runs what reads files and decodes on a thread of its own. It does not wait for the CPU pool, nor does ingest for it.
pub(crate) async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, JobPanicked> {
    let done = tokio::task::spawn_blocking(job).await;
    done.map_err(|error| JobPanicked(error.to_string()))
}

//! TraderActivityActor: keeps `silver.trader_activity` up with `silver.trades`.
//!
//! A watermark says when to look: some time after the first touch of a day, and where an hour ends. Which days are computed is always
//! derived from the two tables: those whose version in `silver.trades` is another one than `silver.trader_activity` records.

mod due;
mod failure;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tapehouse_core::backoff::Backoff;
use tapehouse_core::clock::now_ms;
use tapehouse_core::watermark::{Touched, Watermark};
use tapehouse_lake::commit::Committed;
use tapehouse_lake::silver::activity::{ActivityError, MAX_DAYS, Refresh, Refreshed, TABLE, TraderActivity};
use tokio::runtime::Handle;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use self::due::Due;
use self::failure::ActivityFailure;
use crate::failure::ALERT_AT;
use crate::progress::TopicState;
use crate::settings::ActivitySettings;
use crate::silver::progress::{SilverCell, SilverRows};
use crate::silver_merge::{CatchUp, blocking};
use crate::supervisor::Shared;

/// Without any watermark the tables are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(300);

/// The actor.
pub(crate) struct TraderActivityActor {
    pub(crate) shared: Shared,
    pub(crate) settings: ActivitySettings,
    pub(crate) progress: SilverCell,
    pub(crate) watermarks: broadcast::Receiver<Watermark>,
    pub(crate) catch_up: mpsc::Receiver<CatchUp>,
}

/// Why there is something to do.
enum Cause {
    Look,
    Asked(CatchUp),
    Stop,
}

impl TraderActivityActor {
    /// Computes until the node stops.
    pub(crate) async fn run(mut self) {
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
            while let Ok(answer) = self.catch_up.try_recv() {
                waiting.push(answer);
            }
            next = match self.pass().await {
                Ok(()) => {
                    failures = 0;
                    self.progress.set_state(TopicState::Idle);
                    // Whoever asked may be gone.
                    for answer in waiting.drain(..) {
                        let _ = answer.send(());
                    }
                    self.cause().await
                }
                Err(failure) => {
                    failures += 1;
                    let delay = self.retry(&failure, failures);
                    self.pause(delay).await
                }
            };
        }
    }

    /// Waits for a reason to look. Touches that came during a pass are in the channel: the next pass is due for them as for any.
    async fn cause(&mut self) -> Cause {
        let mut stopping = self.shared.stopping.clone();
        let mut due = Due::new(self.settings.debounce);
        let longest = tokio::time::Instant::now() + LOOK_EVERY;
        loop {
            let until = due.at().map_or(longest, |at| longest.min(at.into()));
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => return Cause::Stop,
                Some(answer) = self.catch_up.recv() => return Cause::Asked(answer),
                () = tokio::time::sleep_until(until) => return Cause::Look,
                watermark = self.watermarks.recv() => match watermark {
                    Ok(watermark) if self.touches(&watermark) => due.touched(Instant::now(), now_ms()),
                    Ok(_) => {}
                    Err(RecvError::Closed) => return Cause::Stop,
                    // What was missed may have touched a day.
                    Err(RecvError::Lagged(_)) => due.touched(Instant::now(), now_ms()),
                },
            }
        }
    }

    fn touches(&self, watermark: &Watermark) -> bool {
        let has_days = watermark.touched.days().is_some_and(|days| !days.is_empty());
        has_days && watermark.table == self.settings.source.to_string()
    }

    /// Waits before the next attempt.
    async fn pause(&mut self, delay: Duration) -> Cause {
        let mut stopping = self.shared.stopping.clone();
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => Cause::Stop,
            () = tokio::time::sleep(delay) => Cause::Look,
        }
    }

    fn retry(&self, failure: &ActivityFailure, failures: u32) -> Duration {
        let code = failure.code();
        let delay = match failure.needs_an_operator() {
            true => Backoff::INGEST.max,
            false => Backoff::INGEST.delay(failures - 1, rand::random()),
        };
        let alert = failures == ALERT_AT;
        if alert {
            self.shared.metrics.asset_failures.with_label_values(&[TABLE]).inc();
        }
        tracing::warn!(
            node = self.shared.settings.node, run_id = %self.shared.run_id, actor = "trader_activity", table = TABLE,
            code, error = %failure, failures, ?delay, alert,
            "computing failed and is tried again");
        self.progress.set_state(TopicState::Retrying {
            code,
            error: failure.to_string(),
            attempt: failures,
        });
        delay
    }

    fn derivation(&self) -> TraderActivity {
        TraderActivity {
            lake: self.shared.lake.clone(),
            ident: self.settings.table.clone(),
            source: self.settings.source.clone(),
            owner: self.shared.settings.cluster.clone(),
        }
    }

    /// Computes all days that are not as the trades are now.
    async fn pass(&mut self) -> Result<(), ActivityFailure> {
        let derivation = self.derivation();
        let Some(refresh) = derivation.look().await? else {
            return Ok(());
        };
        self.progress.set_table_rows(refresh.table().live_rows().unwrap_or(0));
        for days in refresh.days().chunks(MAX_DAYS) {
            if *self.shared.stopping.borrow() {
                break;
            }
            self.progress.set_state(TopicState::Running);
            self.refresh(&derivation, &refresh, days).await?;
        }
        Ok(())
    }

    /// Computes these days in one commit.
    async fn refresh(
        &self,
        derivation: &TraderActivity,
        refresh: &Refresh,
        days: &[i32],
    ) -> Result<(), ActivityFailure> {
        let started = Instant::now();
        let summary = BTreeMap::from([
            ("tapehouse.run-id".to_owned(), self.shared.run_id.to_string()),
            ("tapehouse.node".to_owned(), self.shared.settings.node.clone()),
        ]);
        let job = {
            let (derivation, refresh, days) = (derivation.clone(), refresh.clone(), days.to_vec());
            move || Handle::current().block_on(derivation.compute(&refresh, &days, summary))
        };
        let refreshed = blocking(job).await??;
        let commits = &self.shared.metrics.commits;
        match self.commit_until_certain(derivation, &refreshed).await {
            Ok(Some(committed)) => self.published(&committed, &refreshed, started),
            // Another node has computed them from the same trades.
            Ok(None) => commits.with_label_values(&[TABLE, "already_committed"]).inc(),
            Err(failure) => {
                commits.with_label_values(&[TABLE, "refused"]).inc();
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Repeats what may heal by itself: the files stay valid, and the commit id keeps them from being committed twice.
    async fn commit_until_certain(
        &self,
        derivation: &TraderActivity,
        refreshed: &Refreshed,
    ) -> Result<Option<Committed>, ActivityFailure> {
        let mut failures = 0;
        loop {
            self.shared.clock.hold().await;
            match derivation.commit(refreshed).await {
                Err(ActivityError::Commit(error)) if error.is_retryable() => {
                    failures += 1;
                    let failure = ActivityFailure::from(ActivityError::Commit(error));
                    let delay = self.retry(&failure, failures);
                    tokio::time::sleep(delay).await;
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Everything that follows a commit, none of which correctness depends on.
    fn published(&self, committed: &Committed, refreshed: &Refreshed, started: Instant) {
        let metrics = &self.shared.metrics;
        let visible_ms = now_ms();
        metrics.commits.with_label_values(&[TABLE, "committed"]).inc();
        metrics.conflicts(TABLE, committed.attempts);
        let seconds = metrics.asset_seconds.with_label_values(&[TABLE]);
        seconds.observe(started.elapsed().as_secs_f64());
        let rows = committed.table.live_rows().unwrap_or(0);
        let table_rows = metrics.table_rows.with_label_values(&[TABLE]);
        table_rows.set(i64::try_from(rows).unwrap_or(i64::MAX));
        let written = SilverRows {
            written: refreshed.rows,
            ..SilverRows::default()
        };
        metrics.merged(TABLE, &written, &BTreeMap::new());
        let last = metrics.last_commit.with_label_values(&[TABLE]);
        last.set(visible_ms as f64 / 1e3);
        self.progress.set_table_rows(rows);
        self.progress.derived(refreshed.rows, visible_ms);
        // Without subscribers there is nobody to tell; a watermark is only a hint.
        let _ = self.shared.watermarks.send(Watermark {
            table: self.settings.table.to_string(),
            snapshot: committed.snapshot_id,
            rows: refreshed.rows,
            touched: Touched::Days(refreshed.changed_days().collect()),
        });
        tracing::debug!(
            node = self.shared.settings.node, run_id = %self.shared.run_id, actor = "trader_activity", table = TABLE,
            snapshot_id = committed.snapshot_id, days = refreshed.computed, changed = refreshed.changed_days().count(),
            rows = refreshed.rows, ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), "computed");
    }
}

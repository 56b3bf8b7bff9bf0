//! SilverMergeActor: keeps one silver table up with its bronze table.
//!
//! A watermark says "look"; what to merge is always derived from the two tables: from the offsets that silver records to those that
//! bronze records. Whatever fails, the table is opened again and the same is derived anew.

use std::time::{Duration, Instant};

use tapehouse_core::backoff::Backoff;
use tapehouse_core::chunk::{BronzeOffsets, next_chunk};
use tapehouse_core::merge::MergeState;
use tapehouse_core::watermark::Watermark;
use tapehouse_lake::LoadedTable;
use tapehouse_lake::index::IndexSettings;
use tapehouse_lake::silver::clean::RULES_VERSION;
use tapehouse_lake::silver::merge::{KeyedTable, Merger};
use tapehouse_lake::silver::source::bronze_offsets;
use tokio::runtime::Handle;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::failure::ALERT_AT;
use crate::pool::JobPanicked;
use crate::progress::TopicState;
use crate::settings::SilverSettings;
use crate::silver::compactor::Compactor;
use crate::silver::failure::SilverFailure;
use crate::silver::one_merge::After;
use crate::silver::portion::Portion;
use crate::silver::progress::SilverCell;
use crate::silver::quarantine::{Decided, more_decisions};
use crate::supervisor::Shared;

/// Without any watermark the tables are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(300);
/// Offsets merged in one commit at most: what bounds the memory of a merge.
const MAX_OFFSETS: u64 = 200_000;

/// Asks to be told when all is merged that bronze had at the time of asking.
pub(crate) type CatchUp = oneshot::Sender<()>;

/// One silver table's actor.
pub(crate) struct SilverMerge {
    pub(crate) shared: Shared,
    pub(crate) settings: SilverSettings,
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

impl SilverMerge {
    /// Merges until the node stops.
    pub(crate) async fn run(mut self) {
        let mut waiting: Vec<CatchUp> = Vec::new();
        let mut open = None;
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
            next = match self.pass(&mut open).await {
                Ok(()) => {
                    failures = 0;
                    self.progress.set_state(TopicState::Idle);
                    // Whoever asked may be gone.
                    for answer in waiting.drain(..) {
                        let _ = answer.send(());
                    }
                    self.cause(&mut open).await
                }
                Err(failure) => {
                    open = None;
                    failures += 1;
                    let delay = self.retry(&failure, failures);
                    self.pause(delay).await
                }
            };
        }
    }

    /// Waits for a reason to look.
    async fn cause(&mut self, open: &mut Option<Open>) -> Cause {
        let mut stopping = self.shared.stopping.clone();
        let longest = tokio::time::sleep(LOOK_EVERY);
        let lake = self.shared.lake.clone();
        let known = open.as_ref().map_or(0, |open| open.decided.known());
        let decided = more_decisions(&lake, self.settings.table, known);
        let compactor = open.as_mut().and_then(|open| open.compactor.as_mut());
        let compacted = async {
            match compactor {
                Some(compactor) => compactor.over().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(longest, decided, compacted);
        loop {
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => return Cause::Stop,
                Some(answer) = self.catch_up.recv() => return Cause::Asked(answer),
                watermark = self.watermarks.recv() => match watermark {
                    Ok(watermark) if watermark.table != self.settings.source.to_string() => {}
                    Err(RecvError::Closed) => return Cause::Stop,
                    Ok(_) | Err(RecvError::Lagged(_)) => {
                        // What came meanwhile is merged in the same pass.
                        while !matches!(self.watermarks.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
                        return Cause::Look;
                    }
                },
                () = &mut compacted => return Cause::Look,
                () = &mut longest => return Cause::Look,
                () = &mut decided => return Cause::Look,
            }
        }
    }

    /// Waits before the next attempt.
    async fn pause(&mut self, delay: Duration) -> Cause {
        let mut stopping = self.shared.stopping.clone();
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => Cause::Stop,
            () = tokio::time::sleep(delay) => Cause::Look,
        }
    }

    pub(crate) fn retry(&self, failure: &SilverFailure, failures: u32) -> Duration {
        let (code, table) = (failure.code(), self.settings.table.name());
        let delay = match failure.needs_an_operator() {
            true => Backoff::INGEST.max,
            false => Backoff::INGEST.delay(failures - 1, rand::random()),
        };
        let alert = failures == ALERT_AT;
        if alert {
            self.shared.metrics.asset_failures.with_label_values(&[table]).inc();
        }
        tracing::warn!(
            node = self.shared.settings.node, run_id = %self.shared.run_id, actor = "silver_merge", table,
            code, error = %failure, failures, ?delay, alert,
            "merging failed and is tried again");
        self.progress.set_state(TopicState::Retrying {
            code,
            error: failure.to_string(),
            attempt: failures,
        });
        delay
    }

    /// Merges all that bronze has now and silver has not.
    async fn pass(&mut self, open: &mut Option<Open>) -> Result<(), SilverFailure> {
        // Before bronze: then bronze has every record that was decided about.
        let decided = open
            .as_mut()
            .map(|open| std::mem::take(&mut open.decided))
            .unwrap_or_default();
        let decided = decided.look(&self.shared.lake, self.settings.table).await?;
        let Some(bronze) = self.shared.lake.load(&self.settings.source).await? else {
            return Ok(());
        };
        let (mut merger, known, mut compactor) = match open.take() {
            Some(open) => (open.merger, Some(open.offsets), open.compactor),
            None => (self.open().await?, None, self.compactor()),
        };
        self.progress.set_table_rows(merger.live_rows());
        let offsets = self.offsets(&merger, &bronze, known).await?;
        while let Some(ranges) = next_chunk(merger.state(), &offsets, MAX_OFFSETS)? {
            if *self.shared.stopping.borrow() {
                break;
            }
            self.progress.set_state(TopicState::Running);
            let portion = Portion::of_ranges(ranges);
            (merger, compactor) = self.step(merger, compactor, &bronze, portion, &decided).await?;
        }
        while let Some(portion) = decided.open(merger.state()) {
            if *self.shared.stopping.borrow() {
                break;
            }
            (merger, compactor) = self.step(merger, compactor, &bronze, portion, &decided).await?;
        }
        merger = self.compact(merger, compactor.as_mut()).await?;
        *open = Some(Open {
            merger,
            offsets,
            compactor,
            decided,
        });
        Ok(())
    }

    /// Merges a portion, and what compaction has to do between two of them.
    async fn step(
        &self,
        merger: Merger,
        mut compactor: Option<Compactor>,
        bronze: &LoadedTable,
        portion: Portion,
        decided: &Decided,
    ) -> Result<(Merger, Option<Compactor>), SilverFailure> {
        let merger = match self.merge_chunk(merger, bronze, portion, decided).await? {
            After::Merged(merger) => merger,
            After::Opened(merger) => {
                // What is compacted meanwhile is not of this list of files.
                compactor = self.compactor();
                merger
            }
        };
        Ok((self.compact(merger, compactor.as_mut()).await?, compactor))
    }

    /// What bronze says of its offsets. Of former incarnations it may have to decode files, where `known` does not say it.
    async fn offsets(
        &self,
        merger: &Merger,
        bronze: &LoadedTable,
        known: Option<BronzeOffsets>,
    ) -> Result<BronzeOffsets, SilverFailure> {
        let (lake, bronze, cursor) = (self.shared.lake.clone(), bronze.clone(), merger.state().clone());
        let job = move || Handle::current().block_on(bronze_offsets(&lake, &bronze, &cursor, known.as_ref()));
        Ok(blocking(job).await??)
    }

    pub(crate) async fn open(&self) -> Result<Merger, SilverFailure> {
        let started = Instant::now();
        let settings = &self.shared.settings;
        let (lake, table) = (self.shared.lake.clone(), self.settings.table);
        let name = table.name();
        let state = MergeState::new(&settings.cluster, self.settings.source.to_string(), RULES_VERSION);
        let index = IndexSettings::new(settings.state_dir.join("state").join("index").join(name));
        let job = move || Handle::current().block_on(Merger::open(&lake, &KeyedTable::of(table), &state, index));
        let merger = blocking(job).await??;
        tracing::info!(
            node = settings.node,
            actor = "silver_merge",
            table = name,
            rows = merger.live_rows(),
            files = merger.data_files(),
            seconds = started.elapsed().as_secs_f64(),
            "opened"
        );
        Ok(merger)
    }
}

/// What is kept from one pass to the next.
struct Open {
    merger: Merger,
    /// What bronze said last; of a cursor that went back it would say too little.
    offsets: BronzeOffsets,
    compactor: Option<Compactor>,
    /// What was decided about rows set aside, as far as it was looked at.
    decided: Decided,
}

/// Runs what reads files and decodes on a thread of its own. Merges do not wait for the CPU pool, nor does ingest for merges.
pub(crate) async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, JobPanicked> {
    let done = tokio::task::spawn_blocking(job).await;
    done.map_err(|error| JobPanicked(error.to_string()))
}

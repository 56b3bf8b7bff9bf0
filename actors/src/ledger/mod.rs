//! The node's ledger of runs: the state machine of [`tapehouse_core::ledger`], with each change in a file under `STATE_DIR/ledger/`.
//!
//! Tables are right without it. So a file that cannot be written any more is said once and left: runs go on in memory until the next start.

mod backfills;
mod store;
#[cfg(test)]
mod tests;
mod work;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tapehouse_core::clock::now_us;
use tapehouse_core::ledger::{Command, Ledger, Limits, Refusal, Run, RunId, RunState};
use tokio::sync::watch;

pub use self::backfills::{AskError, NewBackfill};
pub use self::store::LedgerError;
use self::store::{Change, Store};
pub(crate) use self::work::{DayWork, failed, known_code, live_first, units};

/// Ended runs are kept so long.
const KEPT_US: i64 = 30 * 24 * 3600 * 1_000_000;
/// Old ones are looked for so often.
const PRUNE_EVERY_US: i64 = 6 * 3600 * 1_000_000;

/// The ledger. Clones share it.
#[derive(Clone, Debug)]
pub struct RunLedger {
    inner: Arc<Mutex<Inner>>,
    /// Read beside the lock: whoever looks through a month of runs keeps nobody from computing.
    store: Arc<Store>,
    /// Counts changes.
    changed: watch::Sender<u64>,
    /// Counts changes of runs that an operator asked for.
    asked: watch::Sender<u64>,
    node: Arc<str>,
}

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    /// Whether the file failed.
    is_off: bool,
    pruned_us: i64,
}

impl RunLedger {
    /// Opens the ledger of this state folder. What its node was computing when it ended is lost, and begins again.
    ///
    /// # Errors
    /// [`LedgerError`]: it is in use, or cannot be read.
    pub fn open(state_dir: &Path, node: &str, limits: Limits) -> Result<Self, LedgerError> {
        let store = Store::open(&state_dir.join("ledger"))?;
        let (runs, last) = store.known()?;
        let mut ledger = Ledger::new(limits, last);
        runs.into_iter().for_each(|run| ledger.restore(run));
        let now = now_us();
        for nonce in store.paused()? {
            // Cannot be refused.
            let _ = ledger.apply(Command::Pause { nonce }, now);
        }
        let opened = Self {
            inner: Arc::new(Mutex::new(Inner {
                ledger,
                is_off: false,
                pruned_us: 0,
            })),
            store: Arc::new(store),
            changed: watch::Sender::new(0),
            asked: watch::Sender::new(0),
            node: node.into(),
        };
        // A state folder is one node's at a time, whatever its name was before.
        let nodes: Vec<String> = {
            let inner = opened.lock();
            let mut nodes: Vec<String> = inner.ledger.active().filter_map(|run| run.node.clone()).collect();
            nodes.sort_unstable();
            nodes.dedup();
            nodes
        };
        opened.apply(nodes.into_iter().map(|node| Command::Lost { node }).collect());
        Ok(opened)
    }

    /// Applies commands at this moment, and stores what they changed before anything is told. The runs that each changed, or why it was
    /// refused. Waits for the disk.
    pub fn apply(&self, commands: Vec<Command>) -> Vec<Result<Vec<Run>, Refusal>> {
        let now = now_us();
        let mut inner = self.lock();
        let mut change = Change::default();
        let mut changed: BTreeMap<RunId, Run> = BTreeMap::new();
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            match &command {
                Command::Forgive { asset, day } => change.forgiven.push((asset.clone(), *day)),
                Command::Pause { nonce } => change.paused.push((nonce.clone(), true)),
                Command::Resume { nonce } => change.paused.push((nonce.clone(), false)),
                _ => {}
            }
            let outcome = inner.ledger.apply(command, now);
            for run in outcome.iter().flatten() {
                changed.insert(run.id, run.clone());
            }
            outcomes.push(outcome);
        }
        let is_asked = !change.paused.is_empty() || changed.values().any(|run| run.nonce.is_some());
        let runs: Vec<Run> = changed.into_values().collect();
        change.runs = &runs;
        if !change.runs.is_empty() || !change.forgiven.is_empty() || !change.paused.is_empty() {
            inner.keep(&self.store, &change, now);
            drop(inner);
            self.changed.send_modify(|count| *count += 1);
            if is_asked {
                self.asked.send_modify(|count| *count += 1);
            }
        }
        outcomes
    }

    /// Runs of numbers below `before` that are `wanted`, the latest first, `most` of them.
    ///
    /// # Errors
    /// [`LedgerError`]: the file cannot be read.
    pub fn runs(
        &self,
        before: Option<RunId>,
        most: usize,
        wanted: impl Fn(&Run) -> bool,
    ) -> Result<Vec<Run>, LedgerError> {
        self.store.runs(RunId(0), before, most, wanted)
    }

    /// The run of this number.
    ///
    /// # Errors
    /// [`LedgerError`]: the file cannot be read.
    pub fn run(&self, id: RunId) -> Result<Option<Run>, LedgerError> {
        self.store.run(id)
    }

    /// A run of this asset that failed for the last time, and keeps its day from being computed.
    pub fn failure_of(&self, asset: &str) -> Option<Run> {
        let id = self.lock().ledger.failures().find(|(of, ..)| *of == asset)?.2;
        self.run(id).ok().flatten()
    }

    /// A run of this asset that waits for another attempt.
    pub(crate) fn retried(&self, asset: &str) -> Option<Run> {
        let inner = self.lock();
        let mut waiting = inner.ledger.active().filter(|run| run.state == RunState::Waiting);
        waiting.find(|run| run.asset == asset && run.attempt > 0).cloned()
    }

    /// Told with each change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The ledger changes before the file does, as it does where the file fails.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn keep(&mut self, store: &Store, change: &Change<'_>, now_us: i64) {
        if self.is_off {
            return;
        }
        let is_due = now_us - self.pruned_us > PRUNE_EVERY_US;
        let kept = store.put(change).and_then(|()| match is_due {
            true => store.prune(now_us - KEPT_US),
            false => Ok(0),
        });
        if is_due {
            self.pruned_us = now_us;
        }
        if let Err(error) = kept {
            tracing::error!(%error, code = "state_dir", "the ledger of runs cannot be written: it is in memory until the next start");
            self.is_off = true;
        }
    }
}

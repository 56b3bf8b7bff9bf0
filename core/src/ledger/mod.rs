//! The ledger of runs: what was computed, when, from what, why, and how it ended; what is computed now, and what may be begun next.
//!
//! It is a state machine without I/O and without a clock: each command carries its time, so that the same commands give the same ledger
//! wherever they are applied. Runs that have ended leave it; whoever keeps the ledger stores each run that a command has changed.
//!
//! It is not what makes tables right: days that are to be computed are derived from the tables, with or without a ledger. It bounds how
//! much is computed at once, how often what fails is tried again, and it remembers.

mod backfill;
mod policy;
mod refusal;
mod run;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use self::backfill::{Backfill, BackfillProgress};
pub use self::policy::{Limits, RetryPolicy};
pub use self::refusal::Refusal;
pub use self::run::{LogLine, Outcome, Run, RunError, RunId, RunState, Trigger};
use crate::assets::AssetLayer;

/// A day of an asset, and what it is computed from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Table, with its namespace.
    pub asset: String,
    /// Day, since 1970-01-01.
    pub day: i32,
    /// Versions of what is read, by source.
    pub inputs: BTreeMap<String, Option<i64>>,
    /// Version of the logic.
    pub logic: u32,
}

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// It is in the table.
    Succeeded(Outcome),
    /// It is not.
    Failed(RunError),
}

/// Something that happens to the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// A day has to be computed. Where a run with this key waits or runs already, there is no second one; a run that waits for the same day
    /// takes over the newer inputs.
    Submit {
        /// What.
        partition: Partition,
        /// Why.
        trigger: Trigger,
        /// Tells a deliberate repetition from the run before.
        nonce: Option<String>,
    },
    /// Work on these runs begins, as one unit.
    Start {
        /// Runs of one layer that wait.
        runs: Vec<RunId>,
        /// The node that does it.
        node: String,
    },
    /// An attempt is over.
    End {
        /// The run.
        run: RunId,
        /// How.
        ended: Ended,
        /// From 0 to 1: where in its span the delay before the next attempt lies.
        jitter: f64,
    },
    /// An operator wants it no more.
    Cancel {
        /// A run that waits.
        run: RunId,
    },
    /// A node is gone, or has started anew: what it was computing is lost.
    Lost {
        /// The node.
        node: String,
    },
    /// Runs with this nonce that wait do not begin.
    Pause {
        /// The nonce.
        nonce: String,
    },
    /// They may begin again.
    Resume {
        /// The nonce.
        nonce: String,
    },
    /// Days whose failure was final may be tried again.
    Forgive {
        /// The asset.
        asset: String,
        /// The day.
        day: i32,
    },
}

/// What has failed for the last time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    run: RunId,
    key: String,
}

/// The runs that wait or run, and the days whose last run failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    limits: Limits,
    last: u64,
    active: BTreeMap<RunId, Run>,
    failed: BTreeMap<(String, i32), Failure>,
    /// Nonces.
    paused: BTreeSet<String>,
}

impl Ledger {
    /// With nothing in it. `last` is the highest number that a run ever had.
    pub fn new(limits: Limits, last: u64) -> Self {
        Self {
            limits,
            last,
            ..Self::default()
        }
    }

    /// Takes in a run as it was stored, in the order of their numbers.
    pub fn restore(&mut self, run: Run) {
        self.last = self.last.max(run.id.0);
        let day = (run.asset.clone(), run.day);
        match run.state {
            RunState::Waiting | RunState::Running => {
                self.active.insert(run.id, run);
            }
            RunState::Failed if run.keeps_its_day() => {
                self.failed.insert(
                    day,
                    Failure {
                        run: run.id,
                        key: run.key(),
                    },
                );
            }
            RunState::Succeeded => {
                self.failed.remove(&day);
            }
            RunState::Failed | RunState::Cancelled => {}
        }
    }

    /// Runs that wait or run, in the order of their numbers.
    pub fn active(&self) -> impl Iterator<Item = &Run> {
        self.active.values()
    }

    /// The run whose failure keeps this day from being computed.
    pub fn failed(&self, asset: &str, day: i32) -> Option<RunId> {
        self.failed.get(&(asset.to_owned(), day)).map(|failure| failure.run)
    }

    /// All of these runs, by asset and day.
    pub fn failures(&self) -> impl Iterator<Item = (&str, i32, RunId)> {
        let failures = self.failed.iter();
        failures.map(|((asset, day), failure)| (asset.as_str(), *day, failure.run))
    }

    /// Runs of `asset` that wait, in the order of their numbers; some of them for a time to come. Left out is what is paused, and what is
    /// recomputed together with the same day of one of its `sources`, until that is done.
    pub fn ready(&self, asset: &str, sources: &[&str]) -> impl Iterator<Item = &Run> {
        let waiting = self.active.values();
        let waiting = waiting.filter(move |run| run.asset == asset && run.state == RunState::Waiting);
        waiting.filter(move |run| !self.is_put_off(run) && !self.is_held(run, sources))
    }

    /// Whether runs with this nonce are paused.
    pub fn is_paused(&self, nonce: &str) -> bool {
        self.paused.contains(nonce)
    }

    fn is_put_off(&self, run: &Run) -> bool {
        run.nonce.as_ref().is_some_and(|nonce| self.is_paused(nonce))
    }

    fn is_held(&self, run: &Run, sources: &[&str]) -> bool {
        let comes_before = |other: &Run| {
            let is_source = sources.contains(&other.asset.as_str());
            is_source && other.day == run.day && other.nonce == run.nonce
        };
        run.nonce.is_some() && self.active.values().any(comes_before)
    }

    /// Applies a command at this time, in microseconds: the runs that it changed, as they are now. A command that is refused changes
    /// nothing.
    ///
    /// # Errors
    /// When the ledger is not as the command takes it to be.
    pub fn apply(&mut self, command: Command, now_us: i64) -> Result<Vec<Run>, Refusal> {
        match command {
            Command::Submit {
                partition,
                trigger,
                nonce,
            } => self.submit(partition, trigger, nonce, now_us),
            Command::Start { runs, node } => self.start(&runs, &node, now_us),
            Command::End { run, ended, jitter } => self.end(run, ended, jitter, now_us),
            Command::Cancel { run } => self.cancel(run, now_us),
            Command::Lost { node } => Ok(self.lost(&node, now_us)),
            Command::Pause { nonce } => {
                self.paused.insert(nonce);
                Ok(Vec::new())
            }
            Command::Resume { nonce } => {
                self.paused.remove(&nonce);
                Ok(Vec::new())
            }
            Command::Forgive { asset, day } => {
                self.failed.remove(&(asset, day));
                Ok(Vec::new())
            }
        }
    }

    fn submit(
        &mut self,
        partition: Partition,
        trigger: Trigger,
        nonce: Option<String>,
        now_us: i64,
    ) -> Result<Vec<Run>, Refusal> {
        let new = Run::new(RunId(self.last + 1), partition, trigger, nonce, now_us);
        let key = new.key();
        if let Some(run) = self.active.values().find(|run| run.key() == key) {
            return Ok(vec![run.clone()]);
        }
        let takes_over = |run: &&mut Run| {
            let same_day = run.asset == new.asset && run.day == new.day && run.nonce == new.nonce;
            same_day && run.state == RunState::Waiting
        };
        if let Some(run) = self.active.values_mut().find(takes_over) {
            run.take_over(&new, now_us);
            return Ok(vec![run.clone()]);
        }
        let failed = self.failed.get(&(new.asset.clone(), new.day));
        if let Some(failed) = failed.filter(|failed| failed.key == key) {
            return Err(Refusal::FailedBefore(failed.run));
        }
        self.last += 1;
        self.active.insert(new.id, new.clone());
        Ok(vec![new])
    }

    fn start(&mut self, ids: &[RunId], node: &str, now_us: i64) -> Result<Vec<Run>, Refusal> {
        let first = *ids.first().ok_or(Refusal::NotOneLayer)?;
        let layer = AssetLayer::of(&self.find(first)?.asset);
        for id in ids {
            let run = self.find(*id)?;
            if AssetLayer::of(&run.asset) != layer {
                return Err(Refusal::NotOneLayer);
            }
            if self.is_put_off(run) {
                return Err(Refusal::Paused(*id));
            }
            if run.state == RunState::Running {
                return Err(Refusal::Running(*id));
            }
            if run.due_us > now_us {
                return Err(Refusal::NotDue(*id));
            }
            let mut others = self.active.values();
            if others.any(|other| other.state == RunState::Running && other.asset == run.asset && other.day == run.day)
            {
                return Err(Refusal::DayRuns(*id));
            }
        }
        self.admit(first, ids)?;
        let begun = ids.iter().map(|id| {
            let run = self.active.get_mut(id).expect("each was looked up above");
            run.begin(first, node, now_us);
            run.clone()
        });
        Ok(begun.collect())
    }

    /// Whether one more unit of work may begin. While something live of other tables of the layer waits for its first attempt, it goes
    /// first; whoever computes these tables knows their order.
    fn admit(&self, id: RunId, unit: &[RunId]) -> Result<(), Refusal> {
        let run = self.find(id)?;
        let layer = AssetLayer::of(&run.asset);
        // One of a unit's runs stands for all that are left of it.
        let mut units: BTreeMap<RunId, &Run> = BTreeMap::new();
        for run in self.active.values().filter(|run| run.state == RunState::Running) {
            units.insert(run.unit.unwrap_or(run.id), run);
        }
        let units = || units.values();
        let all = units().count();
        if all >= self.limits.all {
            return Err(Refusal::Full(all));
        }
        let of_layer = units().filter(|run| AssetLayer::of(&run.asset) == layer).count();
        if layer == Some(AssetLayer::Gold) && of_layer >= self.limits.gold {
            return Err(Refusal::Full(of_layer));
        }
        if run.trigger.is_live() {
            return Ok(());
        }
        let later = units().filter(|run| !run.trigger.is_live()).count();
        let is_of_unit = |asset: &str| {
            let mut runs = unit.iter().filter_map(|id| self.active.get(id));
            runs.any(|run| run.asset == asset)
        };
        let live_waits = self.active.values().any(|other| {
            let is_due = other.state == RunState::Waiting && other.due_us <= run.due_us.max(other.created_us);
            is_due
                && other.attempt == 0
                && !is_of_unit(&other.asset)
                && other.trigger.is_live()
                && AssetLayer::of(&other.asset) == layer
        });
        match later >= self.limits.backfill || live_waits {
            true => Err(Refusal::Full(all)),
            false => Ok(()),
        }
    }

    fn end(&mut self, id: RunId, ended: Ended, jitter: f64, now_us: i64) -> Result<Vec<Run>, Refusal> {
        if self.find(id)?.state != RunState::Running {
            return Err(Refusal::NotRunning(id));
        }
        let run = self.active.get_mut(&id).expect("it was looked up above");
        match ended {
            Ended::Succeeded(outcome) => run.succeed(outcome, now_us),
            Ended::Failed(error) => run.fail(error, jitter, now_us),
        }
        Ok(vec![self.settle(id)])
    }

    fn cancel(&mut self, id: RunId, now_us: i64) -> Result<Vec<Run>, Refusal> {
        if self.find(id)?.state == RunState::Running {
            return Err(Refusal::Running(id));
        }
        let run = self.active.get_mut(&id).expect("it was looked up above");
        run.cancel(now_us);
        Ok(vec![self.settle(id)])
    }

    fn lost(&mut self, node: &str, now_us: i64) -> Vec<Run> {
        let running = self.active.values().filter(|run| run.state == RunState::Running);
        let lost: Vec<RunId> = running
            .filter(|run| run.node.as_deref() == Some(node))
            .map(|run| run.id)
            .collect();
        let settle = |id: RunId| {
            let run = self.active.get_mut(&id).expect("its number is from the ledger");
            run.lose(now_us);
            self.settle(id)
        };
        lost.into_iter().map(settle).collect()
    }

    fn find(&self, id: RunId) -> Result<&Run, Refusal> {
        self.active.get(&id).ok_or(Refusal::NotActive(id))
    }

    /// Takes in how a run is now: it is let go of where it has ended.
    fn settle(&mut self, id: RunId) -> Run {
        let run = self.active.remove(&id).expect("its number is from the ledger");
        self.restore(run.clone());
        run
    }
}

#[cfg(test)]
mod tests;

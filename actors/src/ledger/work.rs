//! What an actor asks of the ledger: which days it computes now, by which runs.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use tapehouse_core::clock::now_us;
use tapehouse_core::codes;
use tapehouse_core::ledger::{Command, Ended, Outcome, Partition, Refusal, Run, RunError, RunId, RunState, Trigger};
use tokio::sync::watch;

use super::RunLedger;
use crate::failure::ErrorCode;
use crate::follow::{PassFailure, blocking};
use crate::progress::TopicState;

/// A day that may have to be computed.
#[derive(Clone, Debug)]
pub(crate) struct DayWork {
    pub(crate) partition: Partition,
    /// Why it has to be computed; `None`: only because an operator asked for it.
    pub(crate) trigger: Option<Trigger>,
}

impl RunLedger {
    /// Days of these assets that an operator waits for and that may be computed now.
    pub(crate) fn asked(&self, assets: &[&str], sources: &[&str]) -> BTreeSet<i32> {
        let (inner, now) = (self.lock(), now_us());
        let ready = assets.iter().flat_map(|asset| inner.ledger.ready(asset, sources));
        let asked = ready.filter(|run| !run.trigger.is_live() && run.due_us <= now);
        asked.map(|run| run.day).collect()
    }

    /// Enters this work, and answers with the runs by day that may begin now. Days are missing that failed for the last time with these
    /// inputs, or are tried again later. `sources` are those of the assets. Runs that wait for something that the tables do not ask for
    /// any more are ended. Of days that hang on those before (`in_order`) there are none from the first that has to wait on.
    pub(crate) fn plan(
        &self,
        assets: &[&str],
        sources: &[&str],
        work: &[DayWork],
        in_order: bool,
    ) -> BTreeMap<i32, Vec<Run>> {
        let waiting = self.waiting(assets, sources);
        let mut commands = Vec::new();
        for DayWork { partition, trigger } in work {
            let submit = |trigger: &Trigger, nonce: &Option<String>| Command::Submit {
                partition: partition.clone(),
                trigger: trigger.clone(),
                nonce: nonce.clone(),
            };
            let of_day = |run: &&Run| run.asset == partition.asset && run.day == partition.day;
            let asked = waiting.iter().filter(of_day).filter(|run| run.nonce.is_some());
            commands.extend(asked.map(|run| submit(&run.trigger, &run.nonce)));
            commands.extend(trigger.as_ref().map(|trigger| submit(trigger, &None)));
        }
        // Refused is what failed before.
        self.apply(commands);
        let now = now_us();
        let is_meant = |run: &Run| {
            let mut work = work.iter();
            work.any(|work| work.partition.asset == run.asset && work.partition.day == run.day)
        };
        let mut days: BTreeMap<i32, Vec<Run>> = BTreeMap::new();
        let waiting = self.waiting(assets, sources);
        for run in &waiting {
            match is_meant(run) {
                _ if run.due_us > now => {}
                true => days.entry(run.day).or_default().push(run.clone()),
                false if run.trigger.is_live() => self.settle(run.id),
                false => {}
            }
        }
        let waits = work
            .iter()
            .map(|work| work.partition.day)
            .find(|day| !days.contains_key(day));
        if let Some(waits) = waits.filter(|_| in_order) {
            days.retain(|day, _| *day < waits);
            // They would be taken for live work that is about to begin.
            let behind = waiting.iter().filter(|run| run.day > waits && run.trigger.is_live());
            self.apply(behind.map(|run| Command::Cancel { run: run.id }).collect());
        }
        days
    }

    fn waiting(&self, assets: &[&str], sources: &[&str]) -> Vec<Run> {
        let inner = self.lock();
        let ready = assets.iter().flat_map(|asset| inner.ledger.ready(asset, sources));
        ready.cloned().collect()
    }

    /// The table rests on what this run was to compute already: its node was gone between the commit and its end.
    fn settle(&self, run: RunId) {
        let outcome = Outcome {
            snapshot: None,
            changed: false,
            provisional: false,
        };
        let start = Command::Start {
            runs: vec![run],
            node: self.node.to_string(),
        };
        let end = Command::End {
            run,
            ended: Ended::Succeeded(outcome),
            jitter: 0.0,
        };
        self.apply(vec![start, end]);
    }

    /// Begins these runs as one unit, as soon as there is room for it; `false` where they cannot begin, or the node stops.
    pub(crate) async fn begin(&self, runs: &[RunId], stopping: &watch::Receiver<bool>) -> bool {
        let mut stopping = stopping.clone();
        let mut changed = self.subscribe();
        loop {
            changed.borrow_and_update();
            let (ledger, command) = (
                self.clone(),
                Command::Start {
                    runs: runs.to_vec(),
                    node: self.node.to_string(),
                },
            );
            let started = blocking(move || ledger.apply(vec![command]).pop()).await;
            match started {
                Ok(Some(Ok(_))) => return true,
                Ok(Some(Err(Refusal::Full(_)))) => {}
                Ok(Some(Err(refusal))) => {
                    // Cancelled or paused a moment ago.
                    tracing::debug!(%refusal, "a run does not begin");
                    return false;
                }
                Ok(None) | Err(_) => return false,
            }
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return false,
                _ = changed.changed() => {}
            }
        }
    }

    /// Ends these runs; those that failed for the last time.
    pub(crate) async fn end(&self, ended: Vec<(RunId, Ended)>) -> Vec<Run> {
        let commands = ended.into_iter().map(|(run, ended)| Command::End {
            run,
            ended,
            jitter: rand::random(),
        });
        let (ledger, commands) = (self.clone(), commands.collect());
        let outcomes = blocking(move || ledger.apply(commands)).await.unwrap_or_default();
        let runs = outcomes.into_iter().flatten().flatten();
        runs.filter(|run| run.state == RunState::Failed).collect()
    }

    /// Waits until a run of these assets is to be looked at: an operator has asked for something since `asked` was looked at, or a run
    /// is tried again that was not due at `since_us`.
    pub(crate) fn due(
        &self,
        assets: &[&str],
        asked: &watch::Receiver<u64>,
        since_us: i64,
    ) -> impl Future<Output = ()> + use<> {
        let mut asked = asked.clone();
        let next = {
            let inner = self.lock();
            let waiting = assets.iter().flat_map(|asset| inner.ledger.ready(asset, &[]));
            waiting.map(|run| run.due_us).filter(|due| *due > since_us).min()
        };
        async move {
            let tried_again = async {
                match next {
                    Some(due) => {
                        let wait = u64::try_from(due - now_us()).unwrap_or(0);
                        tokio::time::sleep(Duration::from_micros(wait)).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = tried_again => {}
                _ = asked.changed() => {}
            }
        }
    }

    /// Told when an operator has asked for something.
    pub(crate) fn subscribe_asked(&self) -> watch::Receiver<u64> {
        self.asked.subscribe()
    }

    /// How the table stands while one of its runs waits for another attempt.
    pub(crate) fn trouble(&self, asset: &str) -> Option<TopicState> {
        let run = self.retried(asset)?;
        let error = run.error?;
        Some(TopicState::Retrying {
            code: known_code(&error.code),
            error: error.message,
            attempt: run.attempt,
        })
    }
}

/// The code of this name; a ledger of another version may have one that this one does not know.
pub(crate) fn known_code(code: &str) -> ErrorCode {
    codes::find(code).map_or("internal", |code| code.name)
}

/// How an attempt failed. What several days share may be the fault of one: they are tried again, each alone.
pub(crate) fn failed(failure: &impl PassFailure, days: usize) -> Ended {
    Ended::Failed(RunError {
        code: failure.code().to_owned(),
        message: failure.to_string(),
        may_heal: days > 1 || !failure.needs_an_operator(),
    })
}

/// The units of days that do not hang on each other: those of which something live waits come first.
pub(crate) fn live_first(days: &BTreeMap<i32, Vec<Run>>, most: usize) -> Vec<Vec<i32>> {
    let is_live = |runs: &[Run]| runs.iter().any(|run| run.trigger.is_live());
    let (live, asked): (BTreeMap<i32, Vec<Run>>, BTreeMap<i32, Vec<Run>>) =
        days.clone().into_iter().partition(|(_, runs)| is_live(runs));
    [units(&live, most), units(&asked, most)].concat()
}

/// Days that are computed and committed together: as many as may at the first attempt, one alone where an attempt has failed.
pub(crate) fn units(days: &BTreeMap<i32, Vec<Run>>, most: usize) -> Vec<Vec<i32>> {
    let mut units: Vec<Vec<i32>> = Vec::new();
    let mut may_join = false;
    for (day, runs) in days {
        let is_first = runs.iter().all(|run| run.attempt == 0);
        match units
            .last_mut()
            .filter(|unit| may_join && is_first && unit.len() < most)
        {
            Some(unit) => unit.push(*day),
            None => units.push(vec![*day]),
        }
        may_join = is_first;
    }
    units
}

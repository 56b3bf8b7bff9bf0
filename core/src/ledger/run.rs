//! One run: a day of a table, from the moment that it had to be computed to its end.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Partition, RetryPolicy};
use crate::assets::AssetLayer;

/// Lines that a run keeps; older ones go first.
const LOG_LINES: usize = 50;

/// Code of a run that was lost with its node more often than it is begun again.
const INTERRUPTED: &str = "interrupted";

/// Number of a run: they grow in the order in which runs were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub u64);

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Why a day has to be computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Its inputs changed.
    Inputs,
    /// The day is over: what was provisional is made final.
    Final,
    /// An operator asked for it.
    Operator,
}

impl Trigger {
    /// Whether readers of the table wait for it.
    pub fn is_live(&self) -> bool {
        !matches!(self, Self::Operator)
    }

    /// Its name, as people and tools read it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Inputs => "inputs",
            Self::Final => "final",
            Self::Operator => "operator",
        }
    }
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// For its turn, or for its next attempt.
    Waiting,
    /// It is being computed.
    Running,
    /// It is in the table.
    Succeeded,
    /// The last attempt failed.
    Failed,
    /// An operator wanted it no more.
    Cancelled,
}

impl RunState {
    /// Its name, as people and tools read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a run left in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The snapshot that has it; `None` where another node had committed the same already.
    pub snapshot: Option<i64>,
    /// Whether the day's rows are other ones than before. Where they are not, no file was written.
    pub changed: bool,
    /// Whether the day was not over yet.
    pub provisional: bool,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// Stable code, which has a page in docs/errors.
    pub code: String,
    /// What happened.
    pub message: String,
    /// Whether another attempt can help.
    pub may_heal: bool,
}

/// Something that happened to a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// What.
    pub text: String,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// Table, with its namespace.
    pub asset: String,
    /// Day, since 1970-01-01.
    pub day: i32,
    /// Versions of what is read, by source; `None` where the source has nothing of that day. Empty until they are looked at.
    pub inputs: BTreeMap<String, Option<i64>>,
    /// Version of the logic.
    pub logic: u32,
    /// Tells a deliberate repetition from the run before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// Why.
    pub trigger: Trigger,
    /// Where it is.
    pub state: RunState,
    /// Attempts that began.
    pub attempt: u32,
    /// Times that its node was gone before it ended.
    pub lost: u32,
    /// The first run of the unit of work that it is computed with.
    pub unit: Option<RunId>,
    /// The node that computes it, or did last.
    pub node: Option<String>,
    /// When it was asked for, in microseconds since 1970.
    pub created_us: i64,
    /// It does not begin before.
    pub due_us: i64,
    /// When its last attempt began.
    pub started_us: Option<i64>,
    /// When it ended.
    pub ended_us: Option<i64>,
    /// What it left.
    pub outcome: Option<Outcome>,
    /// Why its last attempt failed.
    pub error: Option<RunError>,
    /// What happened to it, in order.
    pub log: Vec<LogLine>,
}

impl Run {
    pub(super) fn new(id: RunId, partition: Partition, trigger: Trigger, nonce: Option<String>, now_us: i64) -> Self {
        let text = format!("asked for: {}", trigger.name());
        Self {
            id,
            asset: partition.asset,
            day: partition.day,
            inputs: partition.inputs,
            logic: partition.logic,
            nonce,
            trigger,
            state: RunState::Waiting,
            attempt: 0,
            lost: 0,
            unit: None,
            node: None,
            created_us: now_us,
            due_us: now_us,
            started_us: None,
            ended_us: None,
            outcome: None,
            error: None,
            log: vec![LogLine { at_us: now_us, text }],
        }
    }

    /// Whether it keeps its day from being computed from the same inputs again: it failed, and not for want of a node.
    pub fn keeps_its_day(&self) -> bool {
        let is_interrupted = |error: &RunError| error.code == INTERRUPTED;
        self.state == RunState::Failed && !self.error.as_ref().is_some_and(is_interrupted)
    }

    /// What there is one run of at a time: the same day of the same table, from the same inputs, by the same logic.
    pub fn key(&self) -> String {
        let inputs = self.inputs.iter().map(|(source, version)| match version {
            Some(version) => format!("{source}@{version}"),
            None => format!("{source}@-"),
        });
        let inputs: Vec<String> = inputs.collect();
        let nonce = self.nonce.as_deref().unwrap_or_default();
        format!(
            "{}|{}|{}|{}|{nonce}",
            self.asset,
            self.day,
            inputs.join(","),
            self.logic
        )
    }

    pub(super) fn take_over(&mut self, newer: &Self, now_us: i64) {
        let were_known = !self.inputs.is_empty();
        self.inputs.clone_from(&newer.inputs);
        self.logic = newer.logic;
        self.trigger = newer.trigger.clone();
        // What failed, failed with other inputs.
        self.attempt = 0;
        self.due_us = now_us;
        // What an operator asks for has no inputs before the tables are looked at.
        if were_known {
            self.note(now_us, "its inputs changed before it ran");
        }
    }

    pub(super) fn begin(&mut self, unit: RunId, node: &str, now_us: i64) {
        self.state = RunState::Running;
        self.attempt += 1;
        self.unit = Some(unit);
        self.node = Some(node.to_owned());
        self.started_us = Some(now_us);
        let attempt = self.attempt;
        self.note(now_us, format!("attempt {attempt} begins on {node}"));
    }

    pub(super) fn succeed(&mut self, outcome: Outcome, now_us: i64) {
        let text = match (outcome.changed, outcome.snapshot) {
            (true, Some(snapshot)) => format!("committed as snapshot {snapshot}"),
            (false, Some(snapshot)) => format!("nothing changed, as snapshot {snapshot} records"),
            (_, None) => "another node had committed it".to_owned(),
        };
        self.outcome = Some(outcome);
        self.error = None;
        self.ends(RunState::Succeeded, now_us, text);
    }

    pub(super) fn fail(&mut self, error: RunError, jitter: f64, now_us: i64) {
        let delay = RetryPolicy::of(AssetLayer::of(&self.asset)).delay_us(self.attempt, jitter);
        let text = format!("attempt {} failed: {}: {}", self.attempt, error.code, error.message);
        let delay = delay.filter(|_| error.may_heal);
        self.error = Some(error);
        match delay {
            Some(delay) => {
                self.state = RunState::Waiting;
                self.unit = None;
                self.due_us = now_us + delay;
                self.note(now_us, text);
                self.note(now_us, format!("the next attempt is in {} s", delay / 1_000_000));
            }
            None => self.ends(RunState::Failed, now_us, text),
        }
    }

    /// What is lost with its node begins again once.
    pub(super) fn lose(&mut self, now_us: i64) {
        self.lost += 1;
        if self.lost > 1 {
            let text = "its node was gone once more before it ended";
            self.error = Some(RunError {
                code: INTERRUPTED.to_owned(),
                message: text.to_owned(),
                may_heal: false,
            });
            return self.ends(RunState::Failed, now_us, text);
        }
        self.state = RunState::Waiting;
        self.unit = None;
        // The attempt was not its fault.
        self.attempt -= 1;
        self.due_us = now_us;
        self.note(now_us, "its node was gone before it ended; it begins again");
    }

    pub(super) fn cancel(&mut self, now_us: i64) {
        self.ends(RunState::Cancelled, now_us, "cancelled");
    }

    fn ends(&mut self, state: RunState, now_us: i64, text: impl Into<String>) {
        self.state = state;
        self.unit = None;
        self.ended_us = Some(now_us);
        self.note(now_us, text);
    }

    fn note(&mut self, at_us: i64, text: impl Into<String>) {
        if self.log.len() >= LOG_LINES {
            self.log.remove(0);
        }
        self.log.push(LogLine {
            at_us,
            text: text.into(),
        });
    }
}

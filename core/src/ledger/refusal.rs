//! Commands that the ledger does not apply.

use super::RunId;

/// Why a command was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has ended, or never was.
    #[error("run {0} neither waits nor runs")]
    NotActive(RunId),
    /// It is being computed.
    #[error("run {0} is being computed")]
    Running(RunId),
    /// It does not run.
    #[error("run {0} is not being computed")]
    NotRunning(RunId),
    /// It failed, and its next attempt is later.
    #[error("run {0} is tried again later")]
    NotDue(RunId),
    /// Its day is being computed by another run.
    #[error("the day of run {0} is being computed")]
    DayRuns(RunId),
    /// As much is being computed as may be at once.
    #[error("{0} units of work run, as many as may at once")]
    Full(usize),
    /// No run was named, or runs of more than one layer.
    #[error("a unit of work is of one layer")]
    NotOneLayer,
    /// An operator has put it off.
    #[error("run {0} is paused")]
    Paused(RunId),
    /// These inputs have failed for the last time.
    #[error("run {0} failed with the same inputs, and is not tried again")]
    FailedBefore(RunId),
}

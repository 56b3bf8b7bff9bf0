//! Runs and backfills in the words of `tapehouse.v1`.

use prost_types::{Duration, Timestamp};
use tapehouse_core::ledger::{Backfill, BackfillProgress, Run, RunState, Trigger};
use tapehouse_lake::days::date_text;
use tapehouse_proto::v1;

use super::plan::PlannedDay;

/// A time in microseconds since 1970.
pub fn timestamp(time_us: i64) -> Timestamp {
    Timestamp {
        seconds: time_us.div_euclid(1_000_000),
        nanos: i32::try_from(time_us.rem_euclid(1_000_000) * 1000).unwrap_or(0),
    }
}

pub(super) fn run_answer(run: &Run, with_log: bool) -> v1::Run {
    let inputs = run.inputs.iter().map(|(table, version)| v1::RunInput {
        table: table.clone(),
        version: *version,
    });
    let log = run.log.iter().filter(|_| with_log).map(|line| v1::RunLogLine {
        time: Some(timestamp(line.at_us)),
        text: line.text.clone(),
    });
    v1::Run {
        id: run.id.0,
        table: run.asset.clone(),
        day: date_text(run.day),
        trigger: trigger(&run.trigger).into(),
        state: state(run.state).into(),
        attempts: run.attempt,
        nonce: run.nonce.clone().unwrap_or_default(),
        inputs: inputs.collect(),
        logic_version: run.logic,
        node: run.node.clone().unwrap_or_default(),
        create_time: Some(timestamp(run.created_us)),
        due_time: (run.state == RunState::Waiting).then(|| timestamp(run.due_us)),
        start_time: run.started_us.map(timestamp),
        end_time: run.ended_us.map(timestamp),
        snapshot_id: run.outcome.and_then(|outcome| outcome.snapshot),
        changed: run.outcome.map(|outcome| outcome.changed),
        provisional: run.outcome.map(|outcome| outcome.provisional),
        error_code: run.error.as_ref().map_or(String::new(), |error| error.code.clone()),
        error_message: run.error.as_ref().map_or(String::new(), |error| error.message.clone()),
        log: log.collect(),
    }
}

fn state(state: RunState) -> v1::RunState {
    match state {
        RunState::Waiting => v1::RunState::Waiting,
        RunState::Running => v1::RunState::Running,
        RunState::Succeeded => v1::RunState::Succeeded,
        RunState::Failed => v1::RunState::Failed,
        RunState::Cancelled => v1::RunState::Cancelled,
    }
}

/// `None` of one that this version does not know.
pub(super) fn state_of(state: v1::RunState) -> Option<RunState> {
    match state {
        v1::RunState::Unspecified => None,
        v1::RunState::Waiting => Some(RunState::Waiting),
        v1::RunState::Running => Some(RunState::Running),
        v1::RunState::Succeeded => Some(RunState::Succeeded),
        v1::RunState::Failed => Some(RunState::Failed),
        v1::RunState::Cancelled => Some(RunState::Cancelled),
    }
}

fn trigger(trigger: &Trigger) -> v1::RunTrigger {
    match trigger {
        Trigger::Inputs => v1::RunTrigger::Inputs,
        Trigger::Final => v1::RunTrigger::Final,
        Trigger::Operator => v1::RunTrigger::Operator,
    }
}

pub(super) fn backfill_answer(backfill: &Backfill, progress: &BackfillProgress, is_paused: bool) -> v1::Backfill {
    let remaining = |us: i64| Duration {
        seconds: us / 1_000_000,
        nanos: i32::try_from(us % 1_000_000 * 1000).unwrap_or(0),
    };
    v1::Backfill {
        id: backfill.id.clone(),
        tables: backfill.assets.clone(),
        first_day: date_text(backfill.first_day),
        last_day: date_text(backfill.last_day),
        create_time: Some(timestamp(backfill.created_us)),
        paused: is_paused,
        waiting: progress.waiting,
        running: progress.running,
        succeeded: progress.succeeded,
        failed: progress.failed,
        cancelled: progress.cancelled,
        remaining: progress.remaining_us.map(remaining),
    }
}

pub(super) fn day_answer(day: &PlannedDay) -> v1::BackfillDay {
    v1::BackfillDay {
        table: day.asset.clone(),
        day: date_text(day.day),
        standing: day.standing.name().to_owned(),
        source_rows: day.source_rows,
    }
}

//! Backfills: days that an operator wants to be computed again, and how far that is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Run, RunId, RunState};

/// A backfill. Its runs have its id as their nonce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfill {
    /// Its name: whoever asks for the same once more gets the same backfill.
    pub id: String,
    /// Tables, with their namespaces.
    pub assets: Vec<String>,
    /// First day, since 1970-01-01.
    pub first_day: i32,
    /// Last day.
    pub last_day: i32,
    /// When it was asked for, in microseconds since 1970.
    pub created_us: i64,
    /// Its first run: none of its runs has a lower number.
    pub first_run: RunId,
}

/// How far a backfill is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackfillProgress {
    /// Days of tables that wait.
    pub waiting: u64,
    /// That are being computed.
    pub running: u64,
    /// That are done.
    pub succeeded: u64,
    /// That failed for the last time.
    pub failed: u64,
    /// That are not wanted any more.
    pub cancelled: u64,
    /// How long the rest takes at the pace until now, in microseconds; `None` before the first is done, and when nothing is left.
    pub remaining_us: Option<i64>,
}

impl BackfillProgress {
    /// Of the runs of one backfill, in any order. Of several runs of a day the last one counts.
    pub fn of<'a>(runs: impl IntoIterator<Item = &'a Run>) -> Self {
        let mut last: BTreeMap<(&str, i32), &Run> = BTreeMap::new();
        for run in runs {
            let of_day = last.entry((&run.asset, run.day)).or_insert(run);
            if run.id > of_day.id {
                *of_day = run;
            }
        }
        let mut progress = Self::default();
        let (mut first_start, mut last_end) = (i64::MAX, i64::MIN);
        for run in last.values() {
            match run.state {
                RunState::Waiting => progress.waiting += 1,
                RunState::Running => progress.running += 1,
                RunState::Succeeded => progress.succeeded += 1,
                RunState::Failed => progress.failed += 1,
                RunState::Cancelled => progress.cancelled += 1,
            }
            if let (RunState::Succeeded, Some(start), Some(end)) = (run.state, run.started_us, run.ended_us) {
                first_start = first_start.min(start);
                last_end = last_end.max(end);
            }
        }
        let left = progress.waiting + progress.running;
        if progress.succeeded > 0 && left > 0 {
            let each = (last_end - first_start).max(0) as f64 / progress.succeeded as f64;
            progress.remaining_us = Some((each * left as f64) as i64);
        }
        progress
    }

    /// Whether nothing of it is left to be computed.
    pub fn is_over(&self) -> bool {
        self.waiting + self.running == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Partition, Trigger};

    fn run(id: u64, day: i32, state: RunState, seconds: Option<(i64, i64)>) -> Run {
        let partition = Partition {
            asset: "gold.a".to_owned(),
            day,
            inputs: BTreeMap::new(),
            logic: 1,
        };
        let mut run = Run::new(RunId(id), partition, Trigger::Operator, Some("b".to_owned()), 0);
        run.state = state;
        run.started_us = seconds.map(|(start, _)| start * 1_000_000);
        run.ended_us = seconds.map(|(_, end)| end * 1_000_000);
        run
    }

    #[test]
    fn the_rest_takes_as_long_as_the_same_number_did() {
        let mut runs = vec![
            run(1, 1, RunState::Succeeded, Some((10, 12))),
            run(2, 2, RunState::Succeeded, Some((12, 20))),
            run(3, 3, RunState::Running, None),
            run(4, 4, RunState::Waiting, None),
            run(5, 5, RunState::Failed, Some((0, 90))),
        ];
        let progress = BackfillProgress::of(&runs);
        let counts = [progress.waiting, progress.running, progress.succeeded, progress.failed];
        assert_eq!((counts, progress.remaining_us), ([1, 1, 2, 1], Some(10_000_000)));
        assert!(!progress.is_over());
        // The failed day was asked for again.
        runs.insert(0, run(6, 5, RunState::Succeeded, Some((20, 25))));
        runs.truncate(3);
        let over = BackfillProgress::of(&runs);
        assert_eq!((over.succeeded, over.failed, over.remaining_us), (3, 0, None));
        assert!(over.is_over());
    }
}

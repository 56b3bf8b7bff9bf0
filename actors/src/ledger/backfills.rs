//! What an operator asks of the ledger.

use tapehouse_core::clock::now_us;
use tapehouse_core::ledger::{Backfill, Command, Partition, Refusal, Run, RunId, RunState, Trigger};

use tapehouse_core::schedule::ScheduleState;
use tapehouse_lake::LakeError;

use super::store::Change;
use super::{LedgerError, RunLedger};

/// What is to be computed again.
#[derive(Clone, Debug)]
pub struct NewBackfill {
    /// Its name.
    pub id: String,
    /// Tables, with their namespaces.
    pub assets: Vec<String>,
    /// First day, since 1970-01-01.
    pub first_day: i32,
    /// Last day.
    pub last_day: i32,
    /// Its days, by table.
    pub days: Vec<(String, i32)>,
}

/// Why the ledger did not do what an operator asked for.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The file.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// No such run.
    #[error("there is no run {0}; ended ones are kept for 30 days")]
    NoSuchRun(RunId),
    /// No such backfill.
    #[error("there is no backfill {0}")]
    NoSuchBackfill(String),
    /// No such schedule.
    #[error("this node has no schedule {0}")]
    NoSuchSchedule(String),
    /// Its tables cannot be read.
    #[error(transparent)]
    Lake(LakeError),
    /// Another one has its name.
    #[error("backfill {0} is there already, of other tables or days")]
    Taken(String),
    /// It has no day.
    #[error("no day of these tables is between these dates")]
    Empty,
    /// It has not ended.
    #[error("run {0} is {1}: only one that failed, was cancelled or succeeded is computed again")]
    NotOver(RunId, &'static str),
    /// The run is not in a state for that.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl AskError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ledger(_) => "state_dir",
            Self::NoSuchRun(_) => "no_such_run",
            Self::NoSuchBackfill(_) => "no_such_backfill",
            Self::NoSuchSchedule(_) => "no_such_schedule",
            Self::Lake(error) => error.code(),
            Self::Taken(_) | Self::Empty => "invalid_argument",
            Self::NotOver(..) | Self::Refused(_) => "run_state",
        }
    }
}

impl RunLedger {
    /// Enters a backfill, or finds it: the same asked for twice is one.
    ///
    /// # Errors
    /// [`AskError::Taken`], [`AskError::Empty`].
    pub fn create(&self, new: NewBackfill) -> Result<Backfill, AskError> {
        if let Some(known) = self.backfill(&new.id)? {
            let is_same =
                (&known.assets, known.first_day, known.last_day) == (&new.assets, new.first_day, new.last_day);
            return match is_same {
                true => Ok(known),
                false => Err(AskError::Taken(new.id)),
            };
        }
        let submits = new.days.iter().map(|(asset, day)| Command::Submit {
            partition: Partition {
                asset: asset.clone(),
                day: *day,
                // Known when the tables are looked at.
                inputs: std::collections::BTreeMap::new(),
                logic: 0,
            },
            trigger: Trigger::Operator,
            nonce: Some(new.id.clone()),
        });
        let outcomes = self.apply(submits.collect());
        let first = outcomes.iter().flatten().flatten().map(|run| run.id).min();
        let backfill = Backfill {
            id: new.id,
            assets: new.assets,
            first_day: new.first_day,
            last_day: new.last_day,
            created_us: now_us(),
            first_run: first.ok_or(AskError::Empty)?,
        };
        let change = Change {
            backfills: vec![backfill.clone()],
            ..Change::default()
        };
        self.store.put(&change)?;
        Ok(backfill)
    }

    /// What is remembered of a schedule.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub(crate) fn schedule(&self, name: &str) -> Result<Option<ScheduleState>, LedgerError> {
        self.store.schedule(name)
    }

    /// Remembers how a schedule stands.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub(crate) fn put_schedule(&self, name: &str, state: &ScheduleState) -> Result<(), LedgerError> {
        self.store.put_schedule(name, state)
    }

    /// All backfills whose runs are kept, the latest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn backfills(&self) -> Result<Vec<Backfill>, LedgerError> {
        let mut all = self.store.backfills()?;
        all.sort_by_key(|backfill| std::cmp::Reverse(backfill.first_run));
        Ok(all)
    }

    /// The backfill of this name.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn backfill(&self, id: &str) -> Result<Option<Backfill>, LedgerError> {
        Ok(self.backfills()?.into_iter().find(|backfill| backfill.id == id))
    }

    /// Its runs, the latest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn runs_of(&self, backfill: &Backfill) -> Result<Vec<Run>, LedgerError> {
        let of_it = |run: &Run| run.nonce.as_deref() == Some(backfill.id.as_str());
        self.store.runs(backfill.first_run, None, usize::MAX, of_it)
    }

    /// Whether runs with this nonce are paused.
    pub fn is_paused(&self, nonce: &str) -> bool {
        self.lock().ledger.is_paused(nonce)
    }

    /// Puts off what of a backfill has not begun, or goes on with it.
    ///
    /// # Errors
    /// [`AskError::NoSuchBackfill`].
    pub fn pause(&self, id: &str, is_paused: bool) -> Result<Backfill, AskError> {
        let backfill = self
            .backfill(id)?
            .ok_or_else(|| AskError::NoSuchBackfill(id.to_owned()))?;
        let nonce = id.to_owned();
        self.apply(vec![match is_paused {
            true => Command::Pause { nonce },
            false => Command::Resume { nonce },
        }]);
        Ok(backfill)
    }

    /// Ends what of a backfill has not begun. What is being computed is finished.
    ///
    /// # Errors
    /// [`AskError::NoSuchBackfill`].
    pub fn cancel_backfill(&self, id: &str) -> Result<Backfill, AskError> {
        let backfill = self.pause(id, false)?;
        let cancels: Vec<Command> = {
            let inner = self.lock();
            let of_it = inner.ledger.active().filter(|run| run.nonce.as_deref() == Some(id));
            let waiting = of_it.filter(|run| run.state == RunState::Waiting);
            waiting.map(|run| Command::Cancel { run: run.id }).collect()
        };
        self.apply(cancels);
        Ok(backfill)
    }

    /// Computes once more what this run was about, as a new run.
    ///
    /// # Errors
    /// [`AskError::NoSuchRun`], [`AskError::NotOver`].
    pub fn retry(&self, id: RunId) -> Result<Run, AskError> {
        let run = self.run(id)?.ok_or(AskError::NoSuchRun(id))?;
        if matches!(run.state, RunState::Waiting | RunState::Running) {
            return Err(AskError::NotOver(id, run.state.name()));
        }
        let (asset, day) = (run.asset.clone(), run.day);
        let submit = Command::Submit {
            partition: Partition {
                asset: run.asset,
                day,
                inputs: run.inputs,
                logic: run.logic,
            },
            trigger: Trigger::Operator,
            nonce: Some(run.nonce.unwrap_or_else(|| format!("retry-{id}"))),
        };
        let mut outcomes = self.apply(vec![Command::Forgive { asset, day }, submit]);
        let mut runs = outcomes.pop().unwrap_or_else(|| Ok(Vec::new()))?;
        runs.pop().ok_or(AskError::NoSuchRun(id))
    }

    /// Ends a run that waits.
    ///
    /// # Errors
    /// [`AskError::NoSuchRun`]; [`AskError::Refused`] where it is being computed or has ended.
    pub fn cancel(&self, id: RunId) -> Result<Run, AskError> {
        self.run(id)?.ok_or(AskError::NoSuchRun(id))?;
        let mut outcomes = self.apply(vec![Command::Cancel { run: id }]);
        let mut runs = outcomes.pop().unwrap_or_else(|| Ok(Vec::new()))?;
        runs.pop().ok_or(AskError::NoSuchRun(id))
    }
}

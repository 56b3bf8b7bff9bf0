//! Schedules: what happens at a time of day, whether anything has come or not.
//!
//! Nothing hangs on them for correctness: a layer follows the one below by watermarks. A schedule has tables looked at even where no
//! watermark came, and has past months computed again.

mod month;

use std::sync::Arc;
use std::time::Duration;

use tapehouse_core::assets::AssetLayer;
use tapehouse_core::calendar::Calendar;
use tapehouse_core::clock::now_us;
use tapehouse_core::new_york;
use tapehouse_core::schedule::{CatchUp, Schedule, ScheduleState};
use tapehouse_lake::{Lake, LakeError};
use tokio::sync::watch;

use self::month::Month;
use crate::ledger::{AskError, LedgerError, NewBackfill, RunLedger};

/// Without a firing they are looked at this often: a clock that is set, or a machine that slept, is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Wakes the actors of a layer.
#[derive(Clone, Debug)]
pub(crate) struct Looks {
    silver: watch::Sender<u64>,
    gold: watch::Sender<u64>,
}

impl Looks {
    pub(crate) fn new() -> Self {
        Self {
            silver: watch::Sender::new(0),
            gold: watch::Sender::new(0),
        }
    }

    fn of(&self, layer: AssetLayer) -> &watch::Sender<u64> {
        match layer {
            AssetLayer::Gold => &self.gold,
            AssetLayer::Silver | AssetLayer::Bronze => &self.silver,
        }
    }

    /// Told when the tables of this one's layer are to be looked at.
    pub(crate) fn subscribe(&self, table: &str) -> watch::Receiver<u64> {
        self.of(AssetLayer::of(table).unwrap_or(AssetLayer::Silver)).subscribe()
    }
}

/// What a schedule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Has the tables of a layer looked at; those of gold on trading days.
    Look(AssetLayer),
    /// Has each day of the month before computed again, in all gold tables that have it.
    RecomputeMonth,
}

/// A schedule.
#[derive(Clone, Debug)]
struct Entry {
    name: &'static str,
    schedule: Schedule,
    catch_up: CatchUp,
    work: Work,
}

impl Entry {
    fn new(name: &'static str, cron: &str, catch_up: CatchUp, work: Work) -> Self {
        Self {
            name,
            schedule: Schedule::parse(cron).expect("an expression of the program, which a test reads"),
            catch_up,
            work,
        }
    }
}

/// How a schedule stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleStatus {
    /// Its name.
    pub name: &'static str,
    /// When it fires, as cron in America/New_York.
    pub cron: String,
    /// What is made up for after a time in which no node ran.
    pub catch_up: CatchUp,
    /// When it fired last, in microseconds since 1970; `None` before the first time.
    pub last_us: Option<i64>,
    /// When it fires next; `None` while it is paused.
    pub next_us: Option<i64>,
}

/// The schedules of a node. Clones share them.
#[derive(Clone, Debug)]
pub struct Schedules {
    entries: Arc<[Entry]>,
    ledger: RunLedger,
    lake: Lake,
    looks: Looks,
    /// Gold tables that are kept.
    gold: Arc<[String]>,
}

/// Why a schedule did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FireError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Lake(#[from] LakeError),
}

impl Schedules {
    /// Those of a node that keeps silver tables, and these gold ones.
    pub(crate) fn new(ledger: RunLedger, lake: Lake, looks: Looks, has_silver: bool, gold: Vec<String>) -> Self {
        let mut entries = Vec::new();
        if has_silver {
            let work = Work::Look(AssetLayer::Silver);
            entries.push(Entry::new("silver", "*/5 * * * *", CatchUp::Once, work));
        }
        if !gold.is_empty() {
            let work = Work::Look(AssetLayer::Gold);
            entries.push(Entry::new("gold", "0 17 * * 1-5", CatchUp::Once, work));
            let work = Work::RecomputeMonth;
            entries.push(Entry::new("monthly-recompute", "0 3 1 * *", CatchUp::Each, work));
        }
        Self {
            entries: entries.into(),
            ledger,
            lake,
            looks,
            gold: gold.into(),
        }
    }

    /// How each stands.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn list(&self) -> Result<Vec<ScheduleStatus>, LedgerError> {
        self.entries.iter().map(|entry| self.status(entry)).collect()
    }

    fn status(&self, entry: &Entry) -> Result<ScheduleStatus, LedgerError> {
        let state = self.ledger.schedule(entry.name)?.unwrap_or_default();
        Ok(ScheduleStatus {
            name: entry.name,
            cron: entry.schedule.text().to_owned(),
            catch_up: entry.catch_up,
            last_us: state.fired_us,
            next_us: entry.schedule.next_after(now_us()).filter(|_| !state.is_paused),
        })
    }

    /// Has it fire no more, or again. What would have fired meanwhile is not made up for.
    ///
    /// # Errors
    /// [`AskError::NoSuchSchedule`].
    pub fn pause(&self, name: &str, is_paused: bool) -> Result<ScheduleStatus, AskError> {
        let entry = self.entry(name)?;
        let state = ScheduleState {
            seen_us: Some(now_us()),
            is_paused,
            ..self.ledger.schedule(name)?.unwrap_or_default()
        };
        self.ledger.put_schedule(name, &state)?;
        Ok(self.status(entry)?)
    }

    /// Has it do its work now; the name of the backfill that it entered, where it did.
    ///
    /// # Errors
    /// [`AskError::NoSuchSchedule`]; [`AskError::Empty`] where there is nothing to compute.
    pub async fn trigger(&self, name: &str) -> Result<Option<String>, AskError> {
        let entry = self.entry(name)?;
        let now = now_us();
        let backfill = self.fire(entry, now, true).await.map_err(|error| match error {
            FireError::Ask(error) => error,
            FireError::Ledger(error) => error.into(),
            FireError::Lake(error) => AskError::Lake(error),
        })?;
        let state = ScheduleState {
            fired_us: Some(now),
            ..self.ledger.schedule(name)?.unwrap_or_default()
        };
        self.ledger.put_schedule(name, &state)?;
        Ok(backfill)
    }

    fn entry(&self, name: &str) -> Result<&Entry, AskError> {
        let found = self.entries.iter().find(|entry| entry.name == name);
        found.ok_or_else(|| AskError::NoSuchSchedule(name.to_owned()))
    }

    /// Does the work of the firing of this instant.
    async fn fire(&self, entry: &Entry, at_us: i64, is_asked: bool) -> Result<Option<String>, FireError> {
        match entry.work {
            Work::Look(layer) => {
                // Beyond the calendar's years every day may be a session.
                let is_session = || {
                    Calendar::nyse()
                        .session(new_york::date(at_us))
                        .is_ok_and(|session| session.is_none())
                };
                if is_asked || layer != AssetLayer::Gold || !is_session() {
                    self.looks.of(layer).send_modify(|count| *count += 1);
                }
                Ok(None)
            }
            Work::RecomputeMonth => {
                self.recompute(Month::before(new_york::date(at_us)), is_asked.then_some(at_us))
                    .await
            }
        }
    }

    /// Enters a backfill of the days of a month; once for each month, unless somebody asks for it.
    async fn recompute(&self, month: Month, asked_us: Option<i64>) -> Result<Option<String>, FireError> {
        let mut days = Vec::new();
        for asset in self.gold.iter() {
            let name = asset.parse().expect("a name with its namespace");
            let Some(table) = self.lake.load(&name).await? else {
                continue;
            };
            let of_table = self.lake.days(&table).await?;
            days.extend(
                of_table
                    .range(month.first..=month.last)
                    .map(|(day, _)| (asset.clone(), *day)),
            );
        }
        let id = match asked_us {
            Some(us) => format!("monthly-recompute-{month}-{}", us / 1_000_000),
            None => format!("monthly-recompute-{month}"),
        };
        let new = NewBackfill {
            id: id.clone(),
            assets: self.gold.to_vec(),
            first_day: month.first,
            last_day: month.last,
            days,
        };
        match self.ledger.create(new) {
            Ok(_) => Ok(Some(id)),
            // A month without any day, or one that other tables were computed of.
            Err(AskError::Empty | AskError::Taken(_)) if asked_us.is_none() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Fires what is due; what fails is tried again at the next look.
    async fn pass(&self, now_us: i64) {
        for entry in self.entries.iter() {
            if let Err(error) = self.pass_of(entry, now_us).await {
                tracing::warn!(schedule = entry.name, %error, "a schedule did not do its work, and is tried again");
            }
        }
    }

    async fn pass_of(&self, entry: &Entry, now_us: i64) -> Result<(), FireError> {
        let mut state = self.ledger.schedule(entry.name)?.unwrap_or_default();
        let Some(seen_us) = state.seen_us else {
            // What was before the first start is nobody's.
            state.seen_us = Some(now_us);
            return Ok(self.ledger.put_schedule(entry.name, &state)?);
        };
        if state.is_paused {
            return Ok(());
        }
        for at_us in entry.schedule.due(seen_us, now_us, entry.catch_up) {
            self.fire(entry, at_us, false).await?;
            tracing::info!(
                schedule = entry.name,
                late_ms = (now_us - at_us) / 1000,
                "a schedule fired"
            );
            (state.seen_us, state.fired_us) = (Some(at_us), Some(at_us));
            self.ledger.put_schedule(entry.name, &state)?;
        }
        Ok(())
    }

    /// Fires schedules until the node stops.
    pub(crate) async fn keep(self, mut stopping: watch::Receiver<bool>) {
        loop {
            self.pass(now_us()).await;
            let now = now_us();
            let next = self
                .entries
                .iter()
                .filter_map(|entry| entry.schedule.next_after(now))
                .min();
            let wait = next.map_or(LOOK_EVERY, |next| {
                let wait = Duration::from_micros(u64::try_from(next - now).unwrap_or(0));
                wait.min(LOOK_EVERY)
            });
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! What there is to do, as the tables tell.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tapehouse_core::calendar::{Calendar, UnknownYear};
use tapehouse_core::derive::{DerivedState, SourceInput, SourceState};
use tapehouse_core::state::STATE_PROPERTY;

use super::desk::Desk;
use super::{LOGIC_VERSION, PositionTable, Positions};
use crate::days::Day;
use crate::derived::DeriveError;
use crate::error::LakeError;
use crate::files::FileLayout;
use crate::gold::DATE_COLUMN;
use crate::lake::NewTable;
use crate::table::LoadedTable;

/// Name under which the tables record the *carried version* of each day.
///
/// A day hangs on its own trades and on those of all days before it. Its carried version is the highest version of these days, a day that
/// has lost its files counting with the look that found none. Each change of trades makes the version of its day the highest of all, so
/// that it changes the carried versions of this day and of all later ones: they are dirty until they are computed again, whatever
/// happens between two commits.
const CARRIED: &str = "carried";

/// One of the tables as it is.
#[derive(Debug)]
pub(super) struct Target {
    pub table: LoadedTable,
    pub layout: FileLayout,
}

/// What there is to do, and how far it is done.
#[derive(Debug)]
pub struct PositionsLook {
    pub(super) trades: LoadedTable,
    pub(super) targets: Vec<Target>,
    /// Sequence number of the snapshot of trades.
    pub(super) at: i64,
    /// Version of each day of trades.
    pub(super) versions: BTreeMap<i32, i64>,
    /// Days of trades that have rows.
    filled: BTreeSet<i32>,
    /// All days that have rows, or may have had some.
    pub(super) all: Vec<i32>,
    /// Carried version of each of them.
    pub(super) carried: BTreeMap<i32, i64>,
    days: Vec<i32>,
    open: BTreeSet<i32>,
    finals: BTreeSet<i32>,
    pub(super) is_deliberate: bool,
    next_final_us: Option<i64>,
    /// What is carried at the end of the day before the next one; `None` before the first.
    pub(super) desk: Option<Desk>,
}

impl PositionsLook {
    /// The days that have to be computed yet, ascending, since 1970-01-01: always the last ones of all.
    pub fn days(&self) -> &[i32] {
        &self.days
    }

    /// Days that are not over: what is computed of them is provisional.
    pub fn open_days(&self) -> &BTreeSet<i32> {
        &self.open
    }

    /// When the first of the provisional days is over, microseconds since 1970-01-01 UTC.
    pub fn next_final_us(&self) -> Option<i64> {
        self.next_final_us
    }

    /// The table as it was looked at.
    pub fn table(&self, table: PositionTable) -> &LoadedTable {
        &self.targets[table as usize].table
    }

    /// Leaves out the days that are not over.
    pub fn without_open_days(&mut self) {
        let open = &self.open;
        self.days.retain(|day| !open.contains(day));
    }

    /// Days that are computed once more because they are over, and for nothing else of their own.
    pub fn final_days(&self) -> &BTreeSet<i32> {
        &self.finals
    }

    /// Also `first` and all days after it, which hang on it, whether they are dirty or not. Where their rows are other ones than the
    /// tables have, they are replaced, though these rest on the same trades already.
    pub fn from_day(&mut self, first: i32) {
        if self.days.first().is_none_or(|dirty| first < *dirty) {
            self.days = self.all.iter().copied().filter(|day| *day >= first).collect();
            self.is_deliberate = true;
        }
    }

    /// Only the days before this one.
    pub fn until_day(&mut self, end: i32) {
        self.days.retain(|day| *day < end);
    }

    /// What this day is computed from: the version of its trades, and the highest of all until it.
    pub fn versions(&self, day: i32) -> BTreeMap<String, Option<i64>> {
        let trades = self.trades.ident().to_string();
        [
            (trades, self.versions.get(&day).copied()),
            (CARRIED.to_owned(), self.carried.get(&day).copied()),
        ]
        .into()
    }

    /// Takes all days, whether they are dirty or not.
    pub(super) fn take_all(&mut self) {
        self.days.clone_from(&self.all);
    }

    pub(super) fn done(&mut self, days: usize) {
        self.days.drain(..days);
    }

    /// What these days rest on.
    pub(super) fn inputs(&self, source: &str, days: &[i32]) -> BTreeMap<String, SourceInput> {
        let of = |versions: &BTreeMap<i32, i64>| SourceInput {
            at: self.at,
            days: days.iter().map(|day| (*day, versions.get(day).copied())).collect(),
        };
        [
            (source.to_owned(), of(&self.versions)),
            (CARRIED.to_owned(), of(&self.carried)),
        ]
        .into()
    }

    /// Whether positions of this day have rows: it has trades, or is a session between the first and the last day that have.
    pub(super) fn has_positions(&self, day: i32) -> Result<bool, UnknownYear> {
        let (Some(first), Some(last)) = (self.filled.first(), self.filled.last()) else {
            return Ok(false);
        };
        let is_within = (*first..=*last).contains(&day);
        Ok(self.filled.contains(&day) || (is_within && Calendar::nyse().session(day)?.is_some()))
    }
}

/// What the tables record of one source, beside its versions now.
struct Records<'a> {
    /// By table: of the trades, and carried.
    states: Vec<(SourceState, SourceState)>,
    is_current_logic: bool,
    versions: &'a BTreeMap<i32, i64>,
    at: i64,
}

impl Records<'_> {
    /// Carried versions, where the days from `first` on are computed at this look.
    fn carried(&self, all: &[i32], first: i32) -> BTreeMap<i32, i64> {
        let mut highest = 0;
        let of = |day: &i32| {
            let version = match self.versions.get(day) {
                Some(version) => *version,
                None if *day >= first => self.at,
                None => self.without_files(*day),
            };
            highest = highest.max(version);
            (*day, highest)
        };
        all.iter().map(of).collect()
    }

    /// What a day without files counts with: the look that found none, where it is recorded; else this one.
    fn without_files(&self, day: i32) -> i64 {
        let recorded = self.states.iter().map(|(trades, _)| match trades.version(day) {
            Some(None) => trades.floor(day).unwrap_or(self.at),
            _ => self.at,
        });
        recorded.max().unwrap_or(self.at)
    }

    fn is_dirty(&self, day: i32, carried: i64) -> bool {
        let version = self.versions.get(&day).copied();
        let differs = |(trades, carrying): &(SourceState, SourceState)| {
            trades.version(day) != Some(version) || carrying.version(day) != Some(Some(carried))
        };
        !self.is_current_logic || self.states.iter().any(differs)
    }
}

impl Positions {
    /// What there is to do at `now_us`, microseconds since 1970-01-01 UTC; `None` while there are no trades. Creates the tables where they
    /// are missing.
    ///
    /// # Errors
    /// [`DeriveError::Lake`], [`DeriveError::State`]; [`DeriveError::Calendar`] where there are trades beyond the calendar's years.
    pub async fn look(&self, now_us: i64) -> Result<Option<PositionsLook>, DeriveError> {
        let Some(trades) = self.lake.load(&self.trades).await? else {
            return Ok(None);
        };
        let Some(snapshot) = trades.metadata().current_snapshot() else {
            return Ok(None);
        };
        let at = snapshot.sequence_number();
        let days = self.lake.days(&trades).await?;
        let versions = days.iter().map(|(day, Day { version, .. })| (*day, *version)).collect();
        // A day whose rows are all deleted has files for a while yet.
        let filled = days
            .iter()
            .filter(|(_, day)| day.rows > 0)
            .map(|(day, _)| *day)
            .collect();
        let (mut targets, mut states) = (Vec::new(), Vec::new());
        for (kind, ident) in PositionTable::ALL.into_iter().zip(&self.tables) {
            let spec = NewTable {
                schema: kind.schema().clone(),
                partition_spec: kind.partition_spec().clone(),
                properties: HashMap::from([(
                    STATE_PROPERTY.to_owned(),
                    DerivedState::new(&self.owner, LOGIC_VERSION).to_json(),
                )]),
            };
            let table = self.lake.create_table(ident, spec).await?;
            let layout = FileLayout::new(table.metadata().current_schema().clone(), DATE_COLUMN);
            let layout = layout.map_err(LakeError::iceberg(format!("reading the schema of {ident}")))?;
            states.push(table.derived_state()?);
            targets.push(Target { table, layout });
        }
        let mut look = PositionsLook {
            trades,
            targets,
            at,
            versions,
            filled,
            all: Vec::new(),
            carried: BTreeMap::new(),
            days: Vec::new(),
            open: BTreeSet::new(),
            finals: BTreeSet::new(),
            is_deliberate: false,
            next_final_us: None,
            desk: None,
        };
        look.find(&self.trades.to_string(), &states, now_us)?;
        Ok(Some(look))
    }
}

impl PositionsLook {
    /// Finds the days, and which of them have to be computed.
    fn find(&mut self, source: &str, states: &[DerivedState], now_us: i64) -> Result<(), UnknownYear> {
        let records = Records {
            states: states
                .iter()
                .map(|state| (state.source(source), state.source(CARRIED)))
                .collect(),
            is_current_logic: states.iter().all(|state| state.logic == LOGIC_VERSION),
            versions: &self.versions,
            at: self.at,
        };
        let recorded = records.states.iter().flat_map(|(trades, _)| trades.days());
        let mut all: BTreeSet<i32> = self.versions.keys().copied().chain(recorded).collect();
        if let (Some(first), Some(last)) = (self.filled.first(), self.filled.last()) {
            let sessions = Calendar::nyse().sessions(*first, *last)?;
            all.extend(sessions.iter().map(|session| session.day));
        }
        self.all = all.into_iter().collect();
        let provisional: BTreeSet<i32> = states.iter().flat_map(DerivedState::provisional).collect();
        let carried = records.carried(&self.all, i32::MAX);
        let mut first = None;
        // Only what may be open is asked for its end.
        for day in self.all.iter().rev() {
            let is_dirty = records.is_dirty(*day, carried[day]);
            if !is_dirty && !provisional.contains(day) {
                continue;
            }
            let end_us = Calendar::nyse().final_us(*day)?;
            if end_us > now_us {
                self.open.insert(*day);
                self.next_final_us = Some(self.next_final_us.map_or(end_us, |next| next.min(end_us)));
            }
            if !is_dirty && end_us <= now_us {
                self.finals.insert(*day);
            }
            if is_dirty || end_us <= now_us {
                first = Some(*day);
            }
        }
        if let Some(first) = first {
            self.carried = records.carried(&self.all, first);
            self.days = self.all.iter().copied().filter(|day| *day >= first).collect();
        } else {
            self.carried = carried;
        }
        Ok(())
    }
}

//! What a backfill computes: the days that the tables have.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use tapehouse_core::assets::Asset;
use tapehouse_lake::derived::DayTable;
use tapehouse_lake::gold::positions::PositionTable;
use tapehouse_lake::{Lake, LoadedTable};

use crate::connect::lake_failure;
use crate::exit::Failure;

/// What a day is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DayStanding {
    Current,
    Changed,
    NeverComputed,
}

impl DayStanding {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Current => "as its sources are",
            Self::Changed => "its sources have changed",
            Self::NeverComputed => "never computed",
        }
    }
}

/// A day of a table.
#[derive(Clone, Debug)]
pub(super) struct PlannedDay {
    pub(super) asset: String,
    /// Since 1970-01-01.
    pub(super) day: i32,
    pub(super) standing: DayStanding,
    /// Of the first source.
    pub(super) source_rows: u64,
}

/// Whether a table is computed a day at a time from others.
pub(super) fn is_computed_by_day(asset: &Asset) -> bool {
    DayTable::named(&asset.name).is_some() || PositionTable::named(&asset.name).is_some()
}

/// The days of these tables and of their sources within the range, each table in the order of `assets`.
pub(super) async fn plan(
    lake: &Lake,
    assets: &[&Asset],
    range: RangeInclusive<i32>,
) -> Result<Vec<PlannedDay>, Failure> {
    let mut planned = Vec::new();
    for asset in assets {
        let mut sources = Vec::new();
        for source in &asset.sources {
            sources.push((source.as_str(), days_of(lake, source).await?));
        }
        let table = load(lake, &asset.name).await?;
        let own = days_of(lake, &asset.name).await?;
        let state = match &table {
            Some(table) => Some(table.derived_state().map_err(Failure::failed)?),
            None => None,
        };
        let days: BTreeSet<i32> = sources
            .iter()
            .flat_map(|(_, days)| days.keys())
            .chain(own.keys())
            .copied()
            .collect();
        for day in days.into_iter().filter(|day| range.contains(day)) {
            let is_recorded = |(source, _): &(&str, Days)| {
                state
                    .as_ref()
                    .is_some_and(|state| state.source(source).version(day).is_some())
            };
            let is_current = |(source, days): &(&str, Days)| {
                let recorded = state.as_ref().and_then(|state| state.source(source).version(day));
                recorded.flatten() == days.get(&day).map(|(version, _)| *version)
            };
            let standing = match sources.iter().any(is_recorded) {
                false => DayStanding::NeverComputed,
                true if sources.iter().all(is_current) => DayStanding::Current,
                true => DayStanding::Changed,
            };
            let first = sources.first().and_then(|(_, days)| days.get(&day));
            planned.push(PlannedDay {
                asset: asset.name.clone(),
                day,
                standing,
                source_rows: first.map_or(0, |(_, rows)| *rows),
            });
        }
    }
    Ok(planned)
}

/// Version and rows by day.
type Days = BTreeMap<i32, (i64, u64)>;

async fn load(lake: &Lake, name: &str) -> Result<Option<LoadedTable>, Failure> {
    let name = name.parse().map_err(Failure::failed)?;
    lake.load(&name).await.map_err(|error| lake_failure(&error))
}

async fn days_of(lake: &Lake, name: &str) -> Result<Days, Failure> {
    let Some(table) = load(lake, name).await? else {
        return Ok(Days::new());
    };
    let days = lake.days(&table).await.map_err(|error| lake_failure(&error))?;
    Ok(days
        .iter()
        .map(|(day, of_day)| (*day, (of_day.version, of_day.rows)))
        .collect())
}

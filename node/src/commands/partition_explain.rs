//! `tapehouse partitions explain`

use serde_json::{Value, json};
use tapehouse_core::calendar::Calendar;
use tapehouse_core::clock::now_us;
use tapehouse_core::derive::DerivedState;
use tapehouse_lake::days::date_text;
use tapehouse_lake::{Lake, LoadedTable, TableName};

use super::partitions::existing;
use crate::connect::lake_failure;
use crate::console::{OutputFormat, grouped, print, print_json, rfc3339};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse partitions explain --table gold.daily_trading_summary --day 2024-07-05
  tapehouse partitions explain --table gold.portfolio_positions --day 2024-07-05 -o json";

/// Arguments of `partitions explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The table, with its namespace: one that is computed by day
    #[arg(long, value_name = "TABLE")]
    table: String,
    /// The day, as 2024-07-05
    #[arg(long, value_name = "DATE", value_parser = crate::dates::parse_day)]
    day: i32,
}

/// One source of a day.
struct Source {
    name: String,
    /// Version of the day that it was computed from; `None` where it was never computed, `Some(None)` where the source had no rows.
    recorded: Option<Option<i64>>,
    now: Option<i64>,
}

impl Source {
    fn is_current(&self) -> bool {
        self.recorded == Some(self.now)
    }

    fn as_text(&self) -> String {
        let version =
            |version: Option<i64>| version.map_or("no rows".to_owned(), |version| format!("version {version}"));
        match self.recorded {
            None => format!("{}: never read; now {}", self.name, version(self.now)),
            Some(recorded) if self.is_current() => format!("{}: {}, as it is now", self.name, version(recorded)),
            Some(recorded) => format!(
                "{}: read at {}, now {}",
                self.name,
                version(recorded),
                version(self.now)
            ),
        }
    }
}

/// Says why a day of a computed table is as it is.
///
/// # Errors
/// A table that does not exist, is not computed by day, or cannot be read.
pub(super) async fn run(args: &Args, lake: &Lake, output: OutputFormat) -> Result<Exit, Failure> {
    let failed = |error| lake_failure(&error);
    let (name, table) = existing(lake, &args.table).await?;
    let state = table.derived_state().map_err(|error| {
        Failure::failed(format!("{name} is not computed by day: {error}"))
            .code("invalid_argument")
            .hint("`tapehouse graph` says what is made from what")
    })?;
    let mut sources = Vec::new();
    for source in state.sources.keys() {
        // What is recorded beside tables (what is carried from day to day) is no table.
        let Ok(source_name) = source.parse::<TableName>() else {
            continue;
        };
        let versions = match lake.load(&source_name).await.map_err(failed)? {
            Some(source) => lake.day_versions(&source).await.map_err(failed)?,
            None => Default::default(),
        };
        sources.push(Source {
            name: source.clone(),
            recorded: state.source(source).version(args.day),
            now: versions.get(&args.day).copied(),
        });
    }
    let days = lake.days(&table).await.map_err(failed)?;
    let rows = days.get(&args.day).map_or(0, |day| day.rows);
    let written = written(&table, args.day);
    let verdict = verdict(&state, &sources, args.day, now_us());
    match output {
        OutputFormat::Json => print_json(&json!({
            "table": name.to_string(),
            "day": date_text(args.day),
            "state": state_of(&state, args.day),
            "reason": verdict,
            "rows": rows,
            "logic_version": state.logic,
            "last_changed": written.as_ref().map(|(time_ms, _)| rfc3339(*time_ms)),
            "snapshot_id": written.as_ref().map(|(_, snapshot)| snapshot),
            "sources": sources.iter().map(as_json).collect::<Vec<_>>(),
        })),
        OutputFormat::Table => {
            let mut lines = vec![format!("{name} {}: {verdict}", date_text(args.day))];
            lines.push(format!("  {} rows, {}", grouped(rows), state_of(&state, args.day)));
            lines.extend(written.map(|(time_ms, snapshot)| {
                format!(
                    "  written {} by snapshot {snapshot}",
                    rfc3339(time_ms).unwrap_or_default()
                )
            }));
            lines.extend(sources.iter().map(|source| format!("  {}", source.as_text())));
            print(&lines.join("\n"));
        }
    }
    Ok(Exit::Ok)
}

fn as_json(source: &Source) -> Value {
    json!({
        "source": source.name,
        "recorded_version": source.recorded.flatten(),
        "computed": source.recorded.is_some(),
        "version": source.now,
        "current": source.is_current(),
    })
}

fn state_of(state: &DerivedState, day: i32) -> &'static str {
    let is_computed = state
        .sources
        .keys()
        .any(|source| state.source(source).version(day).is_some());
    match (is_computed, state.provisional().any(|provisional| provisional == day)) {
        (false, _) => "never computed",
        (true, true) => "provisional",
        (true, false) => "final",
    }
}

/// Why the day is as it is.
fn verdict(state: &DerivedState, sources: &[Source], day: i32, now_us: i64) -> String {
    let changed: Vec<&str> = sources
        .iter()
        .filter(|source| !source.is_current())
        .map(|source| source.name.as_str())
        .collect();
    let is_provisional = state_of(state, day) == "provisional";
    let ends_us = Calendar::nyse().final_us(day).unwrap_or(i64::MAX);
    match (state_of(state, day), changed.is_empty()) {
        ("never computed", _) if sources.iter().all(|source| source.now.is_none()) => {
            "there is nothing to compute: its sources have no rows of this day".to_owned()
        }
        ("never computed", _) => "it waits to be computed".to_owned(),
        (_, false) => format!(
            "it waits to be computed again: {} has changed since",
            changed.join(", ")
        ),
        (_, true) if is_provisional && now_us < ends_us => {
            "it is as its sources are now; the day is not over".to_owned()
        }
        (_, true) if is_provisional => "it waits to be computed once more: the day is over".to_owned(),
        (_, true) => "it is as its sources are now".to_owned(),
    }
}

/// When the day's rows were written last and by which snapshot, as far as snapshots are retained.
fn written(table: &LoadedTable, day: i32) -> Option<(i64, i64)> {
    let named = date_text(day);
    let mut snapshots: Vec<_> = table.metadata().snapshots().collect();
    snapshots.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.sequence_number()));
    let names_it = |summary: &str| summary.contains(&format!("\"{named}\""));
    let found = snapshots.into_iter().find(|snapshot| {
        snapshot
            .summary()
            .additional_properties
            .get("tapehouse.days")
            .is_some_and(|days| names_it(days))
    });
    found.map(|snapshot| (snapshot.timestamp_ms(), snapshot.snapshot_id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let state = DerivedState::new("c", 1);
        let source = |recorded, now| Source {
            name: "silver.trades".to_owned(),
            recorded,
            now,
        };
        assert!(verdict(&state, &[source(None, None)], 19_909, 0).starts_with("there is nothing"));
        assert_eq!(
            verdict(&state, &[source(None, Some(3))], 19_909, 0),
            "it waits to be computed"
        );
        assert!(source(Some(Some(3)), Some(3)).is_current() && !source(Some(Some(3)), Some(4)).is_current());
        assert!(source(Some(None), None).is_current() && !source(None, None).is_current());
        assert_eq!(
            source(Some(Some(3)), None).as_text(),
            "silver.trades: read at version 3, now no rows"
        );
    }
}

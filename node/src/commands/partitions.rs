//! `tapehouse partitions`

use serde_json::json;
use tapehouse_core::calendar::Calendar;
use tapehouse_lake::days::{Day, date_text};
use tapehouse_lake::{Lake, LoadedTable, TableName};

use super::partition_explain;
use super::verify::no_such_table;
use crate::cli::Global;
use crate::config::{Config, Part};
use crate::connect::{lake_failure, lake_settings};
use crate::console::{Align, OutputFormat, Style, Table, grouped, print, print_json};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse partitions list --table silver.trades
  tapehouse partitions explain --table gold.daily_trading_summary --day 2024-07-05
  tapehouse partitions list --table silver.trades -o json | jq -r '.partitions[] | [.day, .version] | @tsv'";

/// Arguments of `partitions`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show each day of a table: what kind of day it is, version, rows, files
    #[command(after_help = EXAMPLES)]
    List(ListArgs),
    /// Say why a day of a computed table is as it is: what it was computed from, and what has changed since
    Explain(partition_explain::Args),
}

/// Arguments of `partitions list`.
#[derive(Debug, clap::Args)]
struct ListArgs {
    /// The table, with its namespace
    #[arg(long, value_name = "TABLE")]
    table: String,
}

/// Shows the days of a table, as its manifests tell, or explains one. A day's version is the highest sequence number among its live files.
///
/// # Errors
/// Bad configuration; a table that does not exist, cannot be read, or is not partitioned by a date.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = Config::load(&global.flags(), &[Part::Lake])?;
    super::quiet_logs(&config);
    let lake = Lake::open_existing(lake_settings(&config)?).await;
    let lake = lake.map_err(|error| lake_failure(&error))?;
    match &args.command {
        Command::List(list) => show_days(list, &lake, global.output).await,
        Command::Explain(explain) => partition_explain::run(explain, &lake, global.output).await,
    }
}

/// The table of this name.
///
/// # Errors
/// A name that is none; a table that does not exist or cannot be read.
pub(super) async fn existing(lake: &Lake, name: &str) -> Result<(TableName, LoadedTable), Failure> {
    let name: TableName = name.parse().map_err(Failure::failed)?;
    let table = lake.load(&name).await.map_err(|error| lake_failure(&error))?;
    let table = table.ok_or_else(|| no_such_table(&name))?;
    Ok((name, table))
}

async fn show_days(list: &ListArgs, lake: &Lake, output: OutputFormat) -> Result<Exit, Failure> {
    let failed = |error| lake_failure(&error);
    let (name, table) = existing(lake, &list.table).await?;
    let days = lake.days(&table).await.map_err(failed)?;
    match output {
        OutputFormat::Json => {
            let partitions: Vec<_> = days.iter().map(|(day, of_day)| as_json(*day, of_day)).collect();
            print_json(&json!({
                "table": name.to_string(),
                "snapshot_id": table.metadata().current_snapshot_id(),
                "partitions": partitions,
            }));
        }
        OutputFormat::Table => print(&as_table(days.iter())),
    }
    Ok(Exit::Ok)
}

/// `session`, `early close`, `weekend` or `holiday: NAME`. Rows may carry any date: that of a year beyond the calendar is said to be
/// unknown, and the others are shown.
fn kind(day: i32) -> String {
    let kind = Calendar::nyse().day(day);
    kind.map_or("unknown year".to_owned(), |kind| kind.to_string())
}

fn as_json(day: i32, of_day: &Day) -> serde_json::Value {
    json!({
        "day": date_text(day),
        "kind": kind(day),
        "version": of_day.version,
        "rows": of_day.rows,
        "files": of_day.files,
        "delete_files": of_day.delete_files,
    })
}

fn as_table<'a>(days: impl Iterator<Item = (&'a i32, &'a Day)>) -> String {
    let right = Align::Right;
    let columns = [
        ("DAY", Align::Left),
        ("KIND", Align::Left),
        ("VERSION", right),
        ("ROWS", right),
        ("FILES", right),
        ("DELETE FILES", right),
    ];
    let mut text = Table::new(&columns);
    for (day, of_day) in days {
        text.row(vec![
            date_text(*day),
            kind(*day),
            of_day.version.to_string(),
            grouped(of_day.rows),
            grouped(of_day.files),
            grouped(of_day.delete_files),
        ]);
    }
    text.render(Style::of_stdout())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn each_day_is_of_a_kind() {
        // 2019-12-31, 2024-07-03 to 2024-07-06.
        let days = [18_261, 19_907, 19_908, 19_909, 19_910].map(|day| (day, Day::default()));
        let expected = [
            ("2019-12-31", "unknown year"),
            ("2024-07-03", "early close"),
            ("2024-07-04", "holiday: Independence Day"),
            ("2024-07-05", "session"),
            ("2024-07-06", "weekend"),
        ];
        let days = BTreeMap::from(days);
        let lines = as_table(days.iter());
        for ((line, (day, of_day)), (date, kind)) in lines.lines().skip(1).zip(&days).zip(expected) {
            assert!(line.starts_with(&format!("{date}  {kind}  ")), "{line}");
            let json = as_json(*day, of_day);
            assert_eq!((json["day"].as_str(), json["kind"].as_str()), (Some(date), Some(kind)));
        }
        assert_eq!(lines.lines().count(), 6);
    }
}

//! `tapehouse partitions`

use serde_json::json;
use tapehouse_lake::days::{Day, date_text};
use tapehouse_lake::{Lake, TableName};

use crate::cli::Global;
use crate::config::{Config, Part};
use crate::connect::{lake_failure, lake_settings};
use crate::console::{Align, OutputFormat, Style, Table, grouped, print, print_json};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse partitions list --table silver.trades
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
    /// Show each day of a table: version, rows, files
    #[command(after_help = EXAMPLES)]
    List(ListArgs),
}

/// Arguments of `partitions list`.
#[derive(Debug, clap::Args)]
struct ListArgs {
    /// The table, with its namespace
    #[arg(long, value_name = "TABLE")]
    table: String,
}

/// Shows the days of a table, as its manifests tell. A day's version is the highest sequence number among its live files.
///
/// # Errors
/// Bad configuration; a table that does not exist, cannot be read, or is not partitioned by a date.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let Command::List(list) = &args.command;
    let config = Config::load(&global.flags(), &[Part::Lake])?;
    super::quiet_logs(&config);
    let name: TableName = list.table.parse().map_err(Failure::failed)?;
    let failed = |error| lake_failure(&error);
    let lake = Lake::open_existing(lake_settings(&config)?).await.map_err(failed)?;
    let Some(table) = lake.load(&name).await.map_err(failed)? else {
        return Err(Failure::failed(format!("table {name} does not exist"))
            .code("no_such_table")
            .hint("`tapehouse tables` lists them"));
    };
    let days = lake.days(&table).await.map_err(failed)?;
    match global.output {
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

fn as_json(day: i32, of_day: &Day) -> serde_json::Value {
    json!({
        "day": date_text(day),
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
        ("VERSION", right),
        ("ROWS", right),
        ("FILES", right),
        ("DELETE FILES", right),
    ];
    let mut text = Table::new(&columns);
    for (day, of_day) in days {
        text.row(vec![
            date_text(*day),
            of_day.version.to_string(),
            grouped(of_day.rows),
            grouped(of_day.files),
            grouped(of_day.delete_files),
        ]);
    }
    text.render(Style::of_stdout())
}

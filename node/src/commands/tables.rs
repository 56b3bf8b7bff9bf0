//! `tapehouse tables`

use serde_json::json;
use tapehouse_core::clock::now_ms;
use tapehouse_lake::Lake;
use tapehouse_proto::v1;

use super::{Answers, EndpointArgs, table_show};
use crate::answer::{self, time_ms};
use crate::cli::Global;
use crate::config::{Config, Part};
use crate::connect::{lake_failure, lake_settings};
use crate::console::{Align, OutputFormat, Style, Table, ago, grouped, print, print_json, rfc3339, sized};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse tables
  tapehouse tables -o json | jq -r '.tables[] | [.table, .rows] | @tsv'
  tapehouse tables --locations       where each table's folder is, for engines that read by path
  tapehouse tables show silver.trades    columns, files by kind and size, partitions, cursor, last commits with their counts";

/// Arguments of `tables`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    one: Option<One>,
    /// Shows the folder of each table
    #[arg(long)]
    locations: bool,
    #[command(flatten)]
    node: EndpointArgs,
}

/// What is shown of one table.
#[derive(Debug, clap::Subcommand)]
enum One {
    /// Show one table: columns, files, partitions, cursor, last commits
    Show(table_show::Args),
}

/// Shows the tables of the catalog and their sizes.
///
/// # Errors
/// Bad configuration; a catalog or table that cannot be read, a node that does not answer.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    if let Some(One::Show(show)) = &args.one {
        return table_show::run(show, global).await;
    }
    let tables = match args.node.answers(global, &[Part::Lake]).await? {
        Answers::Node(client) => client.tables().await?,
        Answers::Here(config) => list(&config).await?,
    };
    match global.output {
        OutputFormat::Json => print_json(&json!({ "tables": tables.iter().map(as_json).collect::<Vec<_>>() })),
        OutputFormat::Table => print(&as_table(&tables, args.locations)),
    }
    Ok(Exit::Ok)
}

async fn list(config: &Config) -> Result<Vec<v1::Table>, Failure> {
    let lake = Lake::open_existing(lake_settings(config)?).await;
    let lake = lake.map_err(|error| lake_failure(&error))?;
    let names = lake.list_tables().await.map_err(|error| lake_failure(&error))?;
    answer::tables(&lake, &names)
        .await
        .map_err(|error| lake_failure(&error))
}

fn as_json(table: &v1::Table) -> serde_json::Value {
    json!({
        "table": table.table,
        "rows": table.rows,
        "files": table.files,
        "delete_files": table.delete_files,
        "size_bytes": table.size_bytes,
        "snapshots": table.snapshots,
        "last_commit": table.last_commit_time.as_ref().map(time_ms).and_then(rfc3339),
        "location": table.location,
        "metadata_location": table.metadata_location,
        "metadata_bytes": table.metadata_bytes,
    })
}

fn as_table(tables: &[v1::Table], locations: bool) -> String {
    if tables.is_empty() {
        return "no tables yet: the first commit of `tapehouse run` creates them".to_owned();
    }
    let right = Align::Right;
    let mut columns = vec![
        ("TABLE", Align::Left),
        ("ROWS", right),
        ("FILES", right),
        ("SIZE", right),
        ("SNAPSHOTS", right),
        ("LAST COMMIT", Align::Left),
    ];
    if locations {
        columns.push(("LOCATION", Align::Left));
    }
    let mut text = Table::new(&columns);
    for table in tables {
        let last = table.last_commit_time.as_ref().map(time_ms);
        let mut cells = vec![
            table.table.clone(),
            grouped(table.rows),
            grouped(table.files),
            sized(table.size_bytes),
            grouped(table.snapshots),
            last.map_or("never".to_owned(), |last| ago(last, now_ms())),
        ];
        if locations {
            cells.push(table.location.clone());
        }
        text.row(cells);
    }
    text.render(Style::of_stdout())
}

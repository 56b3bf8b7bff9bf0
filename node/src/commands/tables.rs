//! `tapehouse tables`

use serde_json::json;
use tapehouse_lake::{Lake, LakeError, LakeSettings, LoadedTable};

use crate::cli::Global;
use crate::config::{Config, Part};
use crate::connect::{lake_failure, lake_settings};
use crate::console::{Align, OutputFormat, Style, Table, ago, grouped, now_ms, print, print_json, rfc3339, sized};
use crate::exit::{Exit, Failure};
use crate::view::TableSize;

const EXAMPLES: &str = "\
Examples:
  tapehouse tables
  tapehouse tables -o json | jq -r '.tables[] | [.table, .rows] | @tsv'
  tapehouse tables --locations       where each table's folder is, for engines that read by path";

/// Arguments of `tables`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Shows the folder of each table
    #[arg(long)]
    locations: bool,
}

/// Shows the tables of the catalog and their sizes.
///
/// # Errors
/// Bad configuration; a catalog or table that cannot be read.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = Config::load(&global.flags(), &[Part::Lake])?;
    super::quiet_logs(&config);
    let tables = load_all(lake_settings(&config)?)
        .await
        .map_err(|error| lake_failure(&error))?;
    match global.output {
        OutputFormat::Json => print_json(&json!({ "tables": tables.iter().map(as_json).collect::<Vec<_>>() })),
        OutputFormat::Table => print(&as_table(&tables, args.locations)),
    }
    Ok(Exit::Ok)
}

async fn load_all(settings: LakeSettings) -> Result<Vec<LoadedTable>, LakeError> {
    let lake = Lake::open_existing(settings).await?;
    let mut tables = Vec::new();
    for name in lake.list_tables().await? {
        // A table that was dropped since the list was made is no longer there.
        tables.extend(lake.load(&name).await?);
    }
    Ok(tables)
}

fn as_json(table: &LoadedTable) -> serde_json::Value {
    let size = TableSize::of(table);
    json!({
        "table": table.ident().to_string(),
        "rows": size.rows,
        "files": size.files,
        "size_bytes": size.size_bytes,
        "snapshots": size.snapshots,
        "last_commit": size.last_commit_ms.and_then(rfc3339),
        "location": table.metadata().location(),
        "metadata_location": table.metadata_location(),
        "metadata_bytes": table.metadata_bytes(),
    })
}

fn as_table(tables: &[LoadedTable], locations: bool) -> String {
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
        let size = TableSize::of(table);
        let mut cells = vec![
            table.ident().to_string(),
            grouped(size.rows),
            grouped(size.files),
            sized(size.size_bytes),
            grouped(size.snapshots),
            size.last_commit_ms
                .map_or("never".to_owned(), |last| ago(last, now_ms())),
        ];
        if locations {
            cells.push(table.metadata().location().to_owned());
        }
        text.row(cells);
    }
    text.render(Style::of_stdout())
}

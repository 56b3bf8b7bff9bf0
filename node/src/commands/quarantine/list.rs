//! `tapehouse quarantine list`

use serde_json::{Value, json};
use tapehouse_lake::Lake;
use tapehouse_lake::silver::quarantine::{Entry, Quarantine, RecordId, Standing};

use super::{Selection, failure, rows};
use crate::cli::Global;
use crate::console::{Align, OutputFormat, Style, Table, grouped, print, print_json};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse quarantine list --open
  tapehouse quarantine list --table trades --rule negative --limit 20
  tapehouse quarantine list --page-token trades-0-3-1234/negative
  tapehouse quarantine list -o json | jq -r '.rows[].id'";

/// Arguments of `quarantine list`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Only rows about which nothing was decided
    #[arg(long)]
    open: bool,
    /// Rows at most
    #[arg(long, default_value_t = 100, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Go on behind the page that ended with this token
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    page_token: Option<(RecordId, String)>,
}

fn token(text: &str) -> Result<(RecordId, String), String> {
    let (id, rule) = text
        .split_once('/')
        .ok_or("expected ID/RULE, as the page before has it")?;
    let id = id.parse::<RecordId>().map_err(|error| error.to_string())?;
    Ok((id, rule.to_owned()))
}

/// Shows a page of the rows.
pub async fn run(args: &Args, lake: &Lake, global: &Global) -> Result<Exit, Failure> {
    let failed = |error| failure(&error);
    let mut found = match Quarantine::load(lake).await.map_err(failed)? {
        Some(quarantine) => rows(&quarantine, lake, &args.selection, false, |_| true)
            .await
            .map_err(failed)?,
        None => Vec::new(),
    };
    found.retain(|(_, standing)| !args.open || *standing == Standing::Open);
    let total = found.len();
    if let Some((id, rule)) = &args.page_token {
        found.retain(|(entry, _)| (entry.id, &entry.rule) > (*id, rule));
    }
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let left = found.len().saturating_sub(limit);
    found.truncate(limit);
    let next = found.last().filter(|_| left > 0);
    let next = next.map(|(entry, _)| format!("{}/{}", entry.id, entry.rule));
    match global.output {
        OutputFormat::Json => print_json(&json!({
            "rows": found.iter().map(|(entry, standing)| as_json(entry, *standing)).collect::<Vec<_>>(),
            "total": total,
            "next_page_token": next,
        })),
        OutputFormat::Table if total == 0 => print("no such row was set aside"),
        OutputFormat::Table => {
            let mut text = as_table(&found);
            if let Some(next) = next {
                text.push_str(&format!("\n{} more: --page-token {next}", grouped(left as u64)));
            }
            print(&text);
        }
    }
    Ok(Exit::Ok)
}

/// A row for programs.
pub(super) fn as_json(entry: &Entry, standing: Standing) -> Value {
    let (incarnation, partition, offset) = entry.id.coordinates;
    json!({
        "id": entry.id.to_string(),
        "source_table": entry.id.table.name(),
        "bronze_table": entry.bronze_table,
        "topic_incarnation": incarnation,
        "kafka_partition": partition,
        "kafka_offset": offset,
        "rule": entry.rule,
        "rule_version": entry.rule_version,
        "reason": entry.reason,
        "standing": standing.name(),
    })
}

/// Rows for people.
pub(super) fn as_table(rows: &[(Entry, Standing)]) -> String {
    let left = Align::Left;
    let mut table = Table::new(&[("ID", left), ("RULE", left), ("STANDING", left), ("REASON", left)]);
    for (entry, standing) in rows {
        table.row([
            entry.id.to_string(),
            entry.rule.clone(),
            standing.name().to_owned(),
            entry.reason.clone(),
        ]);
    }
    table.render(Style::of_stdout())
}

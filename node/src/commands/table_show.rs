//! `tapehouse tables show`

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tapehouse_core::chunk::END_OF_INCARNATION;
use tapehouse_core::clock::now_ms;
use tapehouse_lake::inspect::SnapshotInfo;
use tapehouse_lake::{FileFigures, FileSizes, Lake, LoadedTable, TableName};

use super::verify::no_such_table;
use crate::cli::Global;
use crate::config::{Config, Part};
use crate::connect::{lake_failure, lake_settings};
use crate::console::{Align, OutputFormat, Style, Table, ago, grouped, print, print_json, rfc3339, sized};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse tables show silver.trades
  tapehouse tables show bronze.raw_trades --commits 50
  tapehouse tables show silver.trades -o json | jq '.commits[0].counts'

Reads catalog and manifests, no data file: no running node is needed.";

/// Partitions that are listed for people; as JSON all are.
const PARTITIONS_SHOWN: usize = 10;
/// Entries of our own in a commit's summary.
const OWN: &str = "tapehouse.";
/// Numbers of a summary that count nothing.
const NO_COUNTS: [&str; 4] = ["epoch", "incarnation", "rules-version", "max-event-time"];

/// Arguments of `tables show`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Full name, for instance silver.trades; or a topic, by short name or topic: its bronze table
    #[arg(value_name = "TABLE")]
    table: String,
    /// So many of the last commits
    #[arg(long, value_name = "N", default_value_t = 10)]
    commits: usize,
}

/// Shows one table.
///
/// # Errors
/// Bad configuration; a table that does not exist or cannot be read.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = Config::load(&global.flags(), &[Part::Lake])?;
    super::quiet_logs(&config);
    let meant = config.topics.iter().find(|topic| topic.is_meant_by(&args.table));
    let name: TableName = meant
        .map_or(args.table.as_str(), |topic| &topic.table)
        .parse()
        .map_err(|error| Failure::failed(error).code("invalid_argument"))?;
    let failed = |error| lake_failure(&error);
    let lake = Lake::open_existing(lake_settings(&config)?).await.map_err(failed)?;
    let table = lake.load(&name).await.map_err(failed)?;
    let table = table.ok_or_else(|| no_such_table(&name))?;
    let figures = lake.file_figures(&table).await.map_err(failed)?;
    let commits = table.history(args.commits);
    match global.output {
        OutputFormat::Json => print_json(&as_json(&table, &figures, &commits)),
        OutputFormat::Table => print(&as_text(&table, &figures, &commits)),
    }
    Ok(Exit::Ok)
}

/// What a commit says in numbers, without the prefix.
fn counts(commit: &SnapshotInfo) -> BTreeMap<&str, u64> {
    let own = commit.summary.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix(OWN)?;
        let is_count = !NO_COUNTS.contains(&name);
        Some((name, value.parse().ok().filter(|_| is_count)?))
    });
    own.collect()
}

/// How far the table is, by incarnation and partition; or why that is not known. Other tables than those fed from Kafka or merged
/// from a table record nothing.
fn cursor(table: &LoadedTable) -> Result<Value, String> {
    if let Ok(state) = table.merge_state() {
        return Ok(json!({ "source": state.source, "rules": state.rules, "next_offsets": state.next }));
    }
    match table.consumed() {
        (Some(state), _) => Ok(json!({
            "topic": state.topic,
            "incarnation": state.incarnation,
            "next_offsets": { state.incarnation.to_string(): state.next },
        })),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(Value::Null),
    }
}

fn as_json(table: &LoadedTable, figures: &FileFigures, commits: &[SnapshotInfo]) -> Value {
    let (summary, schema) = (table.summary(), table.metadata().current_schema());
    let columns = schema.as_struct().fields().iter().map(|field| {
        json!({
            "name": field.name,
            "type": field.field_type.to_string(),
            "required": field.required,
            "comment": field.doc,
        })
    });
    let (cursor, cursor_error) = match cursor(table) {
        Ok(cursor) => (cursor, None),
        Err(error) => (Value::Null, Some(error)),
    };
    let commits = commits.iter().map(|commit| {
        json!({
            "snapshot_id": commit.snapshot_id,
            "sequence_number": commit.sequence_number,
            "time": rfc3339(commit.timestamp_ms),
            "operation": commit.operation,
            "own": commit.own,
            "counts": counts(commit),
        })
    });
    json!({
        "table": summary.table,
        "location": summary.location,
        "rows": summary.rows,
        "snapshots": summary.snapshots,
        "refs": summary.refs,
        "schema_id": summary.schema_id,
        "columns": columns.collect::<Vec<_>>(),
        "partitioned_by": partitioned_by(table),
        "cursor": cursor,
        "cursor_error": cursor_error,
        "files": figures,
        "commits": commits.collect::<Vec<_>>(),
    })
}

fn partitioned_by(table: &LoadedTable) -> Vec<String> {
    let fields = table.metadata().default_partition_spec().fields().iter();
    fields
        .map(|field| format!("{} ({})", field.name, field.transform))
        .collect()
}

fn as_text(table: &LoadedTable, figures: &FileFigures, commits: &[SnapshotInfo]) -> String {
    let style = Style::of_stdout();
    let summary = table.summary();
    let lines = [
        ("rows", summary.rows.map_or("-".to_owned(), grouped)),
        ("location", summary.location.clone()),
        ("partitioned by", partitioned_by(table).join(", ")),
        (
            "snapshots",
            format!("{} and {} tags", grouped(summary.snapshots as u64), summary.refs.len()),
        ),
    ];
    let mut text = style.bold(&summary.table);
    for (name, value) in lines {
        text.push_str(&format!("\n  {name:<15} {value}"));
    }
    text.push_str(&cursor_text(table));
    for part in [columns(table), sizes(figures), partitions(figures), last(commits)] {
        text.push_str(&format!("\n\n{}", part.render(style)));
    }
    let more = figures.partitions.len().saturating_sub(PARTITIONS_SHOWN);
    if more > 0 {
        text.push_str(&format!(
            "\n\n{more} earlier partitions are not shown; -o json has them"
        ));
    }
    text
}

fn cursor_text(table: &LoadedTable) -> String {
    let cursor = match cursor(table) {
        Ok(Value::Null) => return String::new(),
        Err(error) => return format!("\n  cursor          {error}"),
        Ok(cursor) => cursor,
    };
    let of = cursor["source"]
        .as_str()
        .or(cursor["topic"].as_str())
        .unwrap_or_default();
    let mut text = format!("\n  made from       {of}");
    for (incarnation, next) in cursor["next_offsets"].as_object().into_iter().flatten() {
        let next = next.as_object().into_iter().flatten().map(|(partition, next)| {
            match next.as_i64() == Some(END_OF_INCARNATION) {
                true => format!("{partition}: all"),
                false => format!("{partition}: {next}"),
            }
        });
        let next: Vec<String> = next.collect();
        text.push_str(&format!(
            "\n  next offsets    incarnation {incarnation}: {}",
            next.join(", ")
        ));
    }
    text
}

fn columns(table: &LoadedTable) -> Table {
    let mut columns = Table::new(&[
        ("COLUMN", Align::Left),
        ("TYPE", Align::Left),
        ("NULLS", Align::Left),
        ("MEANS", Align::Left),
    ]);
    for field in table.metadata().current_schema().as_struct().fields() {
        columns.row([
            field.name.clone(),
            field.field_type.to_string(),
            if field.required { "no" } else { "yes" }.to_owned(),
            field.doc.clone().unwrap_or_default(),
        ]);
    }
    columns
}

fn sizes(figures: &FileFigures) -> Table {
    let right = Align::Right;
    let mut sizes = Table::new(&[
        ("FILES", Align::Left),
        ("NUMBER", right),
        ("ROWS", right),
        ("SIZE", right),
        ("SMALLEST", right),
        ("MEDIAN", right),
        ("LARGEST", right),
    ]);
    let kinds: [(&str, &FileSizes); 3] = [
        ("data", &figures.data),
        ("position deletes", &figures.position_deletes),
        ("other deletes", &figures.other_deletes),
    ];
    for (kind, of) in kinds.into_iter().filter(|(kind, of)| *kind == "data" || of.files > 0) {
        sizes.row([
            kind.to_owned(),
            grouped(of.files),
            grouped(of.rows),
            sized(of.bytes),
            sized(of.min_bytes),
            sized(of.median_bytes),
            sized(of.max_bytes),
        ]);
    }
    sizes
}

fn partitions(figures: &FileFigures) -> Table {
    let right = Align::Right;
    let mut partitions = Table::new(&[
        ("PARTITION", Align::Left),
        ("ROWS", right),
        ("FILES", right),
        ("SIZE", right),
        ("DELETE FILES", right),
    ]);
    for partition in figures.partitions.iter().take(PARTITIONS_SHOWN) {
        partitions.row([
            partition.partition.clone(),
            grouped(partition.rows),
            grouped(partition.files),
            sized(partition.bytes),
            grouped(partition.delete_files),
        ]);
    }
    partitions
}

fn last(commits: &[SnapshotInfo]) -> Table {
    let mut last = Table::new(&[
        ("COMMIT", Align::Left),
        ("SNAPSHOT", Align::Right),
        ("OPERATION", Align::Left),
        ("COUNTS", Align::Left),
    ]);
    for commit in commits {
        let counts = counts(commit)
            .into_iter()
            .map(|(name, count)| format!("{name} {}", grouped(count)));
        last.row([
            ago(commit.timestamp_ms, now_ms()),
            commit.snapshot_id.to_string(),
            match commit.own {
                true => commit.operation.clone(),
                false => format!("{} (other engine)", commit.operation),
            },
            counts.collect::<Vec<_>>().join(", "),
        ]);
    }
    last
}

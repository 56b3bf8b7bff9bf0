//! `tapehouse offsets`

use serde_json::{Value, json};

use crate::cli::Global;
use crate::console::{Align, OutputFormat, Style, Table, ago, grouped, now_ms, print, print_json, rfc3339};
use crate::exit::{Exit, Failure};
use crate::view::TopicView;

const EXAMPLES: &str = "\
Examples:
  tapehouse offsets                     every configured topic
  tapehouse offsets trades              one, by short name, topic or table
  tapehouse offsets -o json | jq '.topics[] | {topic, lag}'

COMMITTED is the next offset that the table has not: it comes from the table, never from the consumer group.";

/// Arguments of `offsets`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Topics, by short name, topic or table [default: all]
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
}

/// Shows how far each table is, partition by partition.
///
/// # Errors
/// Bad configuration; Kafka or catalog out of reach.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let (_, views) = super::look_at(&args.topics, global).await?;
    match global.output {
        OutputFormat::Json => print_json(&json!({ "topics": views.iter().map(as_json).collect::<Vec<_>>() })),
        OutputFormat::Table => print(&as_table(&views)),
    }
    Ok(Exit::Ok)
}

fn as_json(view: &TopicView) -> Value {
    let partitions: Vec<Value> = view
        .partitions()
        .iter()
        .map(|partition| {
            json!({
                "partition": partition.partition,
                "committed_next_offset": partition.next,
                "low_watermark": partition.log.map(|log| log.start),
                "high_watermark": partition.log.map(|log| log.end),
                "lag": partition.lag(),
            })
        })
        .collect();
    let last_commit_ms = view.table.as_ref().and_then(|table| table.size.last_commit_ms);
    let state = view.table.as_ref().map(|table| &table.state);
    json!({
        "topic": view.topic.topic,
        "table": view.topic.table,
        "in_kafka": view.log.is_some(),
        "table_exists": view.table.is_some(),
        "state_error": state.and_then(|state| state.as_ref().err()).map(ToString::to_string),
        "incarnation": state.and_then(|state| state.as_ref().ok()).map(|state| state.incarnation),
        "lag": view.lag(),
        "last_commit": last_commit_ms.and_then(rfc3339),
        "partitions": partitions,
    })
}

fn as_table(views: &[TopicView]) -> String {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("TOPIC", Align::Left),
        ("PARTITION", right),
        ("COMMITTED", right),
        ("HIGH WATERMARK", right),
        ("LAG", right),
        ("LAST COMMIT", Align::Left),
    ]);
    let now = now_ms();
    let offset = |offset: Option<i64>| {
        offset
            .and_then(|o| u64::try_from(o).ok())
            .map_or("-".to_owned(), grouped)
    };
    for view in views {
        let last = view.table.as_ref().and_then(|table| table.size.last_commit_ms);
        let last = last.map_or("never".to_owned(), |last| ago(last, now));
        let partitions = view.partitions();
        if partitions.is_empty() {
            let dash = || "-".to_owned();
            table.row([
                view.topic.topic.clone(),
                dash(),
                dash(),
                dash(),
                dash(),
                "no such topic in Kafka".to_owned(),
            ]);
        }
        for partition in partitions {
            table.row([
                view.topic.topic.clone(),
                partition.partition.to_string(),
                offset(partition.next),
                offset(partition.log.map(|log| log.end)),
                partition.lag().map_or("-".to_owned(), grouped),
                last.clone(),
            ]);
        }
    }
    table.render(Style::of_stdout())
}

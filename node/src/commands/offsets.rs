//! `tapehouse offsets`

use serde_json::{Value, json};
use tapehouse_core::clock::now_ms;
use tapehouse_proto::v1;

use super::EndpointArgs;
use crate::answer::time_ms;
use crate::cli::Global;
use crate::commands::repair;
use crate::console::{Align, OutputFormat, Style, Table, ago, grouped, print, print_json, rfc3339};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse offsets                     every configured topic
  tapehouse offsets trades              one, by short name, topic or table
  tapehouse offsets --endpoint 127.0.0.1:50051      asks a node
  tapehouse offsets -o json | jq '.topics[] | {topic, lag}'

COMMITTED is the next offset that the table has not: it comes from the table, never from the consumer group.";

/// Arguments of `offsets`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Topics, by short name, topic or table [default: all]
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    #[command(flatten)]
    node: EndpointArgs,
}

/// Decisions about what a table records.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Go on with a topic that was deleted and created again, as its next incarnation
    AdoptTopic(repair::adopt::Args),
    /// Go on behind offsets that are gone from Kafka before they were read
    AcceptGap(repair::gap::Args),
    /// Derive recorded offsets that cannot be believed from what the table holds
    Rebuild(repair::rebuild::Args),
}

/// Shows how far each table is, partition by partition.
///
/// # Errors
/// Bad configuration; Kafka, catalog or node out of reach.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    match &args.action {
        Some(Action::AdoptTopic(args)) => return repair::adopt::run(args, global).await,
        Some(Action::AcceptGap(args)) => return repair::gap::run(args, global).await,
        Some(Action::Rebuild(args)) => return repair::rebuild::run(args, global).await,
        None => {}
    }
    let looked = super::look_at(&args.topics, &args.node, global).await?;
    let answer = &looked.answer;
    match global.output {
        OutputFormat::Json => print_json(&json!({ "topics": answer.topics.iter().map(as_json).collect::<Vec<_>>() })),
        OutputFormat::Table => print(&as_table(&answer.topics)),
    }
    looked.end(Exit::Ok)
}

fn as_json(topic: &v1::TopicOffsets) -> Value {
    let partitions: Vec<Value> = topic
        .partitions
        .iter()
        .map(|partition| {
            json!({
                "partition": partition.partition,
                "committed_next_offset": partition.committed_next_offset,
                "low_watermark": partition.log_start_offset,
                "high_watermark": partition.high_watermark,
                "lag": partition.lag,
            })
        })
        .collect();
    json!({
        "topic": topic.topic,
        "table": topic.table,
        "in_kafka": topic.in_kafka,
        "table_exists": topic.table_exists,
        "state_error": topic.state_error,
        "topic_id": topic.topic_id,
        "recorded_topic_id": topic.recorded_topic_id,
        "identity_error": topic.identity_error,
        "incarnation": topic.incarnation,
        "lag": topic.lag,
        "last_commit": topic.last_commit_time.as_ref().map(time_ms).and_then(rfc3339),
        "partitions": partitions,
    })
}

fn as_table(topics: &[v1::TopicOffsets]) -> String {
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
    for topic in topics {
        let last = topic.last_commit_time.as_ref().map(time_ms);
        let last = last.map_or("never".to_owned(), |last| ago(last, now));
        if topic.partitions.is_empty() {
            let dash = || "-".to_owned();
            let why = match topic.in_kafka {
                Some(_) => "no such topic in Kafka",
                None if topic.reasons.iter().any(|reason| reason.code == "kafka_authorization") => "not permitted",
                None => "Kafka does not answer",
            };
            table.row([topic.topic.clone(), dash(), dash(), dash(), dash(), why.to_owned()]);
        }
        for partition in &topic.partitions {
            table.row([
                topic.topic.clone(),
                partition.partition.to_string(),
                offset(partition.committed_next_offset),
                offset(partition.high_watermark),
                partition.lag.map_or("-".to_owned(), grouped),
                last.clone(),
            ]);
        }
    }
    let style = Style::of_stdout();
    let mut text = table.render(style);
    for topic in topics {
        if let Some(mismatch) = &topic.identity_error {
            text.push_str(&format!("\n{}: {}", topic.topic, style.bad(mismatch)));
        }
    }
    text
}

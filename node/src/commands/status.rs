//! `tapehouse status`

use serde_json::json;
use tapehouse_proto::v1;

use super::EndpointArgs;
use crate::answer::{standing_of, time_ms};
use crate::cli::Global;
use crate::console::{Align, OutputFormat, Style, Table, grouped, print, print_json, rfc3339};
use crate::diagnosis::Standing;
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse status              one line a topic, and why data is not visible where it is not
  tapehouse status -o json
  tapehouse status || alert     exit code 3 when data is stale: behind, and no commit for 5 minutes

Reads tables and Kafka; no running node is needed. With --endpoint it asks one, which also knows what its topics wait for.";

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Topics, by short name, topic or table [default: all]
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    #[command(flatten)]
    node: EndpointArgs,
}

/// Shows how each topic stands.
///
/// # Errors
/// Bad configuration; Kafka, catalog or node out of reach.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let answer = super::look_at(&args.topics, &args.node, global).await?;
    match global.output {
        OutputFormat::Json => print_json(&as_json(&answer)),
        OutputFormat::Table => print(&as_table(&answer.topics)),
    }
    let is_stale = answer.topics.iter().any(|topic| topic.stale);
    Ok(if is_stale { Exit::CheckFailed } else { Exit::Ok })
}

fn standing_name(topic: &v1::TopicOffsets) -> &'static str {
    standing_of(topic).map_or("unknown", Standing::name)
}

fn as_json(answer: &v1::ListOffsetsResponse) -> serde_json::Value {
    let topics: Vec<_> = answer
        .topics
        .iter()
        .map(|topic| {
            json!({
                "topic": topic.topic,
                "table": topic.table,
                "standing": standing_name(topic).replace(' ', "_"),
                "reason": topic.reason,
                "stale": topic.stale,
                "lag": topic.lag,
                "rows": topic.rows,
                "last_commit": topic.last_commit_time.as_ref().map(time_ms).and_then(rfc3339),
            })
        })
        .collect();
    json!({ "cluster": answer.cluster, "stale": answer.topics.iter().any(|topic| topic.stale), "topics": topics })
}

fn as_table(topics: &[v1::TopicOffsets]) -> String {
    let style = Style::of_stdout();
    let mut table = Table::new(&[
        ("TOPIC", Align::Left),
        ("TABLE", Align::Left),
        ("ROWS", Align::Right),
        ("LAG", Align::Right),
        ("STANDING", Align::Left),
    ]);
    for topic in topics {
        table.row([
            topic.topic.clone(),
            topic.table.clone(),
            topic.rows.map_or("-".to_owned(), grouped),
            grouped(topic.lag),
            standing_name(topic).to_owned(),
        ]);
    }
    let reasons = topics.iter().map(|topic| {
        let reason = match standing_of(topic) {
            Some(Standing::UpToDate) => style.good(&topic.reason),
            Some(Standing::Waiting | Standing::CatchingUp) | None => topic.reason.clone(),
            Some(Standing::Behind) => style.warn(&topic.reason),
            Some(Standing::Halted) => style.bad(&topic.reason),
        };
        format!("{}: {reason}", topic.topic)
    });
    format!("{}\n\n{}", table.render(style), reasons.collect::<Vec<_>>().join("\n"))
}

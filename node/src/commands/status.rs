//! `tapehouse status`

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tapehouse_proto::v1;

use super::{Answers, EndpointArgs, Looked, silver_status};
use crate::answer::{standing_of, time_ms};
use crate::beacon::{self, Found};
use crate::cli::Global;
use crate::config::{Config, Part, Topic};
use crate::connect::kafka_settings;
use crate::console::{Align, OutputFormat, Style, Table, grouped, print, print_json, rfc3339};
use crate::diagnosis::Standing;
use crate::exit::{Exit, Failure};
use crate::transactions::look_for_transactions;
use crate::view::Reader;

const EXAMPLES: &str = "\
Examples:
  tapehouse status              by layer, and why data is not visible where it is not
  tapehouse status -o json
  tapehouse status || alert     exit code 3 when data is stale: bronze behind, and no commit for 5 minutes; or silver
                                without what bronze has had for 15 minutes

Asks the node that runs with this state folder, else reads tables and Kafka: no running node is needed. With --endpoint it asks
another node. Only a node knows what its topics wait for.";

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
    let looked = match args.node.answers(global, &[Part::Kafka, Part::Lake]).await? {
        Answers::Node(client) => super::asked(&client, &args.topics).await?,
        Answers::Here(config) => here(&config, &config.topics_meant(&args.topics)?).await?,
    };
    match global.output {
        OutputFormat::Json => print_json(&as_json(&looked.answer)),
        OutputFormat::Table => print(&as_table(&looked.answer.topics)),
    }
    let is_stale = looked.answer.topics.iter().any(is_stale);
    looked.end(if is_stale { Exit::CheckFailed } else { Exit::Ok })
}

/// Asks the node of the state folder; what it does not read, or where none runs, tables and Kafka tell.
pub(super) async fn here(config: &Config, topics: &[Topic]) -> Result<Looked, Failure> {
    let mut of_node = BTreeMap::new();
    let reader = match beacon::ask(&config.state_dir).await {
        Found::Answer(answer) if answer.cluster == config.cluster => {
            of_node.extend(answer.topics.into_iter().map(|topic| (topic.topic.clone(), topic)));
            Reader::Absent("the node of this state folder reads other topics".to_owned())
        }
        Found::Answer(answer) => Reader::Absent(format!(
            "the node of this state folder is of cluster `{}`",
            answer.cluster
        )),
        Found::Silent(why) => {
            tracing::warn!("{why}");
            Reader::Runs
        }
        Found::Nobody(why) => Reader::Absent(format!("{why} (a node elsewhere is asked with --endpoint)")),
    };
    let others: Vec<Topic> = topics
        .iter()
        .filter(|topic| !of_node.contains_key(&topic.topic))
        .cloned()
        .collect();
    let mut looked = match others.is_empty() {
        true => Looked::nothing(&config.cluster),
        false => {
            let mut views = super::views(config, &others).await?;
            look_for_transactions(&mut views, &kafka_settings(config)?).await;
            for view in &mut views {
                view.reader = reader.clone();
            }
            super::looked(config, &views)
        }
    };
    of_node.extend(looked.answer.topics.drain(..).map(|topic| (topic.topic.clone(), topic)));
    looked.answer.topics = topics.iter().filter_map(|topic| of_node.remove(&topic.topic)).collect();
    Ok(looked)
}

/// Whether one of its layers is stale.
fn is_stale(topic: &v1::TopicOffsets) -> bool {
    topic.stale || topic.silver.as_ref().is_some_and(|silver| silver.stale)
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
                "reasons": topic.reasons.iter().map(reason_json).collect::<Vec<_>>(),
                "stale": topic.stale,
                "lag": topic.lag,
                "rows": topic.rows,
                "last_commit": topic.last_commit_time.as_ref().map(time_ms).and_then(rfc3339),
                "silver": topic.silver.as_ref().map(silver_status::as_json),
            })
        })
        .collect();
    json!({ "cluster": answer.cluster, "stale": answer.topics.iter().any(is_stale), "topics": topics })
}

/// A reason, as `status` and `explain` show it.
pub(super) fn reason_json(reason: &v1::Reason) -> Value {
    json!({
        "code": reason.code,
        "message": reason.message,
        "way_out": reason.way_out,
        "partition": reason.partition,
    })
}

/// Each reason with its code and the way out, below what is said of the topic.
pub(super) fn reason_lines(reasons: &[v1::Reason], style: Style) -> String {
    let line = |reason: &v1::Reason| {
        let way_out = style.dim(&format!("    way out: {}", reason.way_out));
        format!("\n  [{}] {}\n{way_out}", reason.code, reason.message)
    };
    reasons.iter().map(line).collect()
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
        let reason = match topic.reasons.iter().any(|each| each.message == topic.reason) {
            true => topic.table.clone(),
            false => reason,
        };
        format!("{}: {reason}{}", topic.topic, reason_lines(&topic.reasons, style))
    });
    let bronze = reasons.collect::<Vec<_>>().join("\n");
    let silver = silver_status::as_table(topics, style);
    format!("{}\n\n{bronze}{silver}", table.render(style))
}

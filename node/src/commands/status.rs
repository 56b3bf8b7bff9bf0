//! `tapehouse status`

use serde_json::json;

use crate::cli::Global;
use crate::console::{Align, OutputFormat, Style, Table, grouped, now_ms, print, print_json, rfc3339};
use crate::diagnosis::{Diagnosis, Standing, diagnose};
use crate::exit::{Exit, Failure};
use crate::view::TopicView;

const EXAMPLES: &str = "\
Examples:
  tapehouse status              one line a topic, and why data is not visible where it is not
  tapehouse status -o json
  tapehouse status || alert     exit code 3 when data is stale: behind, and no commit for 5 minutes

Reads tables and Kafka; no running node is needed.";

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Topics, by short name, topic or table [default: all]
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
}

/// Shows how each topic stands.
///
/// # Errors
/// Bad configuration; Kafka or catalog out of reach.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let (config, views) = super::look_at(&args.topics, global).await?;
    let now = now_ms();
    let found: Vec<(TopicView, Diagnosis)> = views
        .into_iter()
        .map(|view| {
            let diagnosis = diagnose(&view, &config.cluster, now);
            (view, diagnosis)
        })
        .collect();
    match global.output {
        OutputFormat::Json => print_json(&as_json(&config.cluster, &found)),
        OutputFormat::Table => print(&as_table(&found)),
    }
    let is_stale = found.iter().any(|(_, diagnosis)| diagnosis.is_stale);
    Ok(if is_stale { Exit::CheckFailed } else { Exit::Ok })
}

fn as_json(cluster: &str, found: &[(TopicView, Diagnosis)]) -> serde_json::Value {
    let topics: Vec<_> = found
        .iter()
        .map(|(view, diagnosis)| {
            let size = view.table.as_ref().map(|table| &table.size);
            json!({
                "topic": view.topic.topic,
                "table": view.topic.table,
                "standing": diagnosis.standing.name().replace(' ', "_"),
                "reason": diagnosis.reason,
                "stale": diagnosis.is_stale,
                "lag": view.lag(),
                "rows": size.map(|size| size.rows),
                "last_commit": size.and_then(|size| size.last_commit_ms).and_then(rfc3339),
            })
        })
        .collect();
    json!({ "cluster": cluster, "stale": found.iter().any(|(_, diagnosis)| diagnosis.is_stale), "topics": topics })
}

fn as_table(found: &[(TopicView, Diagnosis)]) -> String {
    let style = Style::of_stdout();
    let mut table = Table::new(&[
        ("TOPIC", Align::Left),
        ("TABLE", Align::Left),
        ("ROWS", Align::Right),
        ("LAG", Align::Right),
        ("STANDING", Align::Left),
    ]);
    for (view, diagnosis) in found {
        let rows = view
            .table
            .as_ref()
            .map_or("-".to_owned(), |table| grouped(table.size.rows));
        let topic = &view.topic;
        table.row([
            topic.topic.clone(),
            topic.table.clone(),
            rows,
            grouped(view.lag()),
            diagnosis.standing.name().to_owned(),
        ]);
    }
    let reasons = found.iter().map(|(view, diagnosis)| {
        let reason = match diagnosis.standing {
            Standing::UpToDate => style.good(&diagnosis.reason),
            Standing::Waiting | Standing::CatchingUp => diagnosis.reason.clone(),
            Standing::Behind => style.warn(&diagnosis.reason),
            Standing::Halted => style.bad(&diagnosis.reason),
        };
        format!("{}: {reason}", view.topic.topic)
    });
    format!("{}\n\n{}", table.render(style), reasons.collect::<Vec<_>>().join("\n"))
}

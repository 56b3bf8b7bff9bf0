//! `tapehouse cluster`

use serde_json::{Value, json};
use tapehouse_core::clock::now_ms;
use tapehouse_proto::v1;

use super::EndpointArgs;
use crate::answer::{duration_ms, time_ms};
use crate::cli::Global;
use crate::client::NodeClient;
use crate::config::{Config, ConfigError, Fault};
use crate::console::{Align, OutputFormat, Style, Table, ago, grouped, print, print_json, rfc3339};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse cluster --endpoint 127.0.0.1:50051       the nodes, what each runs and how it is
  tapehouse cluster --endpoint https://node-1:50051 --ca ca.pem --token-file token -o json

Exit code 3 when a node is not ready.";

/// Arguments of `cluster`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    node: EndpointArgs,
}

/// Shows the cluster, as a node of it tells.
///
/// # Errors
/// Bad configuration; a node that does not answer.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = Config::load(&args.node.flags(global), &[])?;
    super::quiet_logs(&config);
    let missing =
        || ConfigError::from(Fault::new("client.endpoint", "is missing").example("--endpoint 127.0.0.1:50051"));
    let client = config.client.as_ref().ok_or_else(missing)?;
    let cluster = NodeClient::connect(client).await?.cluster().await?;
    match global.output {
        OutputFormat::Json => print_json(&as_json(&cluster)),
        OutputFormat::Table => print(&as_text(&cluster)),
    }
    let is_ready = |node: &v1::Node| node.health() == v1::NodeHealth::Ready;
    Ok(if cluster.nodes.iter().all(is_ready) {
        Exit::Ok
    } else {
        Exit::CheckFailed
    })
}

fn health_name(node: &v1::Node) -> &'static str {
    match node.health() {
        v1::NodeHealth::Unspecified => "unknown",
        v1::NodeHealth::Ready => "ready",
        v1::NodeHealth::NotReady => "not ready",
        v1::NodeHealth::Draining => "draining",
    }
}

fn state_name(topic: &v1::NodeTopic) -> &'static str {
    match topic.pipeline.as_ref().map(v1::Pipeline::state) {
        None | Some(v1::PipelineState::Unspecified) => "unknown",
        Some(v1::PipelineState::Starting) => "starting",
        Some(v1::PipelineState::Running) => "running",
        Some(v1::PipelineState::Idle) => "idle",
        Some(v1::PipelineState::Retrying) => "retrying",
        Some(v1::PipelineState::Stopped) => "stopped",
    }
}

fn as_json(cluster: &v1::GetClusterResponse) -> Value {
    let nodes = cluster.nodes.iter().map(|node| {
        json!({
            "id": node.id,
            "grpc_address": node.grpc_address,
            "http_address": node.http_address,
            "version": node.version,
            "started": node.start_time.as_ref().map(time_ms).and_then(rfc3339),
            "run_id": node.run_id,
            "health": health_name(node).replace(' ', "_"),
            "health_reason": node.health_reason,
            "topics": node.topics.iter().map(topic_as_json).collect::<Vec<_>>(),
        })
    });
    json!({ "cluster": cluster.name, "nodes": nodes.collect::<Vec<_>>() })
}

fn topic_as_json(topic: &v1::NodeTopic) -> Value {
    let pipeline = topic.pipeline.as_ref();
    let freshness = topic.freshness.as_ref().map(|freshness| {
        json!({
            "p50": freshness.p50.as_ref().map(duration_ms),
            "p99": freshness.p99.as_ref().map(duration_ms),
            "max": freshness.max.as_ref().map(duration_ms),
            "records": freshness.records,
        })
    });
    json!({
        "topic": topic.topic,
        "table": topic.table,
        "state": state_name(topic),
        "code": pipeline.map(|pipeline| &pipeline.code).filter(|code| !code.is_empty()),
        "message": pipeline.map(|pipeline| &pipeline.message).filter(|message| !message.is_empty()),
        "rows_committed": topic.rows_committed,
        "undecodable": topic.undecodable_rows,
        "commits": topic.commits,
        "last_commit": topic.last_commit_time.as_ref().map(time_ms).and_then(rfc3339),
        "freshness_ms": freshness,
    })
}

fn as_text(cluster: &v1::GetClusterResponse) -> String {
    let (style, now) = (Style::of_stdout(), now_ms());
    let ago = |time: Option<&prost_types::Timestamp>| time.map_or("never".to_owned(), |time| ago(time_ms(time), now));
    let mut text = format!("{} {}", style.bold("cluster"), cluster.name);
    for node in &cluster.nodes {
        let health = match node.health() {
            v1::NodeHealth::Ready => style.good(health_name(node)),
            _ => style.warn(health_name(node)),
        };
        text.push_str(&format!(
            "\n\n{} {}  {health}  version {}, started {}\n  gRPC {}, HTTP {}, run {}\n",
            style.bold("node"),
            node.id,
            node.version,
            ago(node.start_time.as_ref()),
            node.grpc_address,
            node.http_address,
            node.run_id
        ));
        let right = Align::Right;
        let mut table = Table::new(&[
            ("TOPIC", Align::Left),
            ("STATE", Align::Left),
            ("ROWS", right),
            ("BAD", right),
            ("COMMITS", right),
            ("LAST COMMIT", Align::Left),
        ]);
        for topic in &node.topics {
            table.row([
                topic.topic.clone(),
                state_name(topic).to_owned(),
                grouped(topic.rows_committed),
                grouped(topic.undecodable_rows),
                grouped(topic.commits),
                ago(topic.last_commit_time.as_ref()),
            ]);
        }
        text.push_str(&table.render(style));
        let errors = node
            .topics
            .iter()
            .filter_map(|topic| topic.pipeline.as_ref().map(|pipeline| (topic, pipeline)));
        for (topic, pipeline) in errors.filter(|(_, pipeline)| !pipeline.message.is_empty()) {
            let line = format!("{}: [{}] {}", topic.topic, pipeline.code, pipeline.message);
            text.push_str(&format!("\n{}\n  {}", style.bad(&line), pipeline.way_out));
        }
    }
    text
}

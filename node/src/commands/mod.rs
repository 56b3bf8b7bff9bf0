//! One file a command.

use tapehouse_core::clock::now_ms;
use tapehouse_proto::v1;

use crate::answer;
use crate::cli::Global;
use crate::client::NodeClient;
use crate::config::{Config, Part, Topic};
use crate::connect::{kafka_settings, lake_settings};
use crate::console::logs;
use crate::diagnosis::diagnose;
use crate::exit::{Exit, Failure};
use crate::view::{TopicView, look, open_lake};

mod await_lake;
pub mod backfill;
pub mod cluster;
pub mod completions;
pub mod config;
mod coordinate;
pub mod demo;
pub mod doctor;
mod dry_run;
mod endpoint;
pub mod explain;
pub mod generate;
pub mod graph;
mod key;
mod ledger_at;
pub mod materialize;
pub mod offsets;
mod partition_explain;
pub mod partitions;
pub mod quarantine;
pub mod rebuild;
mod repair;
pub mod run;
pub mod runs;
pub mod schedules;
mod silver_status;
pub mod status;
mod table_show;
pub mod tables;
pub mod verify;

use endpoint::{Answers, EndpointArgs};

/// A layer of the lakehouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Layer {
    /// Records as received.
    Bronze,
    /// One row a key, cleaned by rule.
    Silver,
    /// One partition a trading day, computed from silver.
    Gold,
}

/// Begins to log for a command that only reads: warnings and errors, unless the user asked for more.
fn quiet_logs(config: &Config) {
    let filter = if config.log_is_default {
        "warn"
    } else {
        &config.log_filter
    };
    logs::init(config.log_format, filter);
}

/// The topics meant by `names`, and why some of them could not be looked at.
struct Looked {
    answer: v1::ListOffsetsResponse,
    failure: Option<Failure>,
}

impl Looked {
    /// No topics yet.
    fn nothing(cluster: &str) -> Self {
        Self {
            answer: v1::ListOffsetsResponse {
                cluster: cluster.to_owned(),
                ..v1::ListOffsetsResponse::default()
            },
            failure: None,
        }
    }

    /// The exit code, once all is shown: that of the topics that could not be looked at, else `exit`.
    fn end(self, exit: Exit) -> Result<Exit, Failure> {
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(exit),
        }
    }
}

/// The topics meant by `names`: as a node tells where one is to be asked, else as tables and Kafka are. One that the user may not
/// read keeps nobody from seeing the others.
async fn look_at(names: &[String], node: &EndpointArgs, global: &Global) -> Result<Looked, Failure> {
    match node.answers(global, &[Part::Kafka, Part::Lake]).await? {
        Answers::Node(client) => asked(&client, names).await,
        Answers::Here(config) => {
            let views = views(&config, &config.topics_meant(names)?).await?;
            Ok(looked(&config, &views))
        }
    }
}

async fn asked(client: &NodeClient, names: &[String]) -> Result<Looked, Failure> {
    Ok(Looked {
        answer: client.offsets(names).await?,
        failure: None,
    })
}

async fn views(config: &Config, topics: &[Topic]) -> Result<Vec<TopicView>, Failure> {
    let lake = open_lake(lake_settings(config)?).await?;
    look(topics, lake.as_ref(), &kafka_settings(config)?).await
}

fn looked(config: &Config, views: &[TopicView]) -> Looked {
    let now = now_ms();
    let topics = views
        .iter()
        .map(|view| answer::topic(view, &diagnose(view, &config.cluster, now)));
    Looked {
        answer: v1::ListOffsetsResponse {
            topics: topics.collect(),
            cluster: config.cluster.clone(),
            next_page_token: String::new(),
        },
        failure: not_permitted(views),
    }
}

/// The failure that names the topics that the user may not read.
fn not_permitted(views: &[TopicView]) -> Option<Failure> {
    let refused: Vec<(&str, &Failure)> = views
        .iter()
        .filter_map(|view| Some((view.topic.topic.as_str(), view.refusal.as_ref()?)))
        .collect();
    let (_, first) = refused.first()?;
    let names: Vec<&str> = refused.iter().map(|(topic, _)| *topic).collect();
    let message = match names.len() {
        1 => first.message.clone(),
        _ => format!("this user is not permitted to read topics {}", names.join(", ")),
    };
    Some(Failure {
        message,
        ..(*first).clone()
    })
}

//! One file a command.

use tapehouse_core::clock::now_ms;
use tapehouse_proto::v1;

use crate::answer;
use crate::cli::Global;
use crate::config::{Config, Part};
use crate::connect::{kafka_settings, lake_settings};
use crate::console::logs;
use crate::diagnosis::diagnose;
use crate::exit::Failure;
use crate::view::{look, open_lake};

pub mod cluster;
pub mod completions;
pub mod config;
pub mod demo;
pub mod doctor;
mod dry_run;
mod endpoint;
pub mod explain;
pub mod generate;
pub mod offsets;
mod repair;
pub mod run;
pub mod status;
pub mod tables;
pub mod verify;

use endpoint::{Answers, EndpointArgs};

/// Begins to log for a command that only reads: warnings and errors, unless the user asked for more.
fn quiet_logs(config: &Config) {
    let filter = if config.log_is_default {
        "warn"
    } else {
        &config.log_filter
    };
    logs::init(config.log_format, filter);
}

/// The topics meant by `names`: as a node tells where one is to be asked, else as tables and Kafka are.
async fn look_at(names: &[String], node: &EndpointArgs, global: &Global) -> Result<v1::ListOffsetsResponse, Failure> {
    let config = match node.answers(global, &[Part::Kafka, Part::Lake]).await? {
        Answers::Node(client) => return client.offsets(names).await,
        Answers::Here(config) => config,
    };
    let topics = config.topics_meant(names)?;
    let lake = open_lake(lake_settings(&config)?).await?;
    let views = look(&topics, lake.as_ref(), &kafka_settings(&config)?).await?;
    let now = now_ms();
    let topics = views
        .iter()
        .map(|view| answer::topic(view, &diagnose(view, &config.cluster, now)));
    Ok(v1::ListOffsetsResponse {
        topics: topics.collect(),
        cluster: config.cluster,
        next_page_token: String::new(),
    })
}

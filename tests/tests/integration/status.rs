//! `tapehouse status` says why data is not visible: each reason with its code and way out, as far as it can be provoked here. Others
//! stand beside what provokes them: full disks, clocks, permissions.

use serde_json::Value;
use tapehouse_tests::{Error, Feed, Site, await_that, stack};

use crate::support::{PATIENCE, await_rows, equal, forever, site, with};

/// What `status` says of the one topic; of the node with this name, if it runs.
pub fn status(site: &Site, node: &str) -> Result<Value, Error> {
    let state_dir = site.state_dir(node).display().to_string();
    let output = site.command(&["status", "-o", "json", "--state-dir", &state_dir])?;
    let output = output.expect(&[0, 3, 4])?;
    // Where there is neither a node nor Kafka to ask, there is nothing to show.
    match output.stdout.is_empty() {
        true => Ok(Value::Null),
        false => Ok(output.json()?["topics"][0].clone()),
    }
}

/// The reason with this code: its message, once it is sure that it has a way out.
pub fn reason(status: &Value, code: &str) -> Option<String> {
    let reasons = status["reasons"].as_array()?;
    let reason = reasons.iter().find(|reason| reason["code"] == code)?;
    let has_way_out = reason["way_out"].as_str().is_some_and(|text| !text.is_empty());
    has_way_out.then(|| reason["message"].as_str().unwrap_or_default().to_owned())
}

/// Demands a reason whose message holds `word`.
pub fn demand(status: &Value, code: &str, word: &str) -> Result<(), Error> {
    match reason(status, code) {
        Some(message) if message.contains(word) => Ok(()),
        _ => Err(Error::unexpected(format!("no reason {code} with {word:?}: {status:#}"))),
    }
}

#[test]
fn what_can_be_seen_without_a_node() {
    with(stack(), "status-alone", |servers, folder| {
        let (site, topic) = site(servers, folder, "status.alone", 1)?;
        let feed = Feed::of(servers);
        demand_nothing(&status(&site, "a")?)?;
        feed.produce(&topic.topic, 100, &["--bad-every", "10"])?;
        demand(&status(&site, "a")?, "node_not_running", "state-a")?;
        site.catch_up("a", PATIENCE)?;
        let caught_up = status(&site, "a")?;
        demand(&caught_up, "undecodable", "10 records")?;
        equal("standing", caught_up["standing"].as_str(), Some("up_to_date"))?;
        // One transaction that ends well, and one that does not end.
        feed.produce(
            &topic.topic,
            10,
            &["--first", "100", "--per-transaction", "10", "--hang"],
        )?;
        demand(&status(&site, "a")?, "open_transaction", "partition 0")?;
        // A node that was killed is not taken for one that runs.
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, 110)?;
        demand(&status(&site, "a")?, "open_transaction", "partition 0")?;
        node.kill()?;
        feed.produce(&topic.topic, 10, &["--first", "110"])?;
        equal("nobody is asked", status(&site, "a")?["lag"].is_u64(), true)
    });
}

fn demand_nothing(status: &Value) -> Result<(), Error> {
    equal("reasons", status["reasons"].as_array().map(Vec::len), Some(0))
}

#[test]
fn what_a_node_waits_for() {
    with(stack(), "status-node", |servers, folder| {
        let (site, topic) = site(servers, folder, "status.node", 1)?;
        Feed::of(servers).produce(&topic.topic, 100, &[])?;
        // Away is where nobody listens.
        let lonely = site.clone().with_registry("http://127.0.0.1:1");
        let mut node = forever(&lonely, "a")?;
        await_that("the registry as the reason", PATIENCE, || {
            Ok(node.poll()?.is_none() && reason(&status(&site, "a")?, "registry").is_some())
        })?;
        node.kill()?;
        let lonely = site.clone().with_broker("127.0.0.1:1");
        let mut node = forever(&lonely, "a")?;
        await_that("Kafka as the reason", PATIENCE, || {
            Ok(node.poll()?.is_none() && reason(&status(&lonely, "a")?, "kafka").is_some())
        })?;
        node.kill()?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, 100)?;
        await_that("nothing that is out of order", PATIENCE, || {
            let status = status(&site, "a")?;
            Ok(status["standing"] == "up_to_date" && demand_nothing(&status).is_ok())
        })
    });
}

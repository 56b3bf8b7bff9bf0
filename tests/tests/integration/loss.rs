//! Offsets that Kafka no longer has: nothing is skipped in silence.

use std::time::Duration;

use tapehouse_tests::{Error, Feed, Node, NodeOptions, Site, Topic, stack};

use crate::status::{demand, status};
use crate::support::{PATIENCE, await_rows, equal, forever, site, stays, with};

/// Starts a node that has to stop over lost offsets; its log.
fn stopped(site: &Site) -> Result<String, Error> {
    let mut node = Node::start(site, "a", &NodeOptions::default())?;
    node.wait_for_code(1, PATIENCE)?;
    let log = node.log();
    for word in ["offset_lost", "stopped"] {
        if !log.contains(word) {
            return Err(Error::unexpected(format!("the log does not say {word}:\n{log}")));
        }
    }
    Ok(log)
}

fn rows(site: &Site, topic: &Topic) -> u64 {
    site.progress(&topic.table).map_or(0, |progress| progress.rows)
}

#[test]
fn records_lost_to_retention_stop_the_topic_and_name_the_offsets() {
    with(stack(), "retention", |servers, folder| {
        let (site, topic) = site(servers, folder, "loss.retention", 1)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 3000, &[])?;
        site.catch_up("a", PATIENCE)?;
        feed.produce(&topic.topic, 1000, &["--first", "3000"])?;
        feed.admin(&["truncate", &topic.topic, "0", "3500"])?;
        let log = stopped(&site)?;
        for offset in ["3000", "3500"] {
            if !log.contains(offset) {
                return Err(Error::unexpected(format!(
                    "the log does not name offset {offset}:\n{log}"
                )));
            }
        }
        equal("rows", rows(&site, &topic), 3000)
    });
}

#[test]
fn a_lost_partition_stops_alone() {
    with(stack(), "lost-partition", |servers, folder| {
        let (site, topic) = site(servers, folder, "loss.partition", 3)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 3000, &[])?;
        site.catch_up("a", PATIENCE)?;
        let read = feed.ask(&["watermarks", &topic.topic])?["0"][1]
            .as_u64()
            .unwrap_or_default();
        feed.produce(&topic.topic, 3000, &["--first", "3000"])?;
        feed.admin(&["truncate", &topic.topic, "0", &(read + 1).to_string()])?;
        let mut node = forever(&site, "a")?;
        // All but the rest of partition 0.
        let lost = feed.ask(&["watermarks", &topic.topic])?["0"][1]
            .as_u64()
            .unwrap_or_default()
            - read;
        await_rows(&site, &topic, &mut node, 6000 - lost)?;
        stays(Duration::from_secs(1), || rows(&site, &topic))?;
        feed.produce(&topic.topic, 500, &["--first", "6000"])?;
        let more = feed.ask(&["watermarks", &topic.topic])?["0"][1]
            .as_u64()
            .unwrap_or_default()
            - read
            - lost;
        await_rows(&site, &topic, &mut node, 6500 - lost - more)?;
        equal("rows", rows(&site, &topic), 6500 - lost - more)?;
        demand(&status(&site, "a")?, "offset_lost", "partition 0")?;
        let ready = node.get("/readyz")?;
        if !(ready.contains("503") && ready.contains("[offset_lost] partition 0")) {
            return Err(Error::unexpected(format!("/readyz does not name it: {ready}")));
        }
        let metrics = node.get("/metrics")?;
        let gauge = "tapehouse_partition_stopped{code=\"offset_lost\",partition=\"0\",topic=\"loss.partition\"} 1";
        equal("the gauge is there", metrics.contains(gauge), true)
    });
}

#[test]
fn retention_of_what_is_committed_already_does_no_harm() {
    with(stack(), "trimmed", |servers, folder| {
        let (site, topic) = site(servers, folder, "loss.trimmed", 1)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 3000, &[])?;
        site.catch_up("a", PATIENCE)?;
        feed.admin(&["truncate", &topic.topic, "0", "2990"])?;
        feed.produce(&topic.topic, 1000, &["--first", "3000"])?;
        site.catch_up("a", PATIENCE)?;
        let verify = site.ask_verify(&topic, &["--deep"])?;
        equal("violations", verify.violations, Vec::new())?;
        equal("rows", rows(&site, &topic), 4000)
    });
}

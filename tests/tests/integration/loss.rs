//! Offsets that Kafka no longer has: nothing is skipped in silence.

use tapehouse_tests::{Error, Feed, Node, NodeOptions, Site, Topic, stack};

use crate::support::{PATIENCE, equal, site, with};

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

#[test]
fn a_recreated_topic_that_is_shorter_stops_the_topic() {
    with(stack(), "recreated", |servers, folder| {
        let (site, topic) = site(servers, folder, "loss.recreated", 1)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 2000, &[])?;
        site.catch_up("a", PATIENCE)?;
        feed.admin(&["delete", &topic.topic])?;
        feed.admin(&["create", &topic.topic, "1"])?;
        feed.produce(&topic.topic, 500, &["--first", "5000"])?;
        stopped(&site)?;
        equal("rows", rows(&site, &topic), 2000)
    });
}

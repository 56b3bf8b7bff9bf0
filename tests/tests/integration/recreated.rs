//! A topic that is deleted and created again under its name: not one of its records is committed under the old identity.

use std::time::Duration;

use tapehouse_tests::{Backend, Error, Feed, Node, NodeOptions, Servers, Site, Topic, await_that, stack};

use crate::support::{PATIENCE, await_rows, equal, forever, site, stays, with};

fn rows(site: &Site, topic: &Topic) -> u64 {
    site.progress(&topic.table).map_or(0, |progress| progress.rows)
}

/// What `status` says of the only topic: its standing and the reason.
fn standing(site: &Site) -> Result<(String, String), Error> {
    let status = site.command(&["status", "-o", "json"])?.expect(&[0, 3])?.json()?;
    let text = |name: &str| status["topics"][0][name].as_str().unwrap_or_default().to_owned();
    Ok((text("standing"), text("reason")))
}

#[test]
fn a_recreated_topic_stops_whether_it_is_shorter_or_longer() {
    with(stack(), "recreated", |servers, folder| {
        let (site, topic) = site(servers, folder, "recreated.stopped", 1)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 2000, &[])?;
        site.catch_up("a", PATIENCE)?;
        feed.admin(&["recreate", &topic.topic, "1"])?;
        // Shorter than what was read, then longer: only the id tells the second from the old topic.
        for (first, count) in [("5000", 500), ("5500", 2500)] {
            feed.produce(&topic.topic, count, &["--first", first])?;
            let mut node = Node::start(&site, "a", &NodeOptions::default())?;
            node.wait_for_code(1, PATIENCE)?;
            if !node.log().contains("topic_recreated") {
                return Err(Error::unexpected(format!("the log does not say why:\n{}", node.log())));
            }
            equal("rows", rows(&site, &topic), 2000)?;
        }
        let (standing, reason) = standing(&site)?;
        equal("standing", standing.as_str(), "halted")?;
        equal("reason names the way out", reason.contains("adopt-topic"), true)?;
        let verify = site.ask_verify(&topic, &["--deep"])?;
        equal("violations of verify --deep", verify.violations.len(), 1)?;
        let offsets = site.command(&["offsets", "-o", "json"])?.expect(&[0])?.json()?;
        let offsets = &offsets["topics"][0];
        equal(
            "ids are equal",
            offsets["topic_id"] == offsets["recorded_topic_id"],
            false,
        )
    });
}

#[test]
fn a_topic_recreated_under_a_running_node_commits_nothing_of_the_new_one() {
    with(stack(), "recreated-running", |servers, folder| {
        let (site, topic) = site(servers, folder, "recreated.running", 2)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 2000, &[])?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, 2000)?;
        // At once, and longer than before: the client goes on at its old position in the new topic.
        feed.admin(&["recreate", &topic.topic, "2"])?;
        feed.produce(&topic.topic, 6000, &["--first", "9000"])?;
        await_that("topic_recreated in the log", PATIENCE, || {
            Ok(node.log().contains("has stopped and waits for an operator") && node.log().contains("topic_recreated"))
        })?;
        stays(Duration::from_secs(2), || rows(&site, &topic))?;
        equal("rows", rows(&site, &topic), 2000)?;
        let foreign = site.query(&topic, &["SELECT count(*) FROM t WHERE trade_id >= 'F000009000'"])?;
        equal("rows of the new topic", foreign[0][0][0].as_u64(), Some(0))
    });
}

#[test]
fn without_the_defence_rows_of_the_new_topic_would_be_committed() {
    with(stack(), "recreated-undefended", |servers, folder| {
        let (site, topic) = site(servers, folder, "recreated.undefended", 1)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 2000, &[])?;
        site.catch_up("a", PATIENCE)?;
        feed.admin(&["recreate", &topic.topic, "1"])?;
        feed.produce(&topic.topic, 3000, &["--first", "9000"])?;
        let options = NodeOptions {
            defence_off: Some("topic_identity".to_owned()),
            ..NodeOptions::default()
        };
        Node::start(&site, "a", &options)?.wait_for_code(0, PATIENCE)?;
        let foreign = site.query(&topic, &["SELECT count(*) FROM t WHERE trade_id >= 'F000009000'"])?;
        equal("rows of the new topic", foreign[0][0][0].as_u64(), Some(1000))
    });
}

#[test]
fn another_kafka_cluster_at_the_address_stops_the_topic() {
    with(stack(), "other-cluster", |servers, folder| {
        let (site, topic) = site(servers, folder, "recreated.moved", 1)?;
        Feed::of(servers).produce(&topic.topic, 1000, &[])?;
        site.catch_up("a", PATIENCE)?;
        let others = Servers::start(servers.tools(), Backend::default())?;
        Feed::of(&others).admin(&["create", &topic.topic, "1"])?;
        let moved = site
            .clone()
            .with_broker(others.bootstrap())
            .with_registry(others.registry());
        let mut node = forever(&moved, "a")?;
        await_that("kafka_cluster_changed in the log", PATIENCE, || {
            Ok(node.log().contains("kafka_cluster_changed"))
        })?;
        node.kill()?;
        let (standing, reason) = standing(&moved)?;
        equal("standing", standing.as_str(), "halted")?;
        equal("reason names the way out", reason.contains("adopt-topic"), true)?;
        equal("rows", rows(&site, &topic), 1000)
    });
}

#[test]
fn a_recreated_topic_stops_alone() {
    with(stack(), "recreated-alone", |servers, folder| {
        let feed = Feed::of(servers);
        let (one, other) = (Topic::named("recreated.one"), Topic::named("recreated.other"));
        for topic in [&one, &other] {
            feed.admin(&["create", &topic.topic, "1"])?;
            feed.produce(&topic.topic, 500, &[])?;
        }
        let site = Site::new(
            folder,
            servers,
            &[one.clone(), other.clone()],
            "[commit]\nmax_age_ms = 100",
        )?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &one, &mut node, 500)?;
        await_rows(&site, &other, &mut node, 500)?;
        feed.admin(&["recreate", &one.topic, "1"])?;
        // The idle topic is noticed without a record.
        await_that("topic_recreated in the log", PATIENCE, || {
            Ok(node.log().contains("topic_recreated"))
        })?;
        feed.produce(&other.topic, 500, &["--first", "500"])?;
        await_rows(&site, &other, &mut node, 1000)?;
        drop(node);
        site.demand(&other, Some(1000)).map(|_| ())
    });
}

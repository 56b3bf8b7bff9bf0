//! What an operator decides, with the node running: it goes on by itself, and nothing is lost or doubled.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tapehouse_tests::{Error, Feed, Node, NodeOptions, Servers, Site, Topic, await_that, run, stack};

use crate::support::{PATIENCE, await_answer, await_rows, equal, forever, site, with};

/// A changing command as a script calls it; its report.
fn decide(site: &Site, arguments: &[&str]) -> Result<Value, Error> {
    let mut all = vec!["offsets"];
    all.extend(arguments);
    all.extend(["--yes", "-o", "json"]);
    site.command(&all)?.expect(&[0])?.json()
}

/// The command has nothing to do, and says so.
fn is_refused(site: &Site, arguments: &[&str], why: &str) -> Result<(), Error> {
    let mut all = vec!["offsets"];
    all.extend(arguments);
    let refused = site.command(&all)?.expect(&[1])?;
    equal(
        &format!("{arguments:?} says `{why}`"),
        refused.stderr.contains(why),
        true,
    )
}

fn await_log(node: &mut Node, what: &str) -> Result<(), Error> {
    await_that(&format!("`{what}` in the log"), PATIENCE, || {
        Ok(node.log().contains(what))
    })
    .map_err(|error| Error::unexpected(format!("{error}\n{}", node.log())))
}

#[test]
fn an_adopted_topic_goes_on_in_the_next_incarnation() {
    with(stack(), "adopted", |servers, folder| {
        let (site, topic) = site(servers, folder, "repair.adopted", 2)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 2000, &[])?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, 2000)?;
        is_refused(&site, &["adopt-topic", &topic.topic, "--yes"], "nothing to adopt")?;
        feed.admin(&["recreate", &topic.topic, "2"])?;
        feed.produce(&topic.topic, 3000, &["--first", "2000"])?;
        await_log(&mut node, "waits for an operator")?;
        let before = site.progress(&topic.table);
        is_refused(&site, &["adopt-topic", &topic.topic], "--yes")?;
        let dry = site
            .command(&["offsets", "adopt-topic", &topic.topic, "--dry-run"])?
            .expect(&[0])?;
        equal(
            "--dry-run names the incarnation",
            dry.stdout.contains("incarnation 0 -> 1"),
            true,
        )?;
        equal("the table after --dry-run", site.progress(&topic.table), before)?;
        let report = decide(&site, &["adopt-topic", &topic.topic])?;
        equal("incarnation", report["after"]["incarnation"].as_u64(), Some(1))?;
        await_rows(&site, &topic, &mut node, 5000)?;
        await_answer(&node, "/readyz", "200 OK")?;
        drop(node);
        site.demand(&topic, Some(5000))?;
        let rows = "SELECT topic_incarnation, count(*), count(DISTINCT (kafka_partition, kafka_offset)) FROM t GROUP BY 1 ORDER BY 1";
        let found = site.query(&topic, &[rows])?;
        equal(
            "rows by incarnation",
            found[0].to_string(),
            "[[0,2000,2000],[1,3000,3000]]".to_owned(),
        )?;
        let verify = site.ask_verify(&topic, &["--deep"])?;
        equal("violations", verify.violations, Vec::new())
    });
}

#[test]
fn an_accepted_gap_is_recorded_and_the_partition_goes_on() {
    with(stack(), "gap", |servers, folder| {
        let (site, topic) = site(servers, folder, "repair.gap", 1)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 1000, &[])?;
        site.catch_up("a", PATIENCE)?;
        is_refused(&site, &["accept-gap", &topic.topic, "--yes"], "no gap to accept")?;
        feed.produce(&topic.topic, 1000, &["--first", "1000"])?;
        feed.admin(&["truncate", &topic.topic, "0", "1500"])?;
        let mut node = forever(&site, "a")?;
        await_log(&mut node, "the partition has stopped")?;
        let report = decide(&site, &["accept-gap", &topic.topic, "--partition", "0"])?;
        equal("gaps", report["gaps"].to_string(), r#"{"0":[1000,1500]}"#.to_owned())?;
        await_rows(&site, &topic, &mut node, 1500)?;
        await_answer(&node, "/readyz", "200 OK")?;
        drop(node);
        site.demand_of_itself(&topic, 1500)?;
        let verify = site.ask_verify(&topic, &["--deep"])?;
        equal("violations", verify.violations, Vec::new())?;
        let partition = &verify.answer["tables"][0]["partitions"][0];
        equal("offsets in gaps", partition["offsets_in_gaps"].as_u64(), Some(500))?;
        is_refused(&site, &["accept-gap", &topic.topic, "--yes"], "no gap to accept")
    });
}

/// Damages the recorded offsets under a running node and demands that `rebuild` heals the table.
fn is_rebuilt(servers: &Servers, folder: &Path, damage: &str) -> Result<Topic, Error> {
    let (site, topic) = site(servers, folder, &format!("repair.{damage}"), 2)?;
    let feed = Feed::of(servers);
    for first in ["0", "1000"] {
        feed.produce(&topic.topic, 1000, &["--first", first])?;
        site.catch_up("a", PATIENCE)?;
    }
    is_refused(&site, &["rebuild", &topic.topic, "--yes"], "nothing to rebuild")?;
    let mut command: Command = site.tools().python("feeds/damage.py");
    command.arg(site.catalog()).args([topic.table.as_str(), damage]);
    run(command)?.expect(&[0])?;
    let mut node = forever(&site, "a")?;
    await_log(&mut node, "state_invalid")?;
    feed.produce(&topic.topic, 500, &["--first", "2000"])?;
    let report = decide(&site, &["rebuild", &topic.topic])?;
    equal("the snapshot is named", report["snapshot_id"].is_i64(), true)?;
    await_rows(&site, &topic, &mut node, 2500)?;
    drop(node);
    site.demand(&topic, Some(2500))?;
    let verify = site.ask_verify(&topic, &["--deep"])?;
    equal("violations", verify.violations, Vec::new())?;
    Ok(topic)
}

#[test]
fn a_rolled_back_table_is_rebuilt_and_what_was_lost_is_read_again() {
    with(stack(), "rebuilt", |servers, folder| {
        is_rebuilt(servers, folder, "rolled-back").map(|_| ())
    });
}

#[test]
fn a_table_without_its_offsets_is_rebuilt_from_its_files() {
    with(stack(), "stripped", |servers, folder| {
        is_rebuilt(servers, folder, "state-stripped").map(|_| ())
    });
}

#[test]
fn a_table_is_taken_over_and_the_former_owner_is_refused() {
    with(stack(), "take-over", |servers, folder| {
        let (site, topic) = site(servers, folder, "repair.owner", 2)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 1000, &[])?;
        let mut former = forever(&site, "former")?;
        await_rows(&site, &topic, &mut former, 1000)?;
        let other = |take_over: bool| NodeOptions {
            for_ever: true,
            arguments: ["--set", "node.cluster=other", "--take-over"][..if take_over { 3 } else { 2 }]
                .iter()
                .map(|argument| (*argument).to_owned())
                .collect(),
            ..NodeOptions::default()
        };
        let mut refused = Node::start(&site, "refused", &other(false))?;
        await_log(&mut refused, "foreign_owner")?;
        drop(refused);
        let mut next = Node::start(&site, "next", &other(true))?;
        await_log(&mut next, "was taken over")?;
        feed.produce(&topic.topic, 2000, &["--first", "1000"])?;
        await_log(&mut former, "foreign_owner")?;
        await_rows(&site, &topic, &mut next, 3000)?;
        drop((former, next));
        site.demand(&topic, Some(3000)).map(|_| ())
    });
}

//! `tapehouse explain TOPIC PARTITION OFFSET`: each answer provoked on a real broker.

use std::path::Path;

use serde_json::Value;
use tapehouse_tests::{Error, Feed, Servers, Site, Topic, stack};

use crate::support::{PATIENCE, await_rows, equal, fill_compacted, forever, site, with};

/// What the program says of one record.
struct Said {
    answer: Value,
    code: Option<i32>,
}

impl Said {
    fn text(&self, key: &str) -> &str {
        self.answer[key].as_str().unwrap_or_default()
    }

    fn reasons(&self) -> Vec<&str> {
        let reasons = self.answer["reasons"].as_array().map(Vec::as_slice).unwrap_or_default();
        let codes = reasons.iter().map(|reason| reason["code"].as_str().unwrap_or_default());
        codes.collect()
    }
}

fn explain(site: &Site, topic: &Topic, partition: i32, offset: i64, further: &[&str]) -> Result<Said, Error> {
    let (partition, offset) = (partition.to_string(), offset.to_string());
    let mut arguments = vec!["explain", &topic.topic, &partition, &offset, "-o", "json"];
    arguments.extend(further);
    let output = site.command(&arguments)?.expect(&[0, 1, 3, 4])?;
    Ok(Said {
        answer: output.json()?,
        code: output.code,
    })
}

/// Demands the answer for a record of partition 0, and that `reason` is one of its reasons, if one is named.
fn expect(site: &Site, topic: &Topic, offset: i64, answer: &str, reason: &str) -> Result<Said, Error> {
    let said = explain(site, topic, 0, offset, &[])?;
    let is_so = said.text("answer") == answer && (reason.is_empty() || said.reasons().contains(&reason));
    match is_so {
        true => Ok(said),
        false => Err(Error::unexpected(format!(
            "offset {offset}: not {answer} [{reason}]: {:#}",
            said.answer
        ))),
    }
}

/// A topic with one partition, and its lake.
fn place(servers: &Servers, folder: &Path, topic: &str) -> Result<(Site, Topic), Error> {
    site(servers, &folder.join(topic), topic, 1)
}

#[test]
fn a_row_is_found_and_what_is_not_there_yet_is_told_apart() {
    with(stack(), "explain", |servers, folder| {
        let (site, topic) = place(servers, folder, "explain.rows")?;
        let feed = Feed::of(servers);
        // Before there is a table.
        feed.produce(&topic.topic, 100, &["--bad-every", "10"])?;
        expect(&site, &topic, 5, "not_committed", "node_not_running")?;
        for first in ["100", "200"] {
            site.catch_up("a", PATIENCE)?;
            feed.produce(&topic.topic, 100, &["--first", first])?;
        }
        site.catch_up("a", PATIENCE)?;
        let metadata = site.metadata(&topic.table).unwrap_or_default();
        let mut snapshots = metadata["snapshots"].as_array().cloned().unwrap_or_default();
        snapshots.sort_by_key(|snapshot| snapshot["sequence-number"].as_u64());
        let said = expect(&site, &topic, 105, "committed", "")?;
        let row = &said.answer["row"];
        equal("snapshot", &row["snapshot_id"], &snapshots[1]["snapshot-id"])?;
        let file = row["data_file"].as_str().and_then(|file| file.split_once("/bronze/"));
        let file = file.map(|(_, file)| site.warehouse_folder().join("bronze").join(file));
        equal("its file is there", file.is_some_and(|file| file.is_file()), true)?;
        equal(
            "event time",
            row["event_time"].as_str(),
            Some("2026-01-05T14:30:00.105007Z"),
        )?;
        equal(
            "times",
            row["ingested"].is_string() && row["committed"].is_string(),
            true,
        )?;
        equal("schema id", row["schema_id"].is_i64(), true)?;
        let search = &said.answer["search"];
        equal(
            "files read",
            (search["files"].as_u64(), search["files_read"].as_u64()),
            (Some(3), Some(1)),
        )?;
        expect(&site, &topic, 9, "undecodable", "wrong_magic_byte")?;
        expect(&site, &topic, 300, "not_produced", "")?;
        equal(
            "partition",
            explain(&site, &topic, 7, 0, &[])?.text("answer"),
            "no_such_partition",
        )?;
        let other = explain(&site, &topic, 0, 105, &["--incarnation", "1"])?;
        equal("another incarnation", other.text("answer"), "no_row")?;
        feed.produce(&topic.topic, 50, &["--first", "300"])?;
        let behind = expect(&site, &topic, 320, "not_committed", "")?;
        equal("next", behind.answer["committed_next_offset"].as_i64(), Some(300))?;
        what_is_away_is_said(&site, &topic)
    });
}

/// The table has 300 records, Kafka 350.
fn what_is_away_is_said(site: &Site, topic: &Topic) -> Result<(), Error> {
    // Kafka is away: what the table has is found all the same.
    let lonely = site.clone().with_broker("127.0.0.1:1");
    expect(&lonely, topic, 105, "committed", "")?;
    let unsure = expect(&lonely, topic, 320, "not_committed", "kafka")?;
    equal(
        "who was not asked is said",
        unsure.answer["not_asked"].to_string().contains("Kafka"),
        true,
    )?;
    // The catalog is away: what nobody has produced is known all the same.
    let away = ["--set", "catalog.uri=http://127.0.0.1:1"];
    let unknown = explain(site, topic, 0, 105, &away)?;
    equal(
        "without a catalog",
        (unknown.text("answer"), unknown.code),
        ("unknown", Some(4)),
    )?;
    equal(
        "beyond",
        explain(site, topic, 0, 900, &away)?.text("answer"),
        "not_produced",
    )
}

#[test]
fn offsets_without_a_row_are_told_apart() {
    with(stack(), "explain-none", |servers, folder| {
        let feed = Feed::of(servers);
        let (site, topic) = place(servers, folder, "explain.transactions")?;
        // Two transactions of ten records, each with its marker; the second one is aborted. 22 offsets.
        let transactions = ["--per-transaction", "10", "--abort-every", "2"];
        feed.produce(&topic.topic, 20, &transactions)?;
        site.catch_up("a", PATIENCE)?;
        expect(&site, &topic, 9, "committed", "")?;
        expect(&site, &topic, 10, "control_record", "")?;
        expect(&site, &topic, 15, "aborted", "")?;
        // A producer dies within a transaction: ten records of an aborted one, its marker, ten that are open.
        let mut hanging = vec!["--first", "20", "--hang"];
        hanging.extend(transactions);
        feed.produce(&topic.topic, 10, &hanging)?;
        expect(&site, &topic, 35, "not_committed", "open_transaction")?;
        expect(&site, &topic, 43, "not_produced", "")?;
        let compacted = Topic::named("explain.compacted");
        fill_compacted(feed, &compacted.topic, 2000)?;
        let topics = std::slice::from_ref(&compacted);
        let site = Site::new(&folder.join("compacted"), servers, topics, "[commit]\nmax_age_ms = 100")?;
        site.catch_up("a", PATIENCE)?;
        expect(&site, &compacted, 10, "compacted", "")?;
        expect(&site, &compacted, 2000, "committed", "").map(|_| ())
    });
}

#[test]
fn what_is_lost_or_stopped_is_named() {
    with(stack(), "explain-lost", |servers, folder| {
        let feed = Feed::of(servers);
        let (site, topic) = place(servers, folder, "explain.lost")?;
        feed.produce(&topic.topic, 100, &[])?;
        feed.admin(&["truncate", &topic.topic, "0", "40"])?;
        // Nobody has read yet.
        expect(&site, &topic, 10, "before_start", "")?;
        site.catch_up("a", PATIENCE)?;
        expect(&site, &topic, 10, "before_start", "")?;
        feed.produce(&topic.topic, 100, &["--first", "100"])?;
        feed.admin(&["truncate", &topic.topic, "0", "150"])?;
        expect(&site, &topic, 120, "lost", "offset_lost")?;
        expect(&site, &topic, 160, "not_committed", "offset_lost")?;
        // A node that runs says the same: found by its state folder, or by its address.
        let mut node = forever(&site, "a")?;
        let folder_of_a = site.state_dir("a").display().to_string();
        tapehouse_tests::await_that("the partition's stop", PATIENCE, || {
            Ok(node.poll()?.is_none() && node.log().contains("offset_lost"))
        })?;
        let said = explain(&site, &topic, 0, 160, &["--state-dir", &folder_of_a])?;
        equal("by the state folder", said.reasons(), vec!["offset_lost"])?;
        let log = node.log();
        let address = log
            .rsplit(" grpc=")
            .next()
            .and_then(|rest| rest.split_whitespace().next());
        let address = address.ok_or_else(|| Error::unexpected("the log names no gRPC address"))?;
        let said = explain(&site, &topic, 0, 160, &["--endpoint", address])?;
        equal("by the address", said.reasons(), vec!["offset_lost"])?;
        site.command(&["offsets", "accept-gap", &topic.topic, "--yes"])?
            .expect(&[0])?;
        await_rows(&site, &topic, &mut node, 110)?;
        expect(&site, &topic, 120, "accepted_gap", "")?;
        expect(&site, &topic, 160, "committed", "")?;
        drop(node);
        feed.admin(&["recreate", &topic.topic, "1"])?;
        feed.produce(&topic.topic, 500, &[])?;
        expect(&site, &topic, 300, "not_committed", "topic_recreated")?;
        feed.admin(&["delete", &topic.topic])?;
        expect(&site, &topic, 300, "topic_absent", "topic_absent").map(|_| ())
    });
}

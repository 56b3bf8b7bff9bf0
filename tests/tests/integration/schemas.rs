//! Schemas that change while a node runs, and times as text.

use tapehouse_tests::{Error, Feed, Node, NodeOptions, stack};

use crate::support::{PATIENCE, await_rows, equal, forever, site, with};

#[test]
fn an_added_field_becomes_a_column_and_old_producers_go_on() {
    with(stack(), "added", |servers, folder| {
        let (site, topic) = site(servers, folder, "schemas.added", 2)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 1000, &["--headers"])?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, 1000)?;
        feed.produce(&topic.topic, 500, &["--first", "1000", "--shape", "venue"])?;
        await_rows(&site, &topic, &mut node, 1500)?;
        feed.produce(&topic.topic, 250, &["--first", "1500"])?;
        await_rows(&site, &topic, &mut node, 1750)?;
        drop(node);
        site.demand(&topic, Some(1750))?;
        let answers = site.query(
            &topic,
            &[
                "SELECT count(*) FROM t WHERE venue_fee IS NOT NULL",
                "SELECT count(*) FROM t WHERE venue_fee = CAST(substr(trade_id, 2) AS BIGINT) / 8.0",
                "SELECT count(DISTINCT schema_id), count(decode_error) FROM t",
                "SELECT count(*) FROM t WHERE CAST(kafka_headers['number'] AS VARCHAR) = CAST(CAST(substr(trade_id, 2) AS BIGINT) AS VARCHAR)",
            ],
        )?;
        equal("rows with the new column", answers[0][0][0].as_u64(), Some(500))?;
        equal("right values in it", answers[1][0][0].as_u64(), Some(500))?;
        equal("schema ids", answers[2][0][0].as_u64(), Some(2))?;
        equal("undecodable", answers[2][0][1].as_u64(), Some(0))?;
        equal("headers", answers[3][0][0].as_u64(), Some(1000))
    });
}

#[test]
fn iso_8601_strings_become_instants_and_nonsense_a_decode_error() {
    with(stack(), "iso", |servers, folder| {
        let (site, topic) = site(servers, folder, "schemas.iso", 2)?;
        Feed::of(servers).produce(&topic.topic, 1000, &["--shape", "iso"])?;
        site.catch_up("a", PATIENCE)?;
        site.demand(&topic, Some(1000))?;
        let answers = site.query(
            &topic,
            &[
                // The same instant, once in UTC and once with an offset of five hours.
                "SELECT count(*) FROM t WHERE trade_timestamp = event_timestamp AND decode_error IS NULL",
                "SELECT count(*) FROM t WHERE trade_timestamp >= TIMESTAMPTZ '2026-01-05 14:30:00+00' AND trade_timestamp < TIMESTAMPTZ '2026-01-05 14:31:00+00'",
                "SELECT count(*) FROM t WHERE decode_error LIKE 'bad_timestamp: field trade_timestamp%' AND trade_timestamp IS NULL AND raw_value IS NOT NULL",
                "SELECT typeof(trade_timestamp) FROM t LIMIT 1",
            ],
        )?;
        equal("equal instants", answers[0][0][0].as_u64(), Some(900))?;
        equal("instants of that minute", answers[1][0][0].as_u64(), Some(900))?;
        equal("bad timestamps", answers[2][0][0].as_u64(), Some(100))?;
        equal("type", answers[3][0][0].as_str(), Some("TIMESTAMP WITH TIME ZONE"))
    });
}

#[test]
fn records_of_a_schema_that_nobody_knows_are_kept_undecoded() {
    with(stack(), "unknown", |servers, folder| {
        let (site, topic) = site(servers, folder, "schemas.unknown", 2)?;
        let options = ["--unknown-every", "10", "--tombstone-every", "25"];
        let sent = Feed::of(servers).produce(&topic.topic, 1000, &options)?;
        // The id is asked for again for 10 s: it might be just being registered.
        site.catch_up("a", PATIENCE)?;
        site.demand(&topic, Some(1000))?;
        let answers = site.query(
            &topic,
            &[
                "SELECT count(*) FROM t WHERE decode_error = 'unknown_schema_id: 2147483632' AND raw_value IS NOT NULL AND side IS NULL",
                "SELECT count(*) FROM t WHERE decode_error = 'tombstone' AND raw_value IS NULL AND side IS NULL AND kafka_key IS NOT NULL",
                "SELECT count(*) FROM t WHERE decode_error IS NULL AND side IS NOT NULL",
            ],
        )?;
        equal("unknown", answers[0][0][0].as_u64(), Some(sent.bad))?;
        equal("tombstones", answers[1][0][0].as_u64(), Some(sent.tombstones))?;
        equal(
            "decoded",
            answers[2][0][0].as_u64(),
            Some(1000 - sent.bad - sent.tombstones),
        )
    });
}

#[test]
fn a_registry_that_knows_nothing_of_the_topic_stops_it() {
    with(stack(), "wrong-registry", |servers, folder| {
        let (site, topic) = site(servers, folder, "schemas.elsewhere", 1)?;
        Feed::of(servers).produce(&topic.topic, 50, &["--unknown-every", "1"])?;
        let mut node = Node::start(&site, "a", &NodeOptions::default())?;
        node.wait_for_code(1, PATIENCE)?;
        equal("table", site.progress(&topic.table), None)?;
        if node.log().contains("wrong_registry") {
            return Ok(());
        }
        Err(Error::unexpected(format!("the node does not say why:\n{}", node.log())))
    });
}

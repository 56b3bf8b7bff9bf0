//! Start, stop, restart, idleness.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tapehouse_tests::{Error, Feed, Node, NodeOptions, await_that, stack};

use crate::support::{PATIENCE, await_rows, equal, forever, site, stays, with};

#[test]
fn sigterm_ends_within_ten_seconds_and_a_restart_goes_on() {
    with(stack(), "sigterm", |servers, folder| {
        const RECORDS: u64 = 30_000;
        let (site, topic) = site(servers, folder, "life.sigterm", 3)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, RECORDS / 2, &[])?;
        let mut node = forever(&site, "a")?;
        std::thread::scope(|scope| {
            // Records flow while the signal comes.
            let flow = scope.spawn(|| feed.produce(&topic.topic, RECORDS / 2, &["--first", "15000"]));
            await_rows(&site, &topic, &mut node, RECORDS / 2)?;
            let signalled = Instant::now();
            node.signal(Signal::TERM)?;
            node.wait_for_code(0, Duration::from_secs(11))?;
            if signalled.elapsed() > Duration::from_secs(10) {
                return Err(Error::unexpected(format!("it took {:?}", signalled.elapsed())));
            }
            flow.join()
                .map_err(|_| Error::unexpected("the producer panicked"))?
                .map(|_| ())
        })?;
        let first = site.progress(&topic.table).map_or(0, |progress| progress.rows);
        let second = site.catch_up("a", PATIENCE)?;
        equal(
            "records of the second run",
            second["records"].as_u64(),
            Some(RECORDS - first),
        )?;
        site.demand(&topic, Some(RECORDS))?;
        // A third run finds nothing to do, and says so by writing nothing.
        let before = site.progress(&topic.table);
        let third = site.catch_up("a", PATIENCE)?;
        equal("commits of the third run", third["commits"].as_u64(), Some(0))?;
        equal("table after the third run", site.progress(&topic.table), before)
    });
}

#[test]
fn an_idle_topic_makes_no_snapshots_and_the_group_knows_the_offsets() {
    with(stack(), "idle", |servers, folder| {
        let (site, topic) = site(servers, folder, "life.idle", 2)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 1000, &[])?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, 1000)?;
        let group = format!("tapehouse-bronze-{}", topic.topic);
        // The last commit's offsets reach the group a moment after the table.
        await_that("the group's offsets", PATIENCE, || {
            let committed = feed.ask(&["group", &group, &topic.topic])?;
            let sum = committed
                .as_object()
                .map(|offsets| offsets.values().filter_map(|offset| offset.as_u64()).sum());
            Ok(sum == Some(1000))
        })?;
        stays(Duration::from_secs(4), || site.progress(&topic.table))?;
        feed.produce(&topic.topic, 1, &["--first", "1000"])?;
        await_rows(&site, &topic, &mut node, 1001)?;
        drop(node);
        site.demand(&topic, Some(1001)).map(|_| ())
    });
}

#[test]
fn two_nodes_with_one_state_folder_are_refused() {
    with(stack(), "one-state", |servers, folder| {
        let (site, topic) = site(servers, folder, "life.state", 1)?;
        Feed::of(servers).produce(&topic.topic, 100, &[])?;
        let mut first = forever(&site, "a")?;
        await_rows(&site, &topic, &mut first, 100)?;
        let mut second = Node::start(&site, "a", &NodeOptions::default())?;
        second.wait_for_code(1, PATIENCE)?;
        let log = second.log();
        if log.contains("state_dir") || log.contains("--state-dir") {
            return Ok(());
        }
        Err(Error::unexpected(format!("it does not say what to do:\n{log}")))
    });
}

//! A node whose clock is two minutes ahead must not commit, and goes on by itself when the clock is right.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tapehouse_tests::{Error, Feed, Node, NodeOptions, Site, await_that, run, stack};

use crate::status::{demand, status};
use crate::support::{PATIENCE, await_rows, equal, forever, site, stays, with};

/// The library that shifts a process's clock, built into `folder`.
fn shifted_clock(folder: &Path) -> Result<PathBuf, Error> {
    let library = folder.join("shifted_clock.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("feeds/shifted_clock.c");
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl");
    run(compiler)?.expect(&[0])?;
    Ok(library)
}

/// A node whose wall clock is off by the seconds in `offset`; its monotonic clock is right.
fn node_with_clock(site: &Site, library: &Path, offset: &Path) -> Result<Node, Error> {
    let environment = [
        ("LD_PRELOAD".to_owned(), library.display().to_string()),
        ("SHIFTED_CLOCK".to_owned(), offset.display().to_string()),
    ];
    let options = NodeOptions {
        for_ever: true,
        environment: environment.to_vec(),
        ..NodeOptions::default()
    };
    Node::start(site, "a", &options)
}

fn snapshot_times_ms(site: &Site, table: &str) -> Vec<i64> {
    let metadata = site.metadata(table).unwrap_or_default();
    let snapshots = metadata["snapshots"].as_array().cloned().unwrap_or_default();
    snapshots
        .iter()
        .filter_map(|snapshot| snapshot["timestamp-ms"].as_i64())
        .collect()
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[test]
fn two_minutes_ahead_nothing_is_committed_until_the_clock_is_right() {
    with(stack(), "clock", |servers, folder| {
        let (site, topic) = site(servers, folder, "clock.ahead", 2)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 1000, &[])?;
        let library = shifted_clock(folder)?;
        let offset = folder.join("clock-offset");
        let set = |seconds: &str| fs::write(&offset, seconds).map_err(Error::io("the clock's offset"));
        // One that starts with a wrong clock makes no table either: that would carry its time.
        set("120 ")?;
        let mut node = node_with_clock(&site, &library, &offset)?;
        await_that("a word about the clock", PATIENCE, || {
            Ok(node.log().contains("clock_ahead"))
        })?;
        stays(Duration::from_secs(4), || site.progress(&topic.table))?;
        demand(&status(&site, "a")?, "clock_ahead", "ahead")?;
        set("0   ")?;
        await_rows(&site, &topic, &mut node, 1000)?;
        // The clock steps while the node runs.
        set("120 ")?;
        feed.produce(&topic.topic, 500, &["--first", "1000"])?;
        stays(Duration::from_secs(4), || site.progress(&topic.table))?;
        set("0   ")?;
        await_rows(&site, &topic, &mut node, 1500)?;
        drop(node);
        let to_come = snapshot_times_ms(&site, &topic.table)
            .into_iter()
            .filter(|time_ms| *time_ms > now_ms() + 1000);
        equal("snapshots of a time to come", to_come.count(), 0)?;
        // Nobody else is in its way either.
        feed.produce(&topic.topic, 10, &["--first", "1500"])?;
        let mut node = forever(&site, "b")?;
        await_rows(&site, &topic, &mut node, 1510)?;
        drop(node);
        site.demand(&topic, Some(1510)).map(|_| ())
    });
}

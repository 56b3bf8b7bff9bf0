//! What the tests share.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tapehouse_tests::{Error, Feed, Footing, Node, NodeOptions, Scratch, Servers, Site, Stack, Topic, await_that, run};

/// No single step of a test takes longer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test with the servers and a folder of its own; without servers it is skipped.
pub fn with(stack: Option<Stack>, label: &str, test: impl FnOnce(&Servers, &Path) -> Result<(), Error>) {
    let Some(stack) = stack else { return };
    let scratch = match Scratch::new(label) {
        Ok(scratch) => scratch,
        Err(error) => panic!("{error}"),
    };
    if let Err(error) = test(&stack, scratch.path()) {
        panic!("{error}");
    }
}

/// Whether the test has to end because the backend lacks what it stands on; says so.
pub fn left_out(servers: &Servers, footing: Footing) -> bool {
    let reason = servers.backend().lacks(footing);
    if let Some(reason) = &reason {
        // Past the capture of the test runner: what was not tested has to be said.
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let _ = writeln!(std::io::stderr(), "{test}: {reason}");
    }
    reason.is_some()
}

/// A lake for one topic, which is created with `partitions` (0: it is not) and commits often.
pub fn site(servers: &Servers, folder: &Path, topic: &str, partitions: u32) -> Result<(Site, Topic), Error> {
    let topic = Topic::named(topic);
    if partitions > 0 {
        Feed::of(servers).admin(&["create", &topic.topic, &partitions.to_string()])?;
    }
    let site = Site::new(
        folder,
        servers,
        std::slice::from_ref(&topic),
        "[commit]\nmax_age_ms = 100",
    )?;
    Ok((site, topic))
}

/// A node that runs until it is stopped.
pub fn forever(site: &Site, name: &str) -> Result<Node, Error> {
    let options = NodeOptions {
        for_ever: true,
        ..NodeOptions::default()
    };
    Node::start(site, name, &options)
}

/// Waits until the table has `rows`, while `node` runs.
pub fn await_rows(site: &Site, topic: &Topic, node: &mut Node, rows: u64) -> Result<(), Error> {
    let mut seen = 0;
    await_that(&format!("{rows} rows in {}", topic.table), PATIENCE, || {
        if let Some(status) = node.poll()? {
            return Err(Error::unexpected(format!(
                "the node ended with {status}:\n{}",
                node.log()
            )));
        }
        seen = site.progress(&topic.table).map_or(0, |progress| progress.rows);
        Ok(seen >= rows)
    })
    .map_err(|error| Error::unexpected(format!("{error}; it has {seen}\n{}", node.log())))
}

/// What `feed`, a program of `feeds/` with the actions `send` and `judge`, sends when asked with `options`; how many records there
/// are in all.
pub fn send_by(feed: &str, servers: &Servers, site: &Site, topic: &Topic, options: &[&str]) -> Result<u64, Error> {
    let mut send = site.tools().python(feed);
    send.args(["send", "--bootstrap", servers.bootstrap()])
        .args(["--registry", servers.registry()])
        .args(["--topic", &topic.topic, "--sent"])
        .arg(site.folder().join("sent.json"))
        .args(options);
    let sent = run(send)?.expect(&[0])?.json()?;
    let count = sent["sent"].as_u64();
    count.ok_or_else(|| Error::unexpected(format!("no count in {sent}")))
}

/// What `feed` says of the rows that came of what it has sent; it must find nothing wrong.
pub fn judge_by(feed: &str, site: &Site, topic: &Topic) -> Result<Value, Error> {
    let mut judge = site.tools().python(feed);
    judge
        .arg("judge")
        .arg(site.catalog())
        .arg(&topic.table)
        .arg(site.folder().join("sent.json"));
    let judged = run(judge)?.expect(&[0, 3])?.json()?;
    equal("violations", judged["violations"].as_array().cloned(), Some(Vec::new()))?;
    Ok(judged)
}

/// Waits until the node's answer to GET `path` contains `text`: rows are visible a moment before the node has counted them.
pub fn await_answer(node: &Node, path: &str, text: &str) -> Result<(), Error> {
    let mut answer = String::new();
    await_that(&format!("{text} in {path}"), PATIENCE, || {
        answer = node.get(path)?;
        Ok(answer.contains(text))
    })
    .map_err(|error| Error::unexpected(format!("{error}; it says\n{answer}")))
}

/// Looks for `time` whether something stays as it is: for what must not happen.
pub fn stays<T: PartialEq + std::fmt::Debug>(time: Duration, mut look: impl FnMut() -> T) -> Result<(), Error> {
    let (before, started) = (look(), Instant::now());
    while started.elapsed() < time {
        let now = look();
        if now != before {
            return Err(Error::unexpected(format!("it changed from {before:?} to {now:?}")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Fails with `what` unless both are equal.
pub fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::unexpected(format!("{what}: {found:?} instead of {expected:?}")))
}

/// A compacted topic of one partition with `records` records of 50 keys, of which the broker has left 51 records.
pub fn fill_compacted(feed: Feed<'_>, topic: &str, records: u64) -> Result<(), Error> {
    let config = [
        "cleanup.policy=compact",
        "segment.ms=100",
        "min.cleanable.dirty.ratio=0.01",
        "max.compaction.lag.ms=100",
    ];
    let mut create = vec!["create", topic, "1"];
    create.extend(config);
    feed.admin(&create)?;
    feed.produce(topic, records, &["--keys", "50"])?;
    // A record in a segment of its own: the one before is closed by it and can be cleaned.
    feed.produce(topic, 1, &["--first", &records.to_string(), "--keys", "50"])?;
    feed.admin(&["await-count", topic, "51"])?;
    Ok(())
}

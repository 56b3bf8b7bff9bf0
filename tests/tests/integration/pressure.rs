//! One part is slow or busy: the others go on.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tapehouse_tests::{Error, Feed, Node, NodeOptions, Site, Topic, stack, stack_alone};

use crate::support::{PATIENCE, equal, forever, with};

/// Fetches of 64 KiB a partition, one after the other: a backlog that lasts for some seconds on any machine.
const SLOW_KAFKA: &str = "[kafka.properties]\n\"queued.min.messages\" = 1\n\"fetch.queue.backoff.ms\" = 20\n\"fetch.message.max.bytes\" = 65536\n";
/// Freshness of a small topic beside a backlog, p99.
const FRESH_MS: &str = "2000";

#[test]
fn a_backlog_of_one_topic_does_not_delay_another() {
    with(stack(), "fairness", |servers, folder| {
        let topics = ["trades", "marketdata"].map(|name| Topic {
            topic: format!("fair.{name}"),
            table: format!("bronze.raw_{name}"),
        });
        let site = Site::new(folder, servers, &topics, "")?;
        let feed = Feed::of(servers);
        feed.generate(
            &site,
            &["--topic", "trades", "--count", "1000000", "--partitions", "16"],
        )?;
        feed.generate(&site, &["--topic", "marketdata", "--count", "1"])?;
        let mut reader = site.tools().python("oracle/freshness.py");
        reader
            .arg(site.catalog())
            .args(["--table", &topics[1].table, "--seconds", "10", "--max-p99-ms", FRESH_MS])
            .stdout(Stdio::piped());
        let reader = reader.spawn().map_err(Error::io("freshness.py"))?;
        let mut node = forever(&site, "a")?;
        feed.generate(&site, &["--topic", "marketdata", "--rate", "500", "--for", "7s"])?;
        let done = reader.wait_with_output().map_err(Error::io("freshness.py"))?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        if !done.status.success() {
            return Err(Error::unexpected(format!("the small topic was not fresh: {said}")));
        }
        // The backlog was there all the while, or nothing was shown: it is read to its end, and more than once was committed.
        crate::support::await_rows(&site, &topics[0], &mut node, 1_000_000)?;
        let commits = site.progress(&topics[0].table).map_or(0, |progress| progress.commits);
        match commits > 2 {
            true => Ok(()),
            false => Err(Error::unexpected(format!("{commits} commits of the backlog"))),
        }
    });
}

/// Records a second between the first and the last but one of the first `seconds` of commits.
fn rate(site: &Site, topic: &Topic, node: &mut Node, seconds: u64) -> Result<f64, Error> {
    let mut seen: Vec<(Instant, u64)> = Vec::new();
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        if let Some(status) = node.poll()? {
            return Err(Error::unexpected(format!(
                "the node ended with {status}:\n{}",
                node.log()
            )));
        }
        let rows = site.progress(&topic.table).map_or(0, |progress| progress.rows);
        if rows > seen.last().map_or(0, |(_, rows)| *rows) {
            seen.push((Instant::now(), rows));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let (Some((first_at, first)), Some((last_at, last))) = (seen.first(), seen.last()) else {
        return Err(Error::unexpected(format!("no commit in {seconds} s:\n{}", node.log())));
    };
    Ok((last - first) as f64 / last_at.duration_since(*first_at).as_secs_f64())
}

#[test]
fn a_slow_catalog_lowers_the_commit_rate_and_not_ingest() {
    with(stack_alone(), "slow", |servers, folder| {
        let topic = Topic {
            topic: "slow.trades".to_owned(),
            table: "bronze.raw_trades".to_owned(),
        };
        let settings = format!("[commit]\nmax_age_ms = 200\n{SLOW_KAFKA}");
        let site = |name: &str| Site::new(&folder.join(name), servers, std::slice::from_ref(&topic), &settings);
        let (fast, slow) = (site("fast")?, site("slow")?);
        let generated = Feed::of(servers).generate(&fast, &["--topic", "trades", "--count", "1500000"])?;
        equal(
            "produced",
            generated["topics"]["trades"]["produced"].as_u64(),
            Some(1_500_000),
        )?;
        let mut node = forever(&fast, "a")?;
        let normal = rate(&fast, &topic, &mut node, 10)?;
        drop(node);
        let mut node = Node::start(
            &slow,
            "a",
            &NodeOptions {
                failpoint: Some("swap:delay=2000:1+".to_owned()),
                for_ever: true,
                ..NodeOptions::default()
            },
        )?;
        let slowed = rate(&slow, &topic, &mut node, 15)?;
        let fired = node.fired().len();
        drop(node);
        let commits = |site: &Site| site.progress(&topic.table).map_or(0, |progress| progress.commits);
        let figures = format!(
            "{normal:.0} records/s in {} commits, {slowed:.0} records/s in {} commits of 2 s",
            commits(&fast),
            commits(&slow)
        );
        // The same records each: the slowed one must not have run out of them.
        let ran_out = slow
            .progress(&topic.table)
            .is_some_and(|progress| progress.rows == 1_500_000);
        if slowed < 0.8 * normal || commits(&slow) > 8 || fired == 0 || ran_out {
            return Err(Error::unexpected(format!(
                "{figures}, {fired} delays, ran out: {ran_out}"
            )));
        }
        // What was ingested meanwhile is complete and once, and the age goes back to normal.
        slow.catch_up("a", PATIENCE)?;
        slow.demand(&topic, Some(1_500_000)).map(|_| ())
    });
}

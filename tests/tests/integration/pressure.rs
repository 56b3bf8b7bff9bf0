//! One part is slow or busy: the others go on.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tapehouse_tests::{Error, Feed, Node, NodeOptions, Site, Topic, stack_alone};

use crate::support::{await_rows, equal, forever, with};

/// Fetches of 64 KiB a partition, one after the other: a backlog that lasts for some seconds on any machine.
const SLOW_KAFKA: &str = "[kafka.properties]\n\"queued.min.messages\" = 1\n\"fetch.queue.backoff.ms\" = 20\n\"fetch.message.max.bytes\" = 65536\n";
/// Freshness of a small topic beside a backlog, p99.
const FRESH_MS: &str = "2000";

#[test]
fn a_backlog_of_one_topic_does_not_delay_another() {
    with(stack_alone(), "fairness", |servers, folder| {
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
        await_rows(&site, &topics[0], &mut node, 1_000_000)?;
        let commits = site.progress(&topics[0].table).map_or(0, |progress| progress.commits);
        match commits > 2 {
            true => Ok(()),
            false => Err(Error::unexpected(format!("{commits} commits of the backlog"))),
        }
    });
}

/// Records of the backlog that a slow catalog is measured with.
const BACKLOG: u64 = 1_500_000;
/// What a commit takes longer with the slow catalog.
const SLOWER: Duration = Duration::from_secs(2);

/// How a node read the backlog: from its start until all of it was visible.
#[derive(Debug)]
struct Reading {
    took: Duration,
    commits: u64,
    /// Commits that the failpoint made slow.
    delays: usize,
}

fn read_backlog(site: &Site, topic: &Topic, failpoint: Option<String>) -> Result<Reading, Error> {
    let options = NodeOptions {
        failpoint,
        for_ever: true,
        ..NodeOptions::default()
    };
    let started = Instant::now();
    let mut node = Node::start(site, "a", &options)?;
    await_rows(site, topic, &mut node, BACKLOG)?;
    let took = started.elapsed();
    Ok(Reading {
        took,
        commits: site.progress(&topic.table).map_or(0, |progress| progress.commits),
        delays: node.fired().len(),
    })
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
        let generated = Feed::of(servers).generate(&fast, &["--topic", "trades", "--count", &BACKLOG.to_string()])?;
        equal(
            "produced",
            generated["topics"]["trades"]["produced"].as_u64(),
            Some(BACKLOG),
        )?;
        let normal = read_backlog(&fast, &topic, None)?;
        let slowed = read_backlog(&slow, &topic, Some(format!("swap:delay={}:1+", SLOWER.as_millis())))?;
        // An ingest that waits for its commits reads for 0.2 s, then waits for 2 s: eleven times as long. One that does not
        // is late by the commits under way at the end. Twice is left to a noisy machine.
        let most = 2 * normal.took + 4 * SLOWER;
        if slowed.took > most || 2 * slowed.commits > normal.commits || slowed.delays == 0 {
            return Err(Error::unexpected(format!(
                "with a slow catalog {slowed:?} (at most {most:?} and half the commits), else {normal:?}"
            )));
        }
        // What was ingested meanwhile is complete and once.
        slow.demand(&topic, Some(BACKLOG)).map(|_| ())
    });
}

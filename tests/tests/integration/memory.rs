//! The memory budget holds, whatever comes: many partitions, large records, many topics.

use serde_json::Value;
use tapehouse_tests::{Error, Feed, Servers, Site, Topic, stack};

use crate::support::{PATIENCE, equal, with};

/// Runs until caught up and demands that the resident set stayed below `budget_mib`.
fn within(site: &Site, budget_mib: f64, records: u64) -> Result<Value, Error> {
    let report = site.catch_up("a", 2 * PATIENCE)?;
    equal("records", report["records"].as_u64(), Some(records))?;
    let peak_mib = report["peak_rss_mib"].as_f64().unwrap_or(f64::MAX);
    if peak_mib > budget_mib {
        return Err(Error::unexpected(format!(
            "{peak_mib} MiB of a budget of {budget_mib} MiB: {report}"
        )));
    }
    Ok(report)
}

fn budget(mib: u32) -> String {
    format!("[node]\nmemory_budget_mb = {mib}")
}

#[test]
fn three_topics_of_200_partitions_stay_within_the_budget() {
    with(stack(), "partitions", |servers, folder| {
        let topics = ["trades", "orderbook", "marketdata"].map(|name| Topic {
            topic: format!("wide.{name}"),
            table: format!("bronze.raw_{name}"),
        });
        let site = Site::new(folder, servers, &topics, &budget(256))?;
        let options = [
            "--topic",
            "all",
            "--count",
            "600000",
            "--partitions",
            "200",
            "--seed",
            "3",
        ];
        Feed::of(servers).generate(&site, &options)?;
        within(&site, 256.0, 600_000)?;
        site.demand(&topics[0], None)?;
        Ok(())
    });
}

/// A topic with records of `bytes` each, in a lake of its own.
fn large(
    servers: &Servers,
    folder: &std::path::Path,
    name: &str,
    bytes: u32,
    count: u64,
    mib: u32,
) -> Result<(Site, Topic), Error> {
    let topic = Topic::named(name);
    let feed = Feed::of(servers);
    feed.admin(&["create", &topic.topic, "4", "max.message.bytes=16777216"])?;
    feed.produce(&topic.topic, count, &["--pad", &bytes.to_string()])?;
    let site = Site::new(folder, servers, std::slice::from_ref(&topic), &budget(mib))?;
    Ok((site, topic))
}

#[test]
fn records_of_1_mb_stay_within_the_budget() {
    with(stack(), "large", |servers, folder| {
        let (site, topic) = large(servers, folder, "large.records", 1_000_000, 400, 256)?;
        within(&site, 256.0, 400)?;
        site.demand(&topic, Some(400))?;
        let lengths = site.query(&topic, &["SELECT min(length(note)), max(length(note)) FROM t"])?;
        equal(
            "lengths",
            lengths[0][0].clone(),
            serde_json::json!([1_000_000, 1_000_000]),
        )
    });
}

#[test]
fn a_record_larger_than_its_share_passes() {
    with(stack(), "oversize", |servers, folder| {
        // Larger than librdkafka's default of what it asks for at once, than a batch and than the first lease of a set.
        let (site, topic) = large(servers, folder, "large.one", 12_000_000, 3, 128)?;
        Feed::of(servers).produce(&topic.topic, 1000, &["--first", "3"])?;
        site.catch_up("a", PATIENCE)?;
        site.demand(&topic, Some(1003)).map(|_| ())
    });
}

#[test]
fn fifty_topics_share_one_budget() {
    with(stack(), "many", |servers, folder| {
        let topics: Vec<Topic> = (0..50).map(|number| Topic::named(&format!("many.t{number}"))).collect();
        let feed = Feed::of(servers);
        let names: Vec<&str> = topics.iter().map(|topic| topic.topic.as_str()).collect();
        feed.admin(&["create", &names.join(","), "2"])?;
        feed.produce(&names.join(","), 2000, &[])?;
        let site = Site::new(folder, servers, &topics, &budget(384))?;
        within(&site, 384.0, 50 * 2000)?;
        site.demand(&topics[49], Some(2000))?;
        // What cannot hold them says so, and how much can, instead of taking it all the same.
        let tight = Site::new(&folder.join("tight"), servers, &topics, &budget(128))?;
        let refused = tight.command(&["run", "--until-caught-up"])?.expect(&[78])?;
        match refused.stderr.contains("node.memory_budget_mb") && refused.stderr.contains("50 topics need") {
            true => Ok(()),
            false => Err(Error::unexpected(refused.stderr)),
        }
    });
}

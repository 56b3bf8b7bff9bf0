//! All three topics at once, with everything that goes wrong in a feed.

use serde_json::Value;
use tapehouse_tests::{Error, Feed, Site, Topic, stack};

use crate::support::{PATIENCE, equal, with};

const FAULTS: [&str; 14] = [
    "--corrections",
    "0.02",
    "--duplicates",
    "0.01",
    "--null-ids",
    "0.01",
    "--null-symbols",
    "0.01",
    "--null-prices",
    "0.01",
    "--null-quantities",
    "0.01",
    "--bad-records",
    "0.005",
];
/// What the generator spoils, as bronze names it.
const CODES: [&str; 4] = ["empty_value", "malformed", "truncated", "wrong_magic_byte"];

#[test]
fn three_topics_with_every_fault_land_complete_and_once() {
    with(stack(), "topics", |servers, folder| {
        let topics = ["trades", "orderbook", "marketdata"].map(|name| Topic {
            topic: format!("market.{name}"),
            table: format!("bronze.raw_{name}"),
        });
        let site = Site::new(folder, servers, &topics, "[commit]\nmax_age_ms = 200")?;
        let mut options = vec!["--topic", "all", "--count", "200000", "--seed", "11"];
        options.extend(FAULTS);
        let generated = Feed::of(servers).generate(&site, &options)?;
        let report = site.catch_up("a", PATIENCE)?;
        equal("records", report["records"].as_u64(), Some(200_000))?;
        for (topic, name) in topics.iter().zip(["trades", "orderbook", "marketdata"]) {
            let stats = &generated["topics"][name];
            let figure = |key: &str| {
                let figure = stats[key].as_u64();
                figure.ok_or_else(|| Error::unexpected(format!("no {key} in {generated}")))
            };
            let judgement = site.demand(topic, Some(figure("produced")?))?;
            equal(
                "readers",
                judgement.oracle.figure("rows_duckdb"),
                Some(figure("produced")?),
            )?;
            undecodable(&site, topic, figure("bad")?, name == "trades")?;
        }
        let filters = site.ask_oracle(&topics[0], &["--filters", "symbol", "--filters", "trade_id"])?;
        equal("filtered scans", filters.violations, Vec::new())?;
        corrections(&site, &topics[0], &generated["topics"]["trades"])
    });
}

/// Undecodable records are rows: with their reason and their bytes, without decoded columns.
fn undecodable(site: &Site, topic: &Topic, bad: u64, all_codes: bool) -> Result<(), Error> {
    let answers = site.query(
        topic,
        &[
            "SELECT count(*) FROM t WHERE decode_error IS NOT NULL",
            "SELECT DISTINCT split_part(split_part(decode_error, ':', 1), ' ', 1) FROM t WHERE decode_error IS NOT NULL ORDER BY 1",
            "SELECT count(*) FROM t WHERE decode_error IS NOT NULL AND (exchange IS NOT NULL OR event_timestamp IS NOT NULL)",
            "SELECT count(*) FROM t WHERE (raw_value IS NULL) <> (decode_error IS NULL OR decode_error = 'tombstone')",
            "SELECT count(*) FROM t WHERE decode_error IS NULL AND (exchange IS NULL OR schema_id IS NULL)",
        ],
    )?;
    let count = |answer: usize| answers[answer][0][0].as_u64();
    equal("undecodable rows", count(0), Some(bad))?;
    equal("undecodable rows with decoded columns", count(2), Some(0))?;
    equal("rows with a wrong raw_value", count(3), Some(0))?;
    equal("decoded rows without their columns", count(4), Some(0))?;
    if all_codes {
        let codes: Vec<&str> = answers[1]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|row| row[0].as_str())
            .collect();
        equal("codes", codes, CODES.to_vec())?;
    }
    Ok(())
}

/// Bronze keeps what silver will resolve: corrections and duplicates are rows of their own, nulls stay null.
fn corrections(site: &Site, topic: &Topic, stats: &Value) -> Result<(), Error> {
    let answers = site.query(
        topic,
        &[
            "SELECT count(*) - count(DISTINCT trade_id) FROM t WHERE trade_id IS NOT NULL",
            "SELECT count(*) FROM t WHERE decode_error IS NULL AND price IS NULL",
            "SELECT typeof(trade_timestamp), typeof(price), typeof(kafka_headers) FROM t LIMIT 1",
        ],
    )?;
    let repeated = answers[0][0][0].as_u64().unwrap_or_default();
    let (corrected, nulls) = (
        stats["corrections"].as_u64().unwrap_or_default(),
        stats["null_prices"].as_u64().unwrap_or_default(),
    );
    if repeated < corrected || corrected == 0 {
        return Err(Error::unexpected(format!(
            "{repeated} trade ids are repeated, {corrected} were corrected"
        )));
    }
    // A duplicate or a correction of a trade without price has none either.
    let found = answers[1][0][0].as_u64().unwrap_or_default();
    if found < nulls || nulls == 0 {
        return Err(Error::unexpected(format!(
            "{found} prices are null, at least {nulls} must be"
        )));
    }
    equal("types", answers[2][0][0].as_str(), Some("TIMESTAMP WITH TIME ZONE"))?;
    equal("types", answers[2][0][1].as_str(), Some("DOUBLE"))
}

//! Silver from real topics: equal to the fold of bronze, whatever was killed or deleted meanwhile.

use std::path::Path;

use serde_json::Value;
use tapehouse_tests::{Error, Feed, Node, NodeOptions, Servers, Site, Topic, stack};

use crate::support::{PATIENCE, await_rows, equal, with};

const TRADES: u64 = 60_000;

/// Three topics of market data under names of this test's own, and their silver tables.
pub fn market(servers: &Servers, folder: &Path, prefix: &str) -> Result<Site, Error> {
    let topic = |name: &str, table: &str, silver: &str, own_time: &str| {
        format!(
            "[[topics]]\ntopic = \"{prefix}.{name}\"\ntable = \"bronze.{table}\"\nsilver = \"silver.{silver}\"\n\
             timestamp_fields = [\"{own_time}\", \"event_timestamp\"]\nevent_time_field = \"event_timestamp\"\n"
        )
    };
    let settings = [
        "[commit]\nmax_age_ms = 100\n".to_owned(),
        topic("trades", "raw_trades", "trades", "trade_timestamp"),
        topic(
            "orderbook",
            "raw_orderbook",
            "orderbook_snapshots",
            "snapshot_timestamp",
        ),
        topic("marketdata", "raw_marketdata", "market_data", "interval_start"),
    ];
    Site::new(folder, servers, &[], &settings.join(""))
}

fn generate(servers: &Servers, site: &Site, seed: &str) -> Result<(), Error> {
    let options = [
        "--realistic",
        "--corrections",
        "0.1",
        "--duplicates",
        "0.02",
        "--seed",
        seed,
    ];
    for (topic, count) in [
        ("trades", TRADES),
        ("orderbook", TRADES / 4),
        ("marketdata", TRADES / 8),
    ] {
        let count = count.to_string();
        let mut all = vec!["--topic", topic, "--count", &count];
        all.extend(options);
        Feed::of(servers).generate(site, &all)?;
    }
    Ok(())
}

pub fn both_layers(for_ever: bool) -> NodeOptions {
    NodeOptions {
        for_ever,
        arguments: ["--layers", "bronze,silver"].map(str::to_owned).into(),
        ..NodeOptions::default()
    }
}

/// All that is there, in both layers; what the run says of silver.
pub fn catch_up(site: &Site, name: &str) -> Result<Value, Error> {
    let mut node = Node::start(site, name, &both_layers(false))?;
    node.wait_for_code(0, 2 * PATIENCE)?;
    Ok(node.json()?["silver"].clone())
}

pub fn figure(silver: &Value, table: &str, name: &str) -> Option<u64> {
    let mut tables = silver.as_array()?.iter();
    tables.find(|found| found["table"] == table)?[name].as_u64()
}

#[test]
fn silver_is_the_fold_of_bronze_after_kills_and_without_state() {
    with(stack(), "silver", |servers, folder| {
        let site = market(servers, folder, "silver-fold")?;
        generate(servers, &site, "3")?;
        let first = catch_up(&site, "a")?;
        let of_trades = |name: &str| figure(&first, "silver.trades", name).unwrap_or_default();
        for name in ["written", "deduplicated", "dropped"] {
            if of_trades(name) == 0 {
                return Err(Error::unexpected(format!("no trade was {name}: {first}")));
            }
        }
        let told = ["written", "deduplicated", "dropped", "quarantined"]
            .map(of_trades)
            .iter()
            .sum();
        equal("trades accounted for", of_trades("input"), told)?;
        let judged = site.demand_silver()?;
        equal(
            "rows of trades",
            judged["silver.trades"]["found"].as_u64(),
            Some(of_trades("rows")),
        )?;
        // Killed somewhere in the second half of the data, then without its state.
        generate(servers, &site, "4")?;
        let mut node = Node::start(&site, "a", &both_layers(true))?;
        let trades = Topic {
            topic: "silver-fold.trades".to_owned(),
            table: "silver.trades".to_owned(),
        };
        await_rows(&site, &trades, &mut node, of_trades("rows") + 1)?;
        node.kill()?;
        std::fs::remove_dir_all(site.state_dir("a").join("state")).map_err(Error::io("state"))?;
        catch_up(&site, "a")?;
        site.demand_silver()?;
        // Nothing new: nothing is written.
        let again = catch_up(&site, "b")?;
        equal(
            "commits of a run without news",
            figure(&again, "silver.trades", "commits"),
            Some(0),
        )
    });
}

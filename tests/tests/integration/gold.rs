//! Gold from real topics: what the contract's formulas say of silver, after corrections of past days, kills and without `state/`.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tapehouse_tests::{Error, Feed, Node, NodeOptions, Servers, Site, Tools, await_that, run, stack};

use crate::silver::{figure, market};
use crate::support::{PATIENCE, equal, with};

const PREFIX: &str = "gold";
const TRADES: &str = "gold.trades";
const SUMMARY: &str = "gold.daily_trading_summary";
const POSITIONS: &str = "gold.portfolio_positions";
/// From the correction's publication to the repaired gold.
const REPAIRED_WITHIN: Duration = Duration::from_secs(10);

fn all_layers(for_ever: bool) -> NodeOptions {
    NodeOptions {
        for_ever,
        arguments: ["--layers", "bronze,silver,gold"].map(str::to_owned).into(),
        ..NodeOptions::default()
    }
}

fn catch_up(site: &Site, name: &str) -> Result<Value, Error> {
    let mut node = Node::start(site, name, &all_layers(false))?;
    node.wait_for_code(0, 2 * PATIENCE)?;
    Ok(node.json()?["silver"].clone())
}

/// One trade of 2024-06-25 in New York, said again and again: its price, and when that was said.
fn say(servers: &Servers, price: &str, event_us: &str) -> Result<(), Error> {
    let trade = format!(
        r#"[{{"trade_id":"LATE","symbol":"AAPL","price":{price},"quantity":100.0,"side":"BUY","trader_id":"T0001",
            "trade_timestamp":1719327600000000,"event_timestamp":{event_us}}}]"#
    );
    Feed::of(servers).produce(TRADES, 1, &["--overrides", &trade])?;
    Ok(())
}

fn computed_repaired_and_killed(servers: &Servers, folder: &Path) -> Result<(), Error> {
    let site = market(servers, folder, PREFIX)?;
    // A weekend, a half day and a holiday.
    let options = [
        "--historical",
        "2024-06-24..2024-07-09",
        "--trades-per-day",
        "3000",
        "--realistic",
        "--corrections",
        "0.1",
    ];
    let report = Feed::of(servers).generate(
        &site,
        &[&options[..], &["--null-prices", "0.01", "--seed", "5"]].concat(),
    )?;
    equal(
        "no trade is left out",
        &report["topics"]["trades"]["produced"]
            .as_u64()
            .map(|trades| trades >= 33_000),
        &Some(true),
    )?;
    say(servers, "70.5", "1719327600000001")?;
    catch_up(&site, "a")?;
    let rows = site.demand_gold()?;
    equal("days of the overview", &rows["gold.market_overview"], &11.into())?;
    for table in [SUMMARY, "gold.trader_performance", POSITIONS] {
        if rows[table].as_u64().is_none_or(|rows| rows == 0) {
            return Err(Error::unexpected(format!("{table} is empty: {rows}")));
        }
    }
    let commits = |table: &str| site.progress(table).map_or(0, |progress| progress.commits);
    let before = [commits(SUMMARY), commits(POSITIONS)];
    let mut node = Node::start(&site, "a", &all_layers(true))?;
    let started = Instant::now();
    say(servers, "71.25", "1719327600000002")?;
    await_that("both tables are repaired", PATIENCE, || {
        if let Some(status) = node.poll()? {
            return Err(Error::unexpected(format!(
                "the node ended with {status}:\n{}",
                node.log()
            )));
        }
        Ok(commits(SUMMARY) > before[0] && commits(POSITIONS) > before[1])
    })?;
    if started.elapsed() > REPAIRED_WITHIN {
        return Err(Error::unexpected(format!("repaired after {:?}", started.elapsed())));
    }
    site.demand_gold()?;
    // It dies while it repairs, and comes back with nothing that it remembered.
    say(servers, "69.75", "1719327600000003")?;
    await_that("the first table is repaired", PATIENCE, || {
        Ok(commits(SUMMARY) > before[0] + 1)
    })?;
    node.kill()?;
    std::fs::remove_dir_all(site.state_dir("a").join("state")).map_err(Error::io("state"))?;
    catch_up(&site, "a")?;
    site.demand_gold()?;
    let again = catch_up(&site, "b")?;
    for table in [SUMMARY, POSITIONS] {
        equal(
            "commits of a run without news",
            figure(&again, table, "commits"),
            Some(0),
        )?;
    }
    Ok(())
}

#[test]
fn gold_is_what_silver_says_after_corrections_kills_and_without_state() {
    with(stack(), "gold", computed_repaired_and_killed);
}

#[test]
fn demo_of_past_days_ends_with_all_gold_tables() {
    let tools = Tools::locate().expect("the node and Python");
    let mut demo = std::process::Command::new(tools.node());
    demo.args([
        "demo",
        "--historical",
        "2024-07-01..2024-07-05",
        "--trades-per-day",
        "2000",
        "-o",
        "json",
    ]);
    let answer = run(demo)
        .and_then(|output| output.expect(&[0])?.json())
        .expect("a demo");
    assert_eq!(answer["verify"], "ok");
    assert_eq!(
        answer["days"],
        serde_json::json!(["2024-07-01", "2024-07-02", "2024-07-03", "2024-07-05"])
    );
    assert_eq!(answer["gold_rows"]["gold.market_overview"], 4);
    for table in [SUMMARY, "gold.trader_performance", POSITIONS] {
        assert!(
            answer["gold_rows"][table].as_u64().is_some_and(|rows| rows > 0),
            "{answer}"
        );
    }
    let folder = answer["dir"].as_str().expect("its folder");
    std::fs::remove_dir_all(folder).expect("the demo's folder is removed");
}

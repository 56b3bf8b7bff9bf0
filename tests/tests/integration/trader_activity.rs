//! `silver.trader_activity` from a real topic: what the trades say, whatever moved, was killed or deleted meanwhile.

use std::path::Path;

use tapehouse_tests::{Error, Feed, Node, Servers, Site, await_that, stack};

use crate::silver::{both_layers, catch_up, figure, market};
use crate::support::{PATIENCE, equal, with};

const TABLE: &str = "silver.trader_activity";
const TRADES: &str = "30000";

/// Trades over some four days from `start` on: the same ids for every start.
fn generate(servers: &Servers, site: &Site, start: &str) -> Result<(), Error> {
    let options = [
        "--topic",
        "trades",
        "--count",
        TRADES,
        "--realistic",
        "--corrections",
        "0.1",
        "--null-prices",
        "0.01",
        "--seed",
        "3",
        "--start",
        start,
        "--event-rate",
        "0.1",
    ];
    Feed::of(servers).generate(site, &options)?;
    Ok(())
}

/// Both oracles; rows of the activity.
fn demand(site: &Site) -> Result<Option<u64>, Error> {
    site.demand_silver()?;
    Ok(site.demand_activity()?[TABLE]["duckdb"].as_u64())
}

fn moved_and_killed(servers: &Servers, folder: &Path) -> Result<(), Error> {
    let site = market(servers, folder, "activity")?;
    generate(servers, &site, "2026-03-06T15:00:00Z")?;
    let first = catch_up(&site, "a")?;
    let rows = demand(&site)?;
    equal("rows told", figure(&first, TABLE, "rows"), rows)?;
    if rows.is_none_or(|rows| rows == 0) {
        return Err(Error::unexpected(format!("no activity: {first}")));
    }
    // Every trade again, 31 hours later and over the change of the clock: it moves to another hour, and mostly to another day.
    let before = site.progress(TABLE).map_or(0, |progress| progress.commits);
    let mut options = both_layers(true);
    options
        .arguments
        .extend(["--set", "silver.activity_debounce_ms=100"].map(str::to_owned));
    let mut node = Node::start(&site, "a", &options)?;
    generate(servers, &site, "2026-03-07T22:00:00Z")?;
    await_that("a commit of activity", PATIENCE, || {
        if let Some(status) = node.poll()? {
            return Err(Error::unexpected(format!(
                "the node ended with {status}:\n{}",
                node.log()
            )));
        }
        Ok(site.progress(TABLE).is_some_and(|progress| progress.commits > before))
    })?;
    node.kill()?;
    std::fs::remove_dir_all(site.state_dir("a").join("state")).map_err(Error::io("state"))?;
    catch_up(&site, "a")?;
    demand(&site)?;
    let again = catch_up(&site, "b")?;
    equal(
        "commits of a run without news",
        figure(&again, TABLE, "commits"),
        Some(0),
    )
}

#[test]
fn activity_is_what_the_trades_say_after_moves_kills_and_without_state() {
    with(stack(), "trader-activity", moved_and_killed);
}

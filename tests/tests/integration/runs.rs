//! Runs and backfills of a real node: asked for without one, computed by one that is killed meanwhile, each day once.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tapehouse_tests::{Error, Feed, Node, NodeOptions, Servers, Site, await_that, stack};

use crate::silver::market;
use crate::support::{PATIENCE, equal, with};

/// 120 sessions.
const DAYS: [&str; 2] = ["2024-03-01", "2024-08-21"];
const NODE: &str = "a";

fn all_layers(for_ever: bool) -> NodeOptions {
    NodeOptions {
        for_ever,
        arguments: ["--layers", "bronze,silver,gold"].map(str::to_owned).into(),
        ..NodeOptions::default()
    }
}

/// A command with the state folder of the node.
fn asked(site: &Site, arguments: &[&str]) -> Result<Value, Error> {
    let folder = site.state_dir(NODE).display().to_string();
    let further = ["--state-dir", folder.as_str(), "-o", "json"];
    site.command(&[arguments, &further[..]].concat())?.expect(&[0])?.json()
}

fn succeeded(site: &Site) -> Result<u64, Error> {
    let backfill = asked(site, &["backfill", "show", "h1"])?;
    Ok(backfill["succeeded"].as_u64().unwrap_or(0))
}

/// Every (table, day) that a run of the backfill has succeeded with, and how many runs that were.
fn computed(site: &Site) -> Result<(BTreeSet<(String, String)>, usize), Error> {
    let runs = asked(
        site,
        &[
            "runs",
            "list",
            "--backfill",
            "h1",
            "--state",
            "succeeded",
            "--last",
            "1000",
        ],
    )?;
    let runs = runs["runs"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let days = runs.iter().map(|run| (text(&run["table"]), text(&run["day"])));
    Ok((days.collect(), runs.len()))
}

fn backfilled(servers: &Servers, folder: &Path) -> Result<(), Error> {
    let site = market(servers, folder, "runs")?;
    let range = format!("{}..{}", DAYS[0], DAYS[1]);
    let options = ["--topic", "trades", "--historical", &range, "--trades-per-day", "200"];
    Feed::of(servers).generate(&site, &options)?;
    let mut node = Node::start(&site, NODE, &all_layers(false))?;
    node.wait_for_code(0, 2 * PATIENCE)?;
    site.demand_gold()?;
    // The node has ended: its ledger is read from the folder.
    let live = asked(
        &site,
        &["runs", "list", "--table", "gold.market_overview", "--last", "1000"],
    )?;
    let live = live["runs"].as_array().map_or(0, Vec::len);
    if live < 120 {
        return Err(Error::unexpected(format!("{live} runs of the overview")));
    }
    let create = [
        "backfill", "create", "--asset", "gold", "--from", DAYS[0], "--to", DAYS[1],
    ];
    let planned = asked(&site, &[&create[..], &["--dry-run"]].concat())?;
    equal("days planned", planned["days"].as_array().map_or(0, Vec::len), 480)?;
    let named = [&create[..], &["--nonce", "h1"]].concat();
    for _ in 0..2 {
        let made = asked(&site, &named)?;
        equal("days that wait", &made["waiting"], &480.into())?;
    }
    equal(
        "state",
        &asked(&site, &["backfill", "pause", "h1"])?["state"],
        &"paused".into(),
    )?;
    let mut node = Node::start(&site, NODE, &all_layers(true))?;
    await_that("the node answers", PATIENCE, || Ok(node.get("/readyz").is_ok()))?;
    equal("none computed while it is paused", succeeded(&site)?, 0)?;
    asked(&site, &["backfill", "resume", "h1"])?;
    await_that("some days are computed", PATIENCE, || Ok(succeeded(&site)? > 0))?;
    node.kill()?;
    std::fs::remove_dir_all(site.state_dir(NODE).join("state")).map_err(Error::io("state"))?;
    let _node = Node::start(&site, NODE, &all_layers(true))?;
    await_that("all days are computed", 2 * PATIENCE, || Ok(succeeded(&site)? == 480))?;
    let (days, runs) = computed(&site)?;
    equal("each day of each table once", (days.len(), runs), (480, 480))?;
    let materialized = asked(
        &site,
        &[
            "materialize",
            "gold.daily_trading_summary+",
            "--partition",
            "2024-07-05",
        ],
    )?;
    equal("the day in both tables", &materialized["succeeded"], &2.into())?;
    let last = asked(&site, &["runs", "list", "--last", "1"])?;
    let id = last["runs"][0]["id"].to_string();
    let log = asked(&site, &["runs", "logs", &id])?;
    equal("its log begins", &log["log"][0]["text"], &"asked for: operator".into())?;
    let again = asked(&site, &["runs", "retry", &id])?;
    equal("its day once more", &again["day"], &"2024-07-05".into())?;
    let again = again["id"].to_string();
    await_that("the new run succeeds", PATIENCE, || {
        Ok(asked(&site, &["runs", "show", &again])?["state"] == "succeeded")
    })?;
    scheduled(&site)?;
    site.demand_gold()?;
    Ok(())
}

/// What a node does at a time of day can be put off, and done now.
fn scheduled(site: &Site) -> Result<(), Error> {
    let schedules = asked(site, &["schedules", "list"])?;
    let names = ["silver", "gold", "monthly-recompute"];
    for (place, name) in names.into_iter().enumerate() {
        equal("schedule", &schedules["schedules"][place]["name"], &name.into())?;
    }
    let paused = asked(site, &["schedules", "pause", "gold"])?;
    equal("it does not fire", &paused["schedules"][0]["next"], &Value::Null)?;
    asked(site, &["schedules", "resume", "gold"])?;
    let triggered = asked(site, &["schedules", "trigger", "gold"])?;
    equal("it enters no backfill", &triggered["backfill"], &Value::Null)?;
    let schedules = asked(site, &["schedules", "list"])?;
    equal("it has fired", &schedules["schedules"][1]["last"].is_string(), &true)
}

#[test]
fn a_backfill_survives_its_node_and_computes_each_day_once() {
    with(stack(), "runs", backfilled);
}

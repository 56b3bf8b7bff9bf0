//! Rows that rules set aside: recorded once whatever is killed, and part of silver once that is decided.

use std::path::Path;

use serde_json::Value;
use tapehouse_tests::{Error, Feed, Node, NodeOptions, Servers, Site, Topic, await_that, stack};

use crate::support::{PATIENCE, await_rows, equal, with};

const TRADES: u64 = 4_000;
/// Each so many trades one is spoilt, in turn in four ways.
const SPOIL_EVERY: u64 = 100;
const SPOILT: u64 = TRADES / SPOIL_EVERY;

const SILVER: &str = "silver.trades";

fn trades(servers: &Servers, folder: &Path, topic: &str) -> Result<Site, Error> {
    Feed::of(servers).admin(&["create", topic, "2"])?;
    let settings = format!(
        "[commit]\nmax_age_ms = 100\n[[topics]]\ntopic = \"{topic}\"\ntable = \"bronze.raw_trades\"\nsilver = \"{SILVER}\"\n"
    );
    Site::new(folder, servers, &[], &settings)
}

fn spoilt_trades(servers: &Servers, topic: &str, first: u64) -> Result<(), Error> {
    let (first, every) = (first.to_string(), SPOIL_EVERY.to_string());
    let options = ["--first", &first, "--spoil-every", &every];
    Feed::of(servers).produce(topic, TRADES, &options).map(drop)
}

fn layers(for_ever: bool, failpoint: Option<&str>) -> NodeOptions {
    NodeOptions {
        for_ever,
        failpoint: failpoint.map(str::to_owned),
        arguments: ["--layers", "bronze,silver"].map(str::to_owned).into(),
        ..NodeOptions::default()
    }
}

fn catch_up(site: &Site, name: &str) -> Result<(), Error> {
    Node::start(site, name, &layers(false, None))?.wait_for_code(0, 2 * PATIENCE)
}

fn quarantine(site: &Site, code: i32, arguments: &[&str]) -> Result<Value, Error> {
    let mut all = vec!["quarantine"];
    all.extend(arguments);
    all.extend(["-o", "json"]);
    let output = site.command(&all)?.expect(&[code])?;
    if code == 0 { output.json() } else { Ok(Value::Null) }
}

/// The open rows, by rule.
fn open(site: &Site, rule: &str) -> Result<Vec<String>, Error> {
    let listed = quarantine(
        site,
        0,
        &["list", "--open", "--rule", rule, "--table", "trades", "--limit", "1000"],
    )?;
    let rows = listed["rows"].as_array().cloned().unwrap_or_default();
    Ok(rows
        .iter()
        .filter_map(|row| row["id"].as_str().map(str::to_owned))
        .collect())
}

/// Side of the row, once it is there.
fn side(site: &Site, topic: &Topic, id: &str) -> Result<Option<Value>, Error> {
    let parts: Vec<&str> = id.split('-').collect();
    let query = format!(
        "SELECT side FROM t WHERE kafka_partition = {} AND kafka_offset = {}",
        parts[2], parts[3]
    );
    let rows = site.query(topic, &[&query])?;
    Ok(rows[0]
        .as_array()
        .and_then(|rows| rows.first())
        .map(|row| row[0].clone()))
}

#[test]
fn rows_set_aside_are_recorded_once_and_come_in_when_it_is_decided() {
    with(stack(), "quarantine", |servers, folder| {
        let name = "quarantine.trades";
        let site = trades(servers, folder, name)?;
        let table = Topic {
            topic: name.to_owned(),
            table: SILVER.to_owned(),
        };
        spoilt_trades(servers, name, 0)?;
        // Killed between the two commits: what is recorded then is met again.
        let mut node = Node::start(&site, "a", &layers(false, Some("after_quarantine_commit:kill")))?;
        node.wait_for_death(PATIENCE)?;
        equal("points that fired", node.fired().len(), 1)?;
        catch_up(&site, "a")?;
        equal("negative ones", open(&site, "negative")?.len() as u64, SPOILT / 2)?;
        equal("unknown sides", open(&site, "unknown_side")?.len() as u64, SPOILT / 4)?;
        let judged = site.demand_silver()?;
        equal("set aside", judged[SILVER]["quarantined"].as_u64(), Some(SPOILT))?;
        decide(&site, &table)?;
        rebuild(servers, &site, &table)
    });
}

fn decide(site: &Site, table: &Topic) -> Result<(), Error> {
    let mut node = Node::start(site, "b", &layers(true, None))?;
    let rows = TRADES - SPOILT;
    await_rows(site, table, &mut node, rows)?;
    // All that are negative: half of them have an unknown side too, which is another row then.
    let shown = quarantine(site, 0, &["replay", "--all", "--rule", "negative", "--dry-run"])?;
    equal(
        "rows shown",
        shown["rows"].as_array().map(Vec::len),
        Some(SPOILT as usize / 2),
    )?;
    equal("open after a dry run", open(site, "negative")?.len() as u64, SPOILT / 2)?;
    quarantine(site, 1, &["replay", "--all", "--rule", "negative"])?;
    let note = ["--yes", "--note", "credits", "--by", "operator"];
    quarantine(
        site,
        0,
        &[&["replay", "--all", "--rule", "negative"][..], &note].concat(),
    )?;
    await_rows(site, table, &mut node, rows + SPOILT / 4)?;
    await_that("rows of both rules", PATIENCE, || {
        Ok(open(site, "unknown_side")?.len() as u64 == SPOILT / 2)
    })?;
    equal("negative ones left", open(site, "negative")?.len(), 0)?;
    // One of both rules, the second of them waived too: its side is as it was received.
    let negative = quarantine(site, 0, &["list", "--rule", "negative", "--limit", "1000"])?;
    let unknown = open(site, "unknown_side")?;
    let mut both = negative["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row["id"].as_str());
    let both = both
        .find(|id| unknown.iter().any(|other| other == id))
        .unwrap_or_default();
    quarantine(site, 0, &["replay", both, "--yes"])?;
    await_rows(site, table, &mut node, rows + SPOILT / 4 + 1)?;
    equal("its side", side(site, table, both)?, Some(Value::from("HOLD")))?;
    let shown = quarantine(site, 0, &["show", both])?;
    equal("its decisions", shown["decisions"].as_array().map(Vec::len), Some(2))?;
    equal("its price", shown["row"]["price"].as_f64(), Some(-2.5))?;
    // What is decided stays decided, and no number comes of none.
    quarantine(site, 1, &["drop", both, "--yes"])?;
    let nan = open(site, "not_finite")?;
    quarantine(site, 1, &["replay", &nan[0], "--yes"])?;
    quarantine(site, 0, &["drop", &nan[0], "--yes"])?;
    equal("numbers left", open(site, "not_finite")?.len(), nan.len() - 1)?;
    quarantine(site, 1, &["show", "trades-0-0-999999"])?;
    await_that("the decisions are applied", PATIENCE, || {
        let state = site.metadata(SILVER).unwrap_or_default()["properties"]["tapehouse.state"].clone();
        let state: Value = serde_json::from_str(state.as_str().unwrap_or("{}")).unwrap_or_default();
        Ok(state["decisions"].as_u64() == Some(SPOILT / 2 + 2))
    })?;
    node.kill()?;
    let judged = site.demand_silver()?;
    equal("rows", judged[SILVER]["found"].as_u64(), Some(rows + SPOILT / 4 + 1))
}

fn rebuild(servers: &Servers, site: &Site, table: &Topic) -> Result<(), Error> {
    let rows = TRADES - SPOILT + SPOILT / 4 + 1;
    let before = site.query(
        table,
        &["SELECT md5(string_agg(COLUMNS(*)::VARCHAR, ';' ORDER BY trade_id)) FROM t"],
    )?;
    site.command(&["rebuild", SILVER])?.expect(&[1])?;
    let made = site
        .command(&["rebuild", "trades", "--yes", "-o", "json"])?
        .expect(&[0])?
        .json()?;
    equal("rows made anew", made["silver"]["rows"].as_u64(), Some(rows))?;
    equal("generation", made["generation"].as_u64(), Some(1))?;
    site.demand_silver()?;
    let after = site.query(
        table,
        &["SELECT md5(string_agg(COLUMNS(*)::VARCHAR, ';' ORDER BY trade_id)) FROM t"],
    )?;
    equal("content", after, before)?;
    // A row with both rules waived is none that is set aside; one with the first waived is set aside by the second alone.
    let negative = quarantine(site, 0, &["list", "--rule", "negative"])?;
    equal("waived ones", negative["total"].as_u64(), Some(0))?;
    equal(
        "dropped ones stay",
        open(site, "not_finite")?.len() as u64,
        SPOILT / 4 - 1,
    )?;
    // And it goes on from there.
    spoilt_trades(servers, &table.topic, TRADES)?;
    catch_up(site, "c")?;
    let judged = site.demand_silver()?;
    equal(
        "rows at last",
        judged[SILVER]["found"].as_u64(),
        Some(rows + TRADES - SPOILT),
    )
}

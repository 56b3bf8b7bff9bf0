//! What a user sees of silver: the correction of T001 from publishing to `explain`, `verify`, `status` and `tables show`.

use std::path::Path;

use serde_json::{Value, json};
use tapehouse_tests::{Error, Feed, Node, NodeOptions, Servers, Site, stack};

use crate::support::{PATIENCE, equal, with};

const TOPIC: &str = "silver-eyes.trades";
const NOON_US: i64 = 1_767_614_400_000_000;

fn place(servers: &Servers, folder: &Path) -> Result<Site, Error> {
    let settings = format!(
        "[commit]\nmax_age_ms = 100\n[[topics]]\ntopic = \"{TOPIC}\"\ntable = \"bronze.raw_trades\"\nsilver = \"silver.trades\"\n\
         timestamp_fields = [\"trade_timestamp\", \"event_timestamp\"]\nevent_time_field = \"event_timestamp\"\n"
    );
    Feed::of(servers).admin(&["create", TOPIC, "1"])?;
    Site::new(folder, servers, &[], &settings)
}

fn catch_up(site: &Site) -> Result<(), Error> {
    let options = NodeOptions {
        arguments: ["--layers", "bronze,silver"].map(str::to_owned).into(),
        ..NodeOptions::default()
    };
    Node::start(site, "a", &options)?.wait_for_code(0, PATIENCE)
}

/// What a command answers, which ends with this code.
fn asked(site: &Site, arguments: &[&str], code: i32) -> Result<Value, Error> {
    let mut all = arguments.to_vec();
    all.extend(["-o", "json"]);
    site.command(&all)?.expect(&[code])?.json()
}

/// How the silver table of the one topic stands.
fn standing(site: &Site) -> Result<Value, Error> {
    Ok(asked(site, &["status"], 0)?["topics"][0]["silver"].clone())
}

fn version(price: f64, event_us: i64) -> Value {
    json!({
        "trade_id": "T001", "symbol": " aapl", "side": "buy", "price": price,
        "trade_timestamp": NOON_US, "event_timestamp": NOON_US + event_us,
    })
}

#[test]
fn a_correction_is_one_row_and_explained() {
    with(stack(), "silver-eyes", |servers, folder| {
        let site = place(servers, folder)?;
        let overrides = json!([version(150.25, 1), version(150.30, 2), { "side": "HOLD" }]).to_string();
        Feed::of(servers).produce(TOPIC, 10, &["--overrides", &overrides])?;
        catch_up(&site)?;
        let story = asked(&site, &["explain", "trade", "T001"], 0)?;
        equal("answer", &story["answer"], &json!("row"))?;
        equal("price", &story["row"]["values"]["price"], &json!("150.3"))?;
        equal("symbol", &story["row"]["values"]["symbol"], &json!("AAPL"))?;
        let fates: Vec<(&Value, &Value)> = story["records"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|record| (&record["record"]["offset"], &record["fate"]))
            .collect();
        equal(
            "fates",
            fates,
            vec![(&json!(1), &json!("won")), (&json!(0), &json!("lost"))],
        )?;
        equal("lost to", &story["records"][1]["to"]["offset"], &json!(1))?;
        equal(
            "what lost",
            &story["records"][1]["differing"]["price"],
            &json!("150.25"),
        )?;
        let summary = &site.metadata("silver.trades").unwrap_or_default()["snapshots"][0]["summary"];
        equal("deduplicated", &summary["tapehouse.deduplicated"], &json!("1"))?;
        // Of a record, and of what a rule has kept out.
        let lost = asked(&site, &["explain", TOPIC, "0", "0"], 0)?;
        equal("answer of bronze", &lost["answer"], &json!("committed"))?;
        equal("fate", &lost["silver"]["record"]["fate"], &json!("lost"))?;
        equal("row of its key", &lost["silver"]["row"]["record"]["offset"], &json!(1))?;
        let held = asked(&site, &["explain", "trade", "F000000002"], 0)?;
        equal("no row", &held["answer"], &json!("no_row"))?;
        equal("rule", &held["records"][0]["rule"], &json!("unknown_side"))?;
        let unknown = asked(&site, &["explain", "trade", "T002"], 3)?;
        equal("unknown", &unknown["answer"], &json!("unknown_key"))?;
        let days = asked(&site, &["partitions", "list", "--table", "silver.trades"], 0)?;
        equal("day", &days["partitions"][0]["day"], &json!("2026-01-05"))?;
        equal("kind of day", &days["partitions"][0]["kind"], &json!("session"))?;
        let up_to_date = standing(&site)?;
        equal("standing", &up_to_date["standing"], &json!("up_to_date"))?;
        equal("quarantined", &up_to_date["quarantined"], &json!({ "unknown_side": 1 }))?;
        equal("no lag", &up_to_date["lag"], &json!(0))?;
        after_a_further_correction(servers, &site)
    });
}

/// What silver lacks, has and shows when the next version comes.
fn after_a_further_correction(servers: &Servers, site: &Site) -> Result<(), Error> {
    // Bronze alone goes on: the next correction is in it and not merged.
    let overrides = json!([version(150.35, 3)]).to_string();
    Feed::of(servers).produce(TOPIC, 1, &["--overrides", &overrides])?;
    site.catch_up("a", PATIENCE)?;
    let waiting = asked(site, &["explain", "trade", "T001"], 0)?;
    equal("fate", &waiting["records"][0]["fate"], &json!("not_merged"))?;
    equal("price so far", &waiting["row"]["values"]["price"], &json!("150.3"))?;
    let behind = standing(site)?;
    equal("lag", &behind["lag"], &json!(1))?;
    equal("partition", &behind["partitions"][0]["merged_next_offset"], &json!(10))?;
    asked(site, &["verify"], 0)?;
    catch_up(site)?;
    let story = asked(site, &["explain", "trade", "T001"], 0)?;
    equal("price", &story["row"]["values"]["price"], &json!("150.35"))?;
    let verified = asked(site, &["verify", "--table", "silver.trades"], 0)?;
    equal("rows compared", &verified["tables"][0]["source_rows"], &json!(11))?;
    equal("rows", &verified["tables"][0]["rows"], &json!(8))?;
    let shown = asked(site, &["tables", "show", "silver.trades"], 0)?;
    equal("rows shown", &shown["rows"], &json!(8))?;
    equal("data files", shown["files"]["data"]["files"].as_u64() >= Some(2), true)?;
    equal("deleted rows", &shown["files"]["position_deletes"]["rows"], &json!(1))?;
    equal(
        "partition",
        &shown["files"]["partitions"][0]["partition"],
        &json!("trade_date=2026-01-05"),
    )?;
    equal("cursor", &shown["cursor"]["next_offsets"]["0"]["0"], &json!(11))?;
    equal("written", &shown["commits"][0]["counts"]["written"], &json!(1))?;
    let mut commits = shown["commits"].as_array().into_iter().flatten();
    let has_rule = commits.any(|commit| commit["counts"]["quarantined.unknown_side"] == json!(1));
    equal("a commit counts the rule", has_rule, true)?;
    equal(
        "key comment",
        &shown["columns"][0]["comment"],
        &json!("Names the trade; the key"),
    )?;
    let of_bronze = asked(site, &["tables", "show", "bronze.raw_trades"], 0)?;
    equal("rows of bronze", &of_bronze["rows"], &json!(11))?;
    equal(
        "offsets of bronze",
        &of_bronze["cursor"]["next_offsets"]["0"]["0"],
        &json!(11),
    )
}

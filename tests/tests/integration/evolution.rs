//! Schemas that change while a node runs: `feeds/evolution.py` makes the stages and judges the rows.

use serde_json::Value;
use tapehouse_tests::{Error, stack};

use crate::support::{await_answer, await_rows, equal, forever, judge_by, send_by, site, with};

const FEED: &str = "feeds/evolution.py";

/// Stages that a table can follow, in the order in which a producer would go through them.
const FOLLOWED: [&str; 7] = ["base", "added", "removed", "promoted", "reordered", "nested", "renamed"];
/// Stages that it cannot follow.
const CONFLICTS: [&str; 5] = [
    "text_for_number",
    "bytes_for_text",
    "double_for_long",
    "other_scale",
    "nested_text",
];

/// The columns have the types that hold all that was sent.
fn widest(types: &Value) -> Result<(), Error> {
    let level = "struct<";
    for (column, of) in [
        ("qty", "long"),
        ("ratio", "double"),
        ("amount", "decimal(18, 2)"),
        ("note", "string"),
        ("remark", "string"),
    ] {
        equal(column, types[column].as_str(), Some(of))?;
    }
    for column in ["top", "bids"] {
        let of = types[column].as_str().unwrap_or_default();
        let has = [
            "size: optional long",
            "orders: optional int",
            "makers: optional list<string>",
        ]
        .map(|part| of.contains(part));
        equal(column, (of.contains(level), has), (true, [true; 3]))?;
    }
    Ok(())
}

#[test]
fn a_table_follows_its_producers_step_by_step() {
    with(stack(), "evolution", |servers, folder| {
        let (site, topic) = site(servers, folder, "evolution.steps", 2)?;
        let sent = send_by(FEED, servers, &site, &topic, &FOLLOWED[..1])?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, sent)?;
        for stage in FOLLOWED[1..].iter().chain(&CONFLICTS) {
            // The producers of before go on beside the new ones.
            let sent = send_by(FEED, servers, &site, &topic, &["base", stage])?;
            await_rows(&site, &topic, &mut node, sent)?;
        }
        let conflicts = format!(
            "tapehouse_schema_conflicts_total{{topic=\"{}\"}} {}",
            topic.topic,
            CONFLICTS.len()
        );
        await_answer(&node, "/metrics", &conflicts)?;
        drop(node);
        site.demand(&topic, None)?;
        widest(&judge_by(FEED, &site, &topic)?["types"])
    });
}

#[test]
fn schemas_that_alternate_from_record_to_record_come_together() {
    with(stack(), "alternating", |servers, folder| {
        let (site, topic) = site(servers, folder, "evolution.alternating", 2)?;
        let stages = [&FOLLOWED[..], &CONFLICTS].concat();
        let sent = send_by(FEED, servers, &site, &topic, &stages)?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, sent)?;
        drop(node);
        // A node that starts on the table as it has become.
        let sent = send_by(FEED, servers, &site, &topic, &["renamed", "base", "promoted", "nested_text"])?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, sent)?;
        drop(node);
        site.demand(&topic, Some(sent))?;
        widest(&judge_by(FEED, &site, &topic)?["types"])
    });
}

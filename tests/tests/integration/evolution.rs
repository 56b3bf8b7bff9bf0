//! Schemas that change while a node runs: `feeds/evolution.py` makes the stages and judges the rows.

use serde_json::Value;
use tapehouse_tests::{Error, Servers, Site, Topic, run, stack};

use crate::support::{await_rows, equal, forever, site, with};

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

/// Sends records of these stages in turn; how many have been sent in all.
fn send(servers: &Servers, site: &Site, topic: &Topic, stages: &[&str]) -> Result<u64, Error> {
    let mut send = site.tools().python("feeds/evolution.py");
    send.args([
        "send",
        "--bootstrap",
        servers.bootstrap(),
        "--registry",
        servers.registry(),
    ]);
    send.args(["--topic", &topic.topic, "--sent"])
        .arg(site.folder().join("sent.json"))
        .args(stages);
    let sent = run(send)?.expect(&[0])?.json()?;
    sent["sent"]
        .as_u64()
        .ok_or_else(|| Error::unexpected(format!("no count in {sent}")))
}

/// Both readers see each row as it was sent; the types of the columns.
fn judge(site: &Site, topic: &Topic) -> Result<Value, Error> {
    let mut judge = site.tools().python("feeds/evolution.py");
    judge
        .arg("judge")
        .arg(site.catalog())
        .arg(&topic.table)
        .arg(site.folder().join("sent.json"));
    let judged = run(judge)?.expect(&[0, 3])?.json()?;
    equal("violations", judged["violations"].as_array().cloned(), Some(Vec::new()))?;
    Ok(judged["types"].clone())
}

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
        let sent = send(servers, &site, &topic, &FOLLOWED[..1])?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, sent)?;
        for stage in FOLLOWED[1..].iter().chain(&CONFLICTS) {
            // The producers of before go on beside the new ones.
            let sent = send(servers, &site, &topic, &["base", stage])?;
            await_rows(&site, &topic, &mut node, sent)?;
        }
        let conflicts = format!(
            "tapehouse_schema_conflicts_total{{topic=\"{}\"}} {}",
            topic.topic,
            CONFLICTS.len()
        );
        equal("the alert's metric", node.metrics()?.contains(&conflicts), true)?;
        drop(node);
        site.demand(&topic, None)?;
        widest(&judge(&site, &topic)?)
    });
}

#[test]
fn schemas_that_alternate_from_record_to_record_come_together() {
    with(stack(), "alternating", |servers, folder| {
        let (site, topic) = site(servers, folder, "evolution.alternating", 2)?;
        let stages = [&FOLLOWED[..], &CONFLICTS].concat();
        let sent = send(servers, &site, &topic, &stages)?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, sent)?;
        drop(node);
        // A node that starts on the table as it has become.
        let sent = send(servers, &site, &topic, &["renamed", "base", "promoted", "nested_text"])?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, sent)?;
        drop(node);
        site.demand(&topic, Some(sent))?;
        widest(&judge(&site, &topic)?)
    });
}

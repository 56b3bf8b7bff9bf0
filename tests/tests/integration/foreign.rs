//! Other engines write to a bronze table between our commits: nothing of ours is lost, and `verify` names what they did.

use std::process::Command;

use tapehouse_tests::{Error, Feed, Site, Topic, run, stack};

use crate::support::{await_rows, equal, forever, site, with};

fn foreign(site: &Site, topic: &Topic, action: &[&str]) -> Result<(), Error> {
    let mut command: Command = site.tools().python("feeds/foreign.py");
    command.arg(site.catalog()).arg(&topic.table).args(action);
    run(command)?.expect(&[0]).map(|_| ())
}

#[test]
fn appends_and_schema_changes_of_others_do_no_harm() {
    with(stack(), "foreign", |servers, folder| {
        let (site, topic) = site(servers, folder, "foreign.writes", 2)?;
        let feed = Feed::of(servers);
        let mut node = forever(&site, "a")?;
        let changes: [&[&str]; 4] = [
            &["append", "10"],
            &["add-column", "remark"],
            &["rename-column", "exchange", "venue"],
            &["drop-column", "trader_id"],
        ];
        for (round, change) in (1u64..).zip(changes) {
            let first = ((round - 1) * 1000).to_string();
            feed.produce(&topic.topic, 1000, &["--first", &first])?;
            await_rows(&site, &topic, &mut node, round * 1000 + if round > 1 { 10 } else { 0 })?;
            foreign(&site, &topic, change)?;
        }
        // A pipeline that is built anew finds the schema as the others left it.
        drop(node);
        feed.produce(&topic.topic, 1000, &["--first", "4000"])?;
        site.catch_up("a", crate::support::PATIENCE)?;
        let verify = site.ask_verify(&topic, &["--deep"])?;
        equal("violations", verify.violations, Vec::new())?;
        let table = &verify.answer["tables"][0];
        equal("rows", table["rows"].as_u64(), Some(5010))?;
        equal("rows of others", table["rows_without_coordinates"].as_u64(), Some(10))?;
        let found = site.query(
            &topic,
            &[
                "SELECT count(*), count(DISTINCT trade_id), count(decode_error) FROM t WHERE kafka_offset IS NOT NULL",
                "SELECT count(*) FROM t WHERE kafka_offset IS NOT NULL AND trader_id IS NOT NULL",
            ],
        )?;
        equal("our rows", found[0].to_string(), "[[5000,5000,0]]".to_owned())?;
        // The dropped column came back with the first schema that has it, and is filled from there on.
        equal(
            "rows with the column that came back",
            found[1][0][0].as_u64(),
            Some(1000),
        )
    });
}

#[test]
fn rows_that_others_delete_are_named_and_ours_go_on() {
    with(stack(), "deleted", |servers, folder| {
        let (site, topic) = site(servers, folder, "foreign.deletes", 1)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 1000, &[])?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, 1000)?;
        foreign(&site, &topic, &["delete", "30"])?;
        feed.produce(&topic.topic, 1000, &["--first", "1000"])?;
        await_rows(&site, &topic, &mut node, 1970)?;
        drop(node);
        let verify = site.ask_verify(&topic, &[])?;
        let says = |violations: &[String], what: &str| violations.iter().any(|violation| violation.contains(what));
        equal(
            "verify names the snapshot",
            says(&verify.violations, "another engine removed 30 rows"),
            true,
        )?;
        let deep = site.ask_verify(&topic, &["--deep"])?;
        equal(
            "verify --deep names the records",
            says(&deep.violations, "30 records of Kafka have no row"),
            true,
        )?;
        equal("violations besides", deep.violations.len(), 2)
    });
}

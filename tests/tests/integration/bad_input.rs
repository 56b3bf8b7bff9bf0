//! Everything that can be in a topic, each with its documented result: `feeds/inputs.py` names the cases and judges the rows.

use std::path::Path;

use serde_json::Value;
use tapehouse_tests::{Error, Feed, Servers, Site, Topic, run, stack};

use crate::support::{await_rows, equal, forever, with};

/// A site for one topic of odd records and a sound one beside it.
fn with_neighbour(servers: &Servers, folder: &Path, name: &str) -> Result<(Site, Topic, Topic), Error> {
    let (odd, sound) = (
        Topic::named(&format!("input.{name}")),
        Topic::named(&format!("input.{name}.sound")),
    );
    let feed = Feed::of(servers);
    feed.admin(&["create", &odd.topic, "2", "max.message.bytes=8000000"])?;
    feed.admin(&["create", &sound.topic, "1"])?;
    let topics = [odd.clone(), sound.clone()];
    let site = Site::new(folder, servers, &topics, "[commit]\nmax_age_ms = 100")?;
    Ok((site, odd, sound))
}

/// Sends the cases (all, if none is named); how many records there are.
fn send(servers: &Servers, site: &Site, topic: &Topic, only: &[&str]) -> Result<u64, Error> {
    let mut send = site.tools().python("feeds/inputs.py");
    send.args([
        "send",
        "--bootstrap",
        servers.bootstrap(),
        "--registry",
        servers.registry(),
    ]);
    send.args(["--topic", &topic.topic, "--out"])
        .arg(site.folder().join("sent.json"));
    only.iter().for_each(|case| {
        send.args(["--only", case]);
    });
    let sent = run(send)?.expect(&[0])?.json()?;
    sent["sent"]
        .as_u64()
        .ok_or_else(|| Error::unexpected(format!("no count in {sent}")))
}

/// What the table has of them.
fn judge(site: &Site, topic: &Topic) -> Result<Value, Error> {
    let mut judge = site.tools().python("feeds/inputs.py");
    judge
        .arg("judge")
        .arg(site.catalog())
        .arg(&topic.table)
        .arg(site.folder().join("sent.json"));
    let judged = run(judge)?.expect(&[0, 3])?.json()?;
    equal("violations", judged["violations"].as_array().cloned(), Some(Vec::new()))?;
    Ok(judged)
}

#[test]
fn every_kind_of_input_has_its_documented_result() {
    with(stack(), "inputs", |servers, folder| {
        let (site, odd, sound) = with_neighbour(servers, folder, "all")?;
        let sent = send(servers, &site, &odd, &[])?;
        Feed::of(servers).produce(&sound.topic, 1000, &[])?;
        let mut node = forever(&site, "a")?;
        // The sound topic does not wait for the 10 s in which an unknown schema may still appear.
        await_rows(&site, &sound, &mut node, 1000)?;
        equal("rows of the odd topic by then", site.progress(&odd.table), None)?;
        await_rows(&site, &odd, &mut node, sent)?;
        let (metrics, log) = (node.metrics()?, node.log());
        drop(node);
        site.demand(&odd, Some(sent))?;
        site.demand(&sound, Some(1000))?;
        let judged = judge(&site, &odd)?;
        let codes = judged["codes"].as_object().cloned().unwrap_or_default();
        for (code, records) in &codes {
            let metric = format!(
                "tapehouse_decode_errors_total{{code=\"{code}\",topic=\"{}\"}} {records}",
                odd.topic
            );
            let said = format!("code=\"{code}\"");
            if !metrics.contains(&metric) {
                return Err(Error::unexpected(format!("no metric {metric} in\n{metrics}")));
            }
            if !log
                .lines()
                .any(|line| line.contains(&said) && line.contains(&odd.topic))
            {
                return Err(Error::unexpected(format!("no line of {said} in\n{log}")));
            }
        }
        equal("codes that were tried", codes.len(), 11)?;
        let conflicts = format!("tapehouse_schema_conflicts_total{{topic=\"{}\"}} 10", odd.topic);
        equal("the alert's metric", metrics.contains(&conflicts), true)?;
        let quoted = ["no Avro", "whole again", "{\"json"]
            .iter()
            .find(|payload| log.contains(*payload));
        equal("payloads in the log", quoted, None)
    });
}

#[test]
fn a_table_begun_by_a_schema_that_cannot_be_used_grows_with_the_next_one() {
    for first in ["reserved", "case_of_two", "holds_itself", "no_record", "tombstone"] {
        with(stack(), first, |servers, folder| {
            let (site, odd, _) = with_neighbour(servers, folder, &format!("first.{first}"))?;
            let mut sent = send(servers, &site, &odd, &[first])?;
            let mut node = forever(&site, "a")?;
            await_rows(&site, &odd, &mut node, sent)?;
            judge(&site, &odd)?;
            sent += Feed::of(servers).produce(&odd.topic, 100, &[])?.visible;
            await_rows(&site, &odd, &mut node, sent)?;
            drop(node);
            site.demand(&odd, Some(sent))?;
            let decoded = site.query(&odd, &["SELECT count(*) FROM t WHERE side IS NOT NULL"])?;
            equal("decoded", decoded[0][0][0].as_u64(), Some(100))
        });
    }
}

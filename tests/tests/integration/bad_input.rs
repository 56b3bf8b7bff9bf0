//! Everything that can be in a topic, each with its documented result: `feeds/inputs.py` names the cases and judges the rows.

use std::path::Path;

use tapehouse_tests::{Error, Feed, Servers, Site, Topic, await_that, stack};

use crate::support::{PATIENCE, await_answer, await_rows, equal, forever, judge_by, send_by, with};

const FEED: &str = "feeds/inputs.py";

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

#[test]
fn every_kind_of_input_has_its_documented_result() {
    with(stack(), "inputs", |servers, folder| {
        let (site, odd, sound) = with_neighbour(servers, folder, "all")?;
        let sent = send_by(FEED, servers, &site, &odd, &[])?;
        Feed::of(servers).produce(&sound.topic, 1000, &[])?;
        let mut node = forever(&site, "a")?;
        // The sound topic does not wait for the 10 s in which an unknown schema may still appear.
        await_rows(&site, &sound, &mut node, 1000)?;
        equal("rows of the odd topic by then", site.progress(&odd.table), None)?;
        await_rows(&site, &odd, &mut node, sent)?;
        let judged = judge_by(FEED, &site, &odd)?;
        let codes = judged["codes"].as_object().cloned().unwrap_or_default();
        for (code, records) in &codes {
            let metric = format!(
                "tapehouse_decode_errors_total{{code=\"{code}\",topic=\"{}\"}} {records}",
                odd.topic
            );
            await_answer(&node, "/metrics", &metric)?;
            let said = format!("code=\"{code}\"");
            await_that(&format!("a line of {said}"), PATIENCE, || {
                let log = node.log();
                Ok(log.lines().any(|line| line.contains(&said) && line.contains(&odd.topic)))
            })?;
        }
        equal("codes that were tried", codes.len(), 11)?;
        let conflicts = format!("tapehouse_schema_conflicts_total{{topic=\"{}\"}} 10", odd.topic);
        await_answer(&node, "/metrics", &conflicts)?;
        let log = node.log();
        drop(node);
        site.demand(&odd, Some(sent))?;
        site.demand(&sound, Some(1000))?;
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
            let mut sent = send_by(FEED, servers, &site, &odd, &["--only", first])?;
            let mut node = forever(&site, "a")?;
            await_rows(&site, &odd, &mut node, sent)?;
            judge_by(FEED, &site, &odd)?;
            sent += Feed::of(servers).produce(&odd.topic, 100, &[])?.visible;
            await_rows(&site, &odd, &mut node, sent)?;
            drop(node);
            site.demand(&odd, Some(sent))?;
            let decoded = site.query(&odd, &["SELECT count(*) FROM t WHERE side IS NOT NULL"])?;
            equal("decoded", decoded[0][0][0].as_u64(), Some(100))
        });
    }
}

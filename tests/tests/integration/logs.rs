//! The JSON log of a real run: what each important line carries, and what none does.

use serde_json::Value;
use tapehouse_tests::{Error, Feed, Node, NodeOptions, Site, stack, until};

use crate::support::{PATIENCE, await_rows, site, with};

fn json_node(site: &Site, name: &str) -> Result<Node, Error> {
    let options = NodeOptions {
        for_ever: true,
        arguments: vec!["--log-format".to_owned(), "json".to_owned()],
        ..NodeOptions::default()
    };
    Node::start(site, name, &options)
}

/// The lines whose message contains `message`; every line must be one JSON object.
fn lines(log: &str, message: &str) -> Result<Vec<Value>, Error> {
    let mut found = Vec::new();
    // The last line may be half written.
    for line in log.rsplit_once('\n').map_or("", |(whole, _)| whole).lines() {
        let parsed = serde_json::from_str::<Value>(line);
        let value = parsed.map_err(|error| Error::unexpected(format!("no JSON: {error}: {line}")))?;
        if value["message"].as_str().is_some_and(|text| text.contains(message)) {
            found.push(value);
        }
    }
    Ok(found)
}

fn carries(line: &Value, fields: &[&str]) -> Result<(), Error> {
    match fields.iter().find(|field| line[**field].is_null()) {
        None => Ok(()),
        Some(field) => Err(Error::unexpected(format!("no {field} in {line}"))),
    }
}

#[test]
fn each_important_line_says_who_what_and_why_and_none_holds_a_payload() {
    with(stack(), "logs", |servers, folder| {
        let (site, topic) = site(servers, folder, "logs.json", 2)?;
        Feed::of(servers).produce(&topic.topic, 500, &["--bad-every", "50"])?;
        let mut node = json_node(&site, "a")?;
        await_rows(&site, &topic, &mut node, 500)?;
        let committed = until("a line of a commit", PATIENCE, || {
            Ok(lines(&node.log(), "committed")?.into_iter().next())
        })?;
        carries(
            &committed,
            &["node", "run_id", "actor", "table", "snapshot_id", "rows", "commit_ms"],
        )?;
        // Every value that the feed makes begins with these: no part of a record may be in the log.
        for part in ["\"side\"", "\"symbol\"", "raw_value\":"] {
            if node.log().contains(part) {
                return Err(Error::unexpected(format!("{part} is in the log")));
            }
        }
        drop(node);
        // A table of another cluster: the topic stops, with its code.
        let mut command = NodeOptions {
            for_ever: true,
            ..NodeOptions::default()
        };
        command.arguments = ["--log-format", "json", "--set", "node.cluster=other"]
            .map(str::to_owned)
            .to_vec();
        let node = Node::start(&site, "b", &command)?;
        let stopped = until("a line of the stopped topic", PATIENCE, || {
            Ok(lines(&node.log(), "waits for an operator")?.into_iter().next())
        })?;
        carries(
            &stopped,
            &["node", "run_id", "actor", "topic", "table", "code", "error"],
        )?;
        match stopped["code"].as_str() {
            Some("foreign_owner") => Ok(()),
            code => Err(Error::unexpected(format!("its code is {code:?}"))),
        }
    });
}

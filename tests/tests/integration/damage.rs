//! `tapehouse verify` must find what somebody else did to a table.

use std::path::Path;
use std::process::Command;

use tapehouse_tests::{Error, Feed, Node, NodeOptions, Servers, Topic, run, stack};

use crate::support::{PATIENCE, equal, site, with};

/// Damages a table of its own and demands that both judges see it, `tapehouse verify` under the name of `invariant`.
fn is_found(servers: &Servers, folder: &Path, damage: &str, invariant: &str) -> Result<Topic, Error> {
    let folder = folder.join(damage);
    let (site, topic) = site(servers, &folder, &format!("damage.{damage}"), 2)?;
    let feed = Feed::of(servers);
    for first in ["0", "1000"] {
        feed.produce(&topic.topic, 1000, &["--first", first])?;
        site.catch_up("a", PATIENCE)?;
    }
    let sound = site.ask_verify(&topic, &["--deep"])?;
    equal("violations before the damage", sound.violations, Vec::new())?;
    let mut command: Command = site.tools().python("feeds/damage.py");
    command.arg(site.catalog()).args([topic.table.as_str(), damage]);
    run(command)?.expect(&[0])?;
    let verify = site.ask_verify(&topic, &["--deep"])?;
    let oracle = site.ask_oracle(&topic, &[])?;
    let named = format!("\"invariant\":\"{invariant}\"");
    if !verify.violations.iter().any(|violation| violation.contains(&named)) {
        return Err(Error::unexpected(format!(
            "verify does not name {invariant} after {damage}: {}",
            verify.answer
        )));
    }
    if oracle.violations.is_empty() {
        return Err(Error::unexpected(format!(
            "the oracle sees nothing after {damage}: {}",
            oracle.answer
        )));
    }
    // A table whose recorded offsets cannot be believed is not written to.
    if invariant == "I2" {
        feed.produce(&topic.topic, 10, &["--first", "2000"])?;
        let before = site.progress(&topic.table);
        let mut node = Node::start(&site, "a", &NodeOptions::default())?;
        node.wait_for_code(1, PATIENCE)?;
        equal("the table after a refused start", site.progress(&topic.table), before)?;
        if !node.log().contains("state_invalid") {
            return Err(Error::unexpected(format!("the node does not say why:\n{}", node.log())));
        }
    }
    Ok(topic)
}

#[test]
fn a_file_referenced_twice_is_found() {
    with(stack(), "file-twice", |servers, folder| {
        is_found(servers, folder, "file-twice", "I3").map(|_| ())
    });
}

#[test]
fn rows_written_twice_are_found() {
    with(stack(), "rows-twice", |servers, folder| {
        is_found(servers, folder, "rows-twice", "I1").map(|_| ())
    });
}

#[test]
fn a_lost_row_is_found() {
    with(stack(), "row-lost", |servers, folder| {
        is_found(servers, folder, "row-lost", "I1").map(|_| ())
    });
}

#[test]
fn a_rolled_back_table_is_found_and_not_written_to() {
    with(stack(), "rolled-back", |servers, folder| {
        is_found(servers, folder, "rolled-back", "I2").map(|_| ())
    });
}

#[test]
fn stripped_offsets_are_found_and_the_table_is_not_written_to() {
    with(stack(), "state-stripped", |servers, folder| {
        is_found(servers, folder, "state-stripped", "I2").map(|_| ())
    });
}

//! `tapehouse doctor` against real servers: sound, with one of them away, and beside a running node.

use std::collections::BTreeMap;

use serde_json::Value;
use tapehouse_tests::{Backend, Error, Feed, Server, Site, stack, stack_alone};

use crate::support::{await_rows, equal, forever, site, with};

/// The verdicts by check, and the exit code.
fn examined(site: &Site) -> Result<(BTreeMap<String, String>, Value, i32), Error> {
    let output = site.command(&["doctor", "-o", "json"])?;
    let answer = output.json()?;
    let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let checks = answer["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let verdicts = checks
        .iter()
        .map(|check| (text(check, "check"), text(check, "verdict")));
    Ok((verdicts.collect(), answer.clone(), output.code.unwrap_or(-1)))
}

fn expect(found: &(BTreeMap<String, String>, Value, i32), code: i32, verdicts: &[(&str, &str)]) -> Result<(), Error> {
    for (check, verdict) in verdicts {
        let is = found.0.get(*check).map(String::as_str);
        if is != Some(verdict) {
            return Err(Error::unexpected(format!("{check} is {is:?}: {:#}", found.1)));
        }
    }
    equal("exit code", found.2, code)
}

#[test]
fn what_is_sound_is_said_to_be_and_nothing_is_left_behind() {
    with(stack(), "doctor", |servers, folder| {
        let (site, topic) = site(servers, folder, "doctor.sound", 2)?;
        // Before the first start nothing is there yet, and the doctor makes nothing.
        let before = examined(&site)?;
        // A REST catalog and a bucket are there already; a PostgreSQL database is there and empty.
        let (catalog, warehouse) = match servers.backend() {
            Backend::Sqlite | Backend::Postgres => ("warn", "warn"),
            Backend::Rest => ("ok", "warn"),
            Backend::RestS3 => ("ok", "ok"),
        };
        expect(
            &before,
            0,
            &[("kafka", "ok"), ("catalog", catalog), ("warehouse", warehouse)],
        )?;
        equal("a catalog made by the doctor", site.catalog_file().exists(), false)?;
        Feed::of(servers).produce(&topic.topic, 500, &[])?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, 500)?;
        let files = || walk(site.warehouse_folder()).len();
        let counted = files();
        let beside = examined(&site)?;
        let good = [
            "configuration",
            "kafka",
            "topic doctor.sound",
            "registry",
            "catalog",
            "warehouse",
        ];
        expect(&beside, 0, &good.map(|name| (name, "ok")))?;
        equal("files in the warehouse", files(), counted)?;
        Feed::of(servers).produce(&topic.topic, 500, &["--first", "500"])?;
        await_rows(&site, &topic, &mut node, 1000)?;
        drop(node);
        site.demand(&topic, Some(1000)).map(|_| ())
    });
}

#[test]
fn a_server_that_is_away_fails_and_hides_no_other() {
    with(stack_alone(), "doctor-away", |servers, folder| {
        let (site, topic) = site(servers, folder, "doctor.away", 1)?;
        Feed::of(servers).produce(&topic.topic, 10, &[])?;
        servers.stop(Server::Registry)?;
        let found = examined(&site);
        servers.restart(Server::Registry)?;
        let verdicts = [
            ("registry", "fail"),
            ("schema doctor.away", "skipped"),
            ("topic doctor.away", "ok"),
        ];
        let found = found?;
        expect(&found, 4, &verdicts)?;
        let checks = found.1["checks"].as_array().cloned().unwrap_or_default();
        let registry = checks.iter().find(|check| check["check"] == "registry");
        equal(
            "its code",
            registry.and_then(|check| check["code"].as_str()),
            Some("registry"),
        )?;
        // A fault of the configuration ends with 78.
        let output = site.command(&["doctor", "--set", "commit.max_age_ms=0"])?;
        equal("exit code of a bad configuration", output.code, Some(78))
    });
}

/// The files below `folder`.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(walk(&entry.path())),
            _ if entry.path().extension().is_some_and(|ending| ending == "parquet") => files.push(entry.path()),
            _ if entry.file_name().to_string_lossy().starts_with(".tapehouse_probe") => files.push(entry.path()),
            _ => {}
        }
    }
    files
}

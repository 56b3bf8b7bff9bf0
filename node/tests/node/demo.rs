//! The demo, from its first line to its verdict, and the reading commands on the tables that it leaves.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Ended, command, ended_within, run, run_within, signal};

const LIMIT: Duration = Duration::from_secs(90);

#[track_caller]
fn assert_adds_up(ended: &Ended) {
    ended.assert_code(0);
    let json = ended.json();
    let number = |key: &str| json[key].as_u64().unwrap_or_else(|| panic!("no {key} in {json}"));
    assert_eq!(
        number("bronze_rows") + number("quarantined"),
        number("produced"),
        "{json}"
    );
    assert!(number("produced") > 0 && number("commits") > 0, "{json}");
    assert_eq!(json["verify"], "ok", "{json}");
    let freshness = |key: &str| json["freshness_ms"][key].as_u64().unwrap();
    assert!(
        freshness("p50") <= freshness("p99") && freshness("p99") <= freshness("max"),
        "{json}"
    );
    assert!(json["records_per_second"].as_f64().unwrap() > 0.0, "{json}");
}

/// Rows by table, of the tables of one layer.
fn rows_of(tables: &Value, layer: &str) -> BTreeMap<String, u64> {
    let tables = tables.as_array().unwrap().iter();
    tables
        .map(|table| {
            (
                table["table"].as_str().unwrap().to_owned(),
                table["rows"].as_u64().unwrap(),
            )
        })
        .filter(|(name, _)| name.starts_with(layer))
        .collect()
}

#[test]
fn a_short_demo_adds_up_and_its_tables_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run_within(
        LIMIT,
        folder.path(),
        &["demo", "--for", "3s", "--dir", "here", "-o", "json"],
        &[],
    );
    assert_adds_up(&ended);
    let json = ended.json();
    let produced = json["produced"].as_u64().unwrap();
    assert!(
        (10_000..=16_000).contains(&produced),
        "5,000 a second for 3 s, not {produced}"
    );
    assert!(
        json["quarantined"].as_u64().unwrap() > 0,
        "a realistic feed has records that cannot be decoded: {json}"
    );

    let here = folder.path().join("here");
    let catalog = format!("sqlite:///{}/catalog.db", here.display());
    let warehouse = format!("file://{}/warehouse", here.display());
    let env = [
        ("ICEBERG_CATALOG_URI", catalog.as_str()),
        ("ICEBERG_WAREHOUSE_PATH", warehouse.as_str()),
    ];
    let tables = run(folder.path(), &["tables", "-o", "json"], &env).json()["tables"].clone();
    assert_eq!(rows_of(&tables, "bronze.").values().sum::<u64>(), produced, "{tables}");
    let mut kept = rows_of(&tables, "silver.");
    kept.extend(rows_of(&tables, "gold."));
    assert_eq!(kept, rows_of(&json["silver"], ""), "{tables}");
    let verified = run(folder.path(), &["verify", "-o", "json"], &env);
    verified.assert_code(0);
    assert_eq!(verified.json()["verify"], "ok");
    // A table with fewer files than it lists is not what it says. (Some of them may be listed no longer: they were compacted.)
    let data = here.join("warehouse/bronze/raw_trades/data");
    let mut removed = Vec::new();
    while let Some(file) = first_file(&data) {
        std::fs::remove_file(&file).unwrap();
        removed.push(file.file_name().unwrap().to_str().unwrap().to_owned());
    }
    let violated = run(folder.path(), &["verify", "-o", "json"], &env);
    violated.assert_code(3);
    let json = violated.json();
    let named: Vec<_> = json["tables"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|t| t["violations"].as_array().unwrap())
        .collect();
    assert!(
        named.iter().any(|violation| {
            let message = violation["message"].as_str().unwrap();
            removed.iter().any(|file| message.contains(file.as_str()))
        }),
        "{json}"
    );

    let again = run(folder.path(), &["demo", "--for", "1s", "--dir", "here"], &[]);
    again.assert_code(1).assert_stderr("earlier demo");
}

fn first_file(folder: &std::path::Path) -> Option<std::path::PathBuf> {
    std::fs::read_dir(folder).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => first_file(&path),
            false => path
                .extension()
                .is_some_and(|ending| ending == "parquet")
                .then_some(path),
        }
    })
}

#[test]
fn without_an_end_it_runs_until_ctrl_c_and_serves_metrics_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["demo", "--rate", "2000", "-o", "json"];
    let started = Instant::now();
    let mut child = command(folder.path(), &args, &[]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().unwrap().unwrap();
        if let Some((_, rest)) = line.split_once("metrics   http://") {
            break rest.trim_end_matches("/metrics").to_owned();
        }
    };
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "the first lines took {:?}",
        started.elapsed()
    );
    let metrics = level(
        &address,
        "tapehouse_last_commit_timestamp_seconds{",
        Duration::from_secs(30),
    );
    assert!(metrics.contains("topic=\"raw.trades\""), "{metrics}");
    signal(&child, "INT");
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    // Its stderr is being read above: an empty pipe stands in for it.
    child.stderr = Some(
        std::process::Command::new("true")
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
            .stderr
            .take()
            .unwrap(),
    );
    let ended = ended_within(LIMIT, child);
    assert!(rest.join().unwrap().contains("stopping"));
    assert_adds_up(&ended);
    let dir = ended.json()["dir"].as_str().unwrap().to_owned();
    assert!(std::path::Path::new(&dir).join("catalog.db").is_file(), "{dir}");
}

/// Asks for metrics until `name` is among them.
fn level(address: &str, name: &str, limit: Duration) -> String {
    let started = Instant::now();
    loop {
        let answer = get(address, "/metrics");
        if answer.contains(name) || started.elapsed() > limit {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn get(address: &str, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

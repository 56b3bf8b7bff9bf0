//! docs/metrics.md is the contract of the metrics: a running node's exposition must be what it says, in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::support::{command, signal};

/// Metrics that an ordinary run without further configuration, failures and requests does not have.
const OPTIONAL: [&str; 4] = [
    "tapehouse_metrics_pushes_total",
    "tapehouse_partition_stopped",
    "tapehouse_grpc_requests_total",
    "tapehouse_grpc_request_seconds",
];

#[derive(Debug, Default, PartialEq, Eq)]
struct Contract {
    kind: String,
    labels: BTreeSet<String>,
}

/// The page's rows: contract and when it moves, by name.
fn page() -> BTreeMap<String, (Contract, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `tapehouse_")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 6, "{line}");
        assert!(
            cells.iter().enumerate().all(|(at, cell)| at == 2 || !cell.is_empty()),
            "{line}"
        );
        let bare = |text: &str| text.trim_matches('`').to_owned();
        let labels = cells[2].split(", ").filter(|label| !label.is_empty()).map(bare);
        let contract = Contract {
            kind: cells[1].to_owned(),
            labels: labels.collect(),
        };
        let twice = rows.insert(bare(cells[0]), (contract, cells[5].to_owned()));
        assert!(twice.is_none(), "twice on the page: {line}");
    }
    rows
}

/// What a node exposes: contract and the sum of all its series, by name; of a histogram the sum of its counts.
fn exposition(text: &str) -> BTreeMap<String, (Contract, f64)> {
    let mut families: BTreeMap<String, (Contract, f64)> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            current = name.to_owned();
            families.entry(current.clone()).or_default().0.kind = kind.to_owned();
            continue;
        }
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap_or((series, ""));
        let family = families.get_mut(&current).unwrap();
        let names = labels
            .split("\",")
            .filter_map(|label| label.split_once('=').map(|(name, _)| name.to_owned()));
        family.0.labels.extend(names.filter(|name| name != "le"));
        if name == current || name.strip_suffix("_count") == Some(&current) {
            family.1 += value.parse::<f64>().unwrap();
        }
    }
    families
}

fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("200 OK") && !head.contains("chunked"), "{head}");
    body.to_owned()
}

#[test]
fn page_and_exposition_are_equal_and_what_should_move_moves() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = command(folder.path(), &["demo", "--port", "0", "--rate", "2000"], &[])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let metrics = lines
        .find_map(|line| Some(line.split_once("metrics ")?.1.trim().to_owned()))
        .unwrap();
    let address = metrics
        .trim_start_matches("http://")
        .trim_end_matches("/metrics")
        .to_owned();
    // The pipe is read on, so that the child never waits for it.
    std::thread::spawn(move || lines.for_each(drop));
    std::thread::sleep(Duration::from_secs(4));
    let before = exposition(&scrape(&address));
    std::thread::sleep(Duration::from_secs(3));
    let text = scrape(&address);
    signal(&child, "INT");
    let after = exposition(&text);
    let page = page();
    let on_page: BTreeSet<&str> = page
        .keys()
        .map(String::as_str)
        .filter(|name| !OPTIONAL.contains(name))
        .collect();
    let exposed: BTreeSet<&str> = after.keys().map(String::as_str).collect();
    assert_eq!(on_page, exposed, "docs/metrics.md and the exposition differ");
    for (name, (contract, _)) in &after {
        let (said, moves) = &page[name];
        assert_eq!(contract, said, "{name}");
        let rises =
            moves.starts_with("with each commit") || moves.starts_with("with each batch") || moves == "with time";
        let (old, new) = (before[name].1, after[name].1);
        // The resident set may fall, and a peak may stay.
        let must_rise = rises && !name.contains("resident");
        assert!(
            !must_rise || new > old,
            "{name} moves {moves}, but stayed at {old} (now {new})"
        );
        assert!(
            !moves.starts_with("never") || (new == old && new > 0.0),
            "{name} is {new}"
        );
        let help = format!("# HELP {name} ");
        assert!(text.contains(&help), "{name} has no help");
    }
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
}

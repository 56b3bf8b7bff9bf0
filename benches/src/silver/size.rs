//! What merging costs in tables of different sizes: the same stream into each, its late corrections uniform over all that is there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde::Serialize;
use tapehouse_kafka::KafkaSettings;
use tapehouse_kafka::generator::{EventClock, GeneratorOptions, Topic};
use tapehouse_kafka::producer::generate::{GenerateOptions, run as generate};
use tapehouse_kafka::registry::{RegistryClient, RegistrySettings};

use super::oracle::{ask, said_of_silver};
use super::stream::{CORRECTIONS, DUPLICATES};
use super::{BOTH_LAYERS, TABLE, seed};
use crate::process::measure;
use crate::report::{Check, table};
use crate::servers::{Programs, Servers};
use crate::{Outcome, interrupt, usage};

/// How often the node's log and memory are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// 2026-01-05T15:00:00Z.
const START_US: i64 = 1_767_625_200_000_000;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Messages merged into each table.
    pub records: u64,
    /// Rows that the tables have before; the first one is what the others are held against.
    pub sizes: Vec<u64>,
    /// Seed of the trades.
    pub seed: u64,
}

/// One table.
#[derive(Debug, Serialize)]
struct Size {
    rows: u64,
    load_before: f64,
    /// From the start of the node to the line that says that the table is open; most of it is making the key index.
    open_seconds: f64,
    /// From there until all is merged.
    merge_seconds: f64,
    open_cpu_seconds: f64,
    merge_cpu_seconds: f64,
    peak_rss_mib: f64,
    commits: Option<u64>,
    /// Opened again, with nothing to merge: with what the node has kept in `state/`.
    again_seconds: f64,
    rows_after: Option<u64>,
}

impl Size {
    fn rate(&self, records: u64) -> f64 {
        records as f64 / self.merge_seconds
    }
}

/// All that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: String,
    records: u64,
    sizes: Vec<Size>,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// Makes each table, then merges the same stream into it.
///
/// # Errors
/// When a part fails, or a row is missing.
pub fn run(options: &Options, folder: &Path, say: &dyn Fn(&str)) -> Outcome<Report> {
    let programs = Programs::find()?;
    let mut sizes = Vec::new();
    for &rows in &options.sizes {
        interrupt::check()?;
        let folder = folder.join(format!("{rows}-rows"));
        fs::create_dir_all(&folder)?;
        say(&format!("{rows} rows: starting Kafka and Apicurio"));
        let servers = Servers::start(&folder.join("servers"))?;
        let size = one(options, rows, (&servers, &programs), &folder, say)?;
        say(&format!(
            "{rows} rows: opened in {:.1} s, merged in {:.1} s ({:.1} CPU-s), {:.0} MiB",
            size.open_seconds, size.merge_seconds, size.merge_cpu_seconds, size.peak_rss_mib
        ));
        sizes.push(size);
        drop(servers);
        fs::remove_dir_all(&folder)?;
    }
    Ok(Report {
        machine: usage::machine(),
        records: options.records,
        checks: checks(options.records, &sizes),
        sizes,
    })
}

fn one(
    options: &Options,
    rows: u64,
    (servers, programs): (&Servers, &Programs),
    folder: &Path,
    say: &dyn Fn(&str),
) -> Outcome<Size> {
    let new = produce(options, rows, servers)?;
    seed::make(folder, rows, options.seed, say)?;
    // Bronze is full before: what follows is merging alone.
    let mut bronze = servers.node(programs, folder);
    bronze.args([
        "--log-level",
        "warn",
        "run",
        "--source",
        "trades",
        "--until-caught-up",
        "-o",
        "json",
    ]);
    measure(bronze, folder)?;
    let load_before = usage::load_1min()?;
    let both = || {
        let mut node = servers.node(programs, folder);
        node.args(["--log-level", "info,tapehouse_actors::silver=debug"])
            .args(BOTH_LAYERS);
        node.args(["--until-caught-up", "-o", "json"]);
        node
    };
    let seen = watch(both(), folder, options.records)?;
    let silver = said_of_silver(&seen.stdout)?;
    let after = silver["rows"].as_u64();
    if silver["input"].as_u64() != Some(options.records) || after != Some(rows + new) {
        return Err(format!("{rows} rows and {new} new ones: the node says {silver}").into());
    }
    say("the oracle looks for the latest version of each trade");
    let expected = (rows + new).to_string();
    ask(programs, "seeded.py", folder, &["--expect-rows", &expected])?;
    let again = watch(both(), folder, 0)?;
    Ok(Size {
        rows,
        load_before,
        open_seconds: seen.open_seconds,
        merge_seconds: seen.rest_seconds,
        open_cpu_seconds: seen.open_cpu_seconds,
        merge_cpu_seconds: seen.rest_cpu_seconds,
        peak_rss_mib: seen.peak_rss_mib,
        commits: silver["commits"].as_u64(),
        again_seconds: again.open_seconds,
        rows_after: after,
    })
}

/// Fills the topic; how many of the trades are new.
fn produce(options: &Options, rows: u64, servers: &Servers) -> Outcome<u64> {
    let generator = GeneratorOptions {
        seed: options.seed,
        start_us: Some(START_US),
        clock: EventClock::Synthetic {
            trades_per_second: 5000.0,
        },
        corrections: CORRECTIONS,
        duplicates: DUPLICATES,
        remembers_all: true,
        earlier: Some(seed::earlier(rows)),
        ..GeneratorOptions::default()
    };
    let generating = generate(GenerateOptions {
        kafka: KafkaSettings::new(&servers.bootstrap),
        registry: RegistryClient::new(RegistrySettings::new(&servers.registry)?)?,
        targets: BTreeMap::from([(Topic::Trades, "raw.trades".to_owned())]),
        create_partitions: Some(4),
        count: Some(options.records),
        rate_per_s: 0.0,
        generator,
        stop: Arc::new(AtomicBool::new(false)),
        progress: None,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let stats = runtime.block_on(generating)?.stats.trades;
    Ok(stats.produced - stats.corrections - stats.duplicates)
}

/// A node's run, cut where its table is open and where all is merged; what is derived from the table comes after.
struct Seen {
    open_seconds: f64,
    open_cpu_seconds: f64,
    rest_seconds: f64,
    rest_cpu_seconds: f64,
    peak_rss_mib: f64,
    stdout: String,
}

/// Watches a node that merges `records`.
fn watch(mut node: Command, folder: &Path, records: u64) -> Outcome<Seen> {
    let (stdout, stderr) = (folder.join("stdout"), folder.join("stderr"));
    node.stdin(Stdio::null());
    node.stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
    let cpu_before = usage::children_cpu_seconds()?;
    let started = Instant::now();
    let mut child = node.spawn()?;
    let (mut opened, mut merged, mut peak_rss_mib) = (None, None, 0.0_f64);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if let Some(error) = interrupt::check().err() {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
        peak_rss_mib = peak_rss_mib.max(usage::peak_rss_mib(child.id()).unwrap_or_default());
        if opened.is_none() && has_opened(&stderr)? {
            opened = usage::cpu_seconds_of(child.id())
                .ok()
                .map(|cpu| (started.elapsed(), cpu));
        }
        if opened.is_some() && merged.is_none() && merged_records(&stderr)? >= records {
            merged = usage::cpu_seconds_of(child.id())
                .ok()
                .map(|cpu| (started.elapsed(), cpu));
        }
        std::thread::sleep(LOOK_EVERY);
    };
    let (seconds, cpu) = (started.elapsed(), usage::children_cpu_seconds()? - cpu_before);
    if !status.success() {
        return Err(format!("{node:?}: {status}: {}", fs::read_to_string(&stderr)?).into());
    }
    // Where there was nothing to merge it may have ended before it was looked at again.
    let (open, open_cpu) = opened.unwrap_or((seconds, cpu));
    let (end, end_cpu) = merged.unwrap_or((seconds, cpu));
    Ok(Seen {
        open_seconds: open.as_secs_f64(),
        open_cpu_seconds: open_cpu,
        rest_seconds: end.saturating_sub(open).as_secs_f64(),
        rest_cpu_seconds: (end_cpu - open_cpu).max(0.0),
        peak_rss_mib,
        stdout: fs::read_to_string(&stdout)?,
    })
}

/// Whether the node's log says that the table is open.
fn has_opened(log: &Path) -> Outcome<bool> {
    let log = fs::read_to_string(log)?;
    Ok(log
        .lines()
        .any(|line| line.contains("opened") && line.contains("silver_merge") && line.contains(TABLE)))
}

/// Records that the node's log says to be merged.
fn merged_records(log: &Path) -> Outcome<u64> {
    let log = fs::read_to_string(log)?;
    let merges = log
        .lines()
        .filter(|line| line.contains(": merged ") && line.contains(TABLE));
    let inputs = merges.filter_map(|line| line.split(" input=").nth(1)?.split(' ').next()?.parse::<u64>().ok());
    Ok(inputs.sum())
}

/// The limits of the contract: for tables of 10 and 50 million rows against half a million.
fn checks(records: u64, sizes: &[Size]) -> Vec<Check> {
    let mut checks = Vec::new();
    let Some(smallest) = sizes.first() else { return checks };
    for size in &sizes[1..] {
        let ratio = size.rate(records) / smallest.rate(records);
        checks.push(match size.rows {
            0..=10_000_000 => Check::at_least(
                "rate of merging into 10 M rows or fewer / into the smallest",
                ratio,
                0.7,
            ),
            _ => Check::at_least(
                "rate of merging into more than 10 M rows / into the smallest",
                ratio,
                0.5,
            ),
        });
    }
    let peak = sizes.iter().map(|size| size.peak_rss_mib).fold(0.0, f64::max);
    checks.push(Check::at_most("peak memory of the node, MiB", peak, 1024.0));
    checks
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let head = [
            "rows before",
            "records/s",
            "merge s",
            "merge CPU s",
            "open s",
            "open CPU s",
            "again s",
            "peak MiB",
            "commits",
        ];
        let rows: Vec<Vec<String>> = self
            .sizes
            .iter()
            .map(|size| {
                vec![
                    size.rows.to_string(),
                    format!("{:.0}", size.rate(self.records)),
                    format!("{:.2}", size.merge_seconds),
                    format!("{:.2}", size.merge_cpu_seconds),
                    format!("{:.2}", size.open_seconds),
                    format!("{:.2}", size.open_cpu_seconds),
                    format!("{:.2}", size.again_seconds),
                    format!("{:.0}", size.peak_rss_mib),
                    size.commits.map_or_else(String::new, |commits| commits.to_string()),
                ]
            })
            .collect();
        format!(
            "{} messages merged into silver.trades, one correction in ten uniform over all of it; {}\n{}",
            self.records,
            self.machine,
            table(&head, &rows)
        )
    }
}

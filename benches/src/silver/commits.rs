//! Thousands of small merges by a node that compacts meanwhile: the last must cost what the early ones did, and files stay few.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::oracle::{ask, demand_fold};
use super::stream::{CORRECTIONS, DUPLICATES};
use super::table::{Seen, look};
use super::{BOTH_LAYERS, TABLE};
use crate::process::{Background, measure};
use crate::report::{Check, median};
use crate::servers::{Programs, Servers};
use crate::{Outcome, interrupt, usage};

/// The early merges that the last ones are held against.
const EARLY: std::ops::Range<usize> = 50..100;
const LAST: usize = 50;
/// Of so many merges one median is told.
const STRETCH: usize = 500;
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A merge takes no longer, on the average.
const PATIENCE: Duration = Duration::from_millis(500);

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Merges; at least 200.
    pub commits: usize,
    /// Bronze commits so often, in milliseconds.
    pub age_ms: u64,
    /// Trades a second.
    pub rate: u32,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: String,
    commits: usize,
    seconds: f64,
    early_ms: f64,
    last_ms: f64,
    slowest_ms: f64,
    /// Medians of 500 merges each, one after the other.
    medians_ms: Vec<f64>,
    /// Data files and delete files of the table, at most and at the end.
    files_most: u64,
    files_end: u64,
    /// Of the partition that has most.
    files_a_partition: Option<u64>,
    metadata_bytes_early: u64,
    metadata_bytes_most: u64,
    metadata_files_most: usize,
    node_peak_rss_mib: f64,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// Measures.
///
/// # Errors
/// When a part fails, too few merges come, or silver is not the fold of bronze.
pub fn run(options: Options, folder: &Path, say: &dyn Fn(&str)) -> Outcome<Report> {
    if options.commits < EARLY.end + LAST {
        return Err(format!("at least {} commits are needed", EARLY.end + LAST).into());
    }
    let programs = Programs::find()?;
    say("starting Kafka and Apicurio");
    let servers = Servers::start(&folder.join("servers"))?;
    servers.generate(&programs, folder, &["--count", "4"])?;
    let mut node = servers.node(&programs, folder);
    node.env("TAPEHOUSE__COMMIT__MAX_AGE_MS", options.age_ms.to_string());
    node.args(["--log-level", "warn,tapehouse_actors::silver=debug"]);
    node.args(BOTH_LAYERS);
    let node = Background::start(node, "node", folder)?;
    let mut generator = servers.node(&programs, folder);
    generator.args(["generate", "--topic", "trades", "--rate", &options.rate.to_string()]);
    generator.args([
        "--corrections",
        &CORRECTIONS.to_string(),
        "--duplicates",
        &DUPLICATES.to_string(),
    ]);
    let generator = Background::start(generator, "generate", folder)?;
    let started = Instant::now();
    let seen = follow(options, folder, say)?;
    let seconds = started.elapsed().as_secs_f64();
    let node_peak_rss_mib = usage::peak_rss_mib(node.pid()).unwrap_or_default();
    drop(generator);
    node.stop(Duration::from_secs(30))?;
    // What bronze had taken in when the node stopped is merged by another run: silver is compared with all of it.
    let mut rest = servers.node(&programs, folder);
    rest.args(["--log-level", "warn"])
        .args(BOTH_LAYERS)
        .args(["--until-caught-up"]);
    measure(rest, folder)?;
    demand_fold(&programs, folder)?;
    let partitions = ask(&programs, "partition_files.py", folder, &["--table", TABLE])?;
    let Followed {
        took,
        early,
        most,
        last,
    } = seen;
    let (early_ms, last_ms) = (median(&took[EARLY]), median(&took[took.len() - LAST..]));
    Ok(Report {
        machine: usage::machine(),
        commits: took.len(),
        seconds,
        early_ms,
        last_ms,
        slowest_ms: took.iter().copied().fold(0.0, f64::max),
        medians_ms: took.chunks(STRETCH).map(median).collect(),
        files_most: most.files,
        files_end: last.files,
        files_a_partition: partitions["most"].as_u64(),
        metadata_bytes_early: early.metadata_bytes,
        metadata_bytes_most: most.metadata_bytes,
        metadata_files_most: most.metadata_files,
        node_peak_rss_mib,
        checks: checks(last_ms / early_ms, most, &partitions),
    })
}

fn checks(growth: f64, most: Seen, partitions: &Value) -> Vec<Check> {
    vec![
        Check::at_most("median of the last 50 merges over that of merges 50-100", growth, 1.5),
        Check::at_most("metadata.json, MB", most.metadata_bytes as f64 / 1e6, 1.0),
        Check::at_most(
            "files of a partition at the end",
            partitions["most"].as_f64().unwrap_or(f64::NAN),
            100.0,
        ),
    ]
}

/// What was seen of the table meanwhile.
struct Followed {
    /// How long each merge took.
    took: Vec<f64>,
    early: Seen,
    most: Seen,
    last: Seen,
}

/// Waits for the merges, looking at the table.
fn follow(options: Options, folder: &Path, say: &dyn Fn(&str)) -> Outcome<Followed> {
    let started = Instant::now();
    let log = folder.join("node.err");
    let limit = PATIENCE * u32::try_from(options.commits)? + Duration::from_secs(60);
    let (mut early, mut most, mut last) = (None, Seen::default(), Seen::default());
    let mut told = 0;
    loop {
        interrupt::check()?;
        std::thread::sleep(LOOK_EVERY);
        if let Some(seen) = look(folder) {
            early = early.or((seen.commits >= EARLY.end as u64).then_some(seen));
            most.files = most.files.max(seen.files);
            most.metadata_bytes = most.metadata_bytes.max(seen.metadata_bytes);
            most.metadata_files = most.metadata_files.max(seen.metadata_files);
            last = seen;
        }
        let took = merges_ms(&std::fs::read_to_string(&log)?);
        if took.len() >= options.commits {
            return Ok(Followed {
                took,
                early: early.unwrap_or_default(),
                most,
                last,
            });
        }
        if started.elapsed() > limit {
            return Err(format!("only {} merges in {limit:?}", took.len()).into());
        }
        if took.len() >= told + 500 {
            told = took.len();
            say(&format!("{told} merges, {} files", last.files));
        }
    }
}

/// How long each merge took from reading bronze to its commit, as the node's log says.
fn merges_ms(log: &str) -> Vec<f64> {
    let merged = log
        .lines()
        .filter(|line| line.contains(" merged ") && line.contains(TABLE));
    let value = |line: &str| line.rsplit_once(" ms=")?.1.split_whitespace().next()?.parse().ok();
    merged.filter_map(value).collect()
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        format!(
            "{} merges into silver.trades in {:.0} s, {}\n\
             median of merges 50-100: {:.1} ms, of the last 50: {:.1} ms, slowest {:.0} ms; {:.0} MiB\n\
             medians of {STRETCH} merges each, ms: {}\n\
             files: at most {}, {} at the end, {} in the partition that has most\n\
             metadata.json: {} bytes at the hundredth, at most {}; metadata/ at most {} files",
            self.commits,
            self.seconds,
            self.machine,
            self.early_ms,
            self.last_ms,
            self.slowest_ms,
            self.node_peak_rss_mib,
            self.medians_ms
                .iter()
                .map(|ms| format!("{ms:.1}"))
                .collect::<Vec<_>>()
                .join(" "),
            self.files_most,
            self.files_end,
            self.files_a_partition
                .map_or_else(String::new, |files| files.to_string()),
            self.metadata_bytes_early,
            self.metadata_bytes_most,
            self.metadata_files_most,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_merges_of_the_table_count() {
        let log = "t DEBUG a::silver_merge: merged table=\"silver.trades\" input=5 ms=311\n\
                   t DEBUG a::silver_merge: merged table=\"silver.market_data\" ms=7\n\
                   t INFO a::silver_merge: opened table=\"silver.trades\" seconds=1.0\n\
                   t DEBUG a::silver_merge: merged table=\"silver.trades\" ms=20 more=1\n";
        assert_eq!(merges_ms(log), [311.0, 20.0]);
    }
}

//! What the files of silver.trades cost a reader in the middle of the load, against a compacted copy of the same rows.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::oracle::ask;
use super::stream::Stream;
use super::table::look;
use super::{BOTH_LAYERS, TABLE};
use crate::process::Background;
use crate::report::Check;
use crate::servers::{Programs, Servers};
use crate::{Outcome, interrupt, usage};

/// The reader begins when so much of the topic is merged.
const BEGIN_AT: f64 = 0.6;
/// No stream takes longer until then.
const PATIENCE: Duration = Duration::from_secs(600);

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Messages in the topic, over 60 days.
    pub records: u64,
    /// Seed of the trades.
    pub seed: u64,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: String,
    records: u64,
    /// What `tests/oracle/scan_cost.py` printed.
    oracle: Value,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// Measures.
///
/// # Errors
/// When a part fails.
pub fn run(options: Options, folder: &Path, say: &dyn Fn(&str)) -> Outcome<Report> {
    let programs = Programs::find()?;
    say("starting Kafka and Apicurio");
    let servers = Servers::start(&folder.join("servers"))?;
    Stream::Days.produce((&servers, &programs), folder, options.records, options.seed)?;
    let mut node = servers.node(&programs, folder);
    node.args(["--log-level", "warn"]).args(BOTH_LAYERS);
    let node = Background::start(node, "node", folder)?;
    let started = Instant::now();
    while look(folder).is_none_or(|seen| (seen.merged as f64) < options.records as f64 * BEGIN_AT) {
        interrupt::check()?;
        if started.elapsed() > PATIENCE {
            return Err("the node does not get on".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let merged = look(folder).map_or(0, |seen| seen.merged);
    say(&format!("{merged} records are merged; the reader begins"));
    let oracle = ask(&programs, "scan_cost.py", folder, &["--table", TABLE, "--runs", "5"])?;
    node.stop(Duration::from_secs(30))?;
    let ratio = oracle["ratio"].as_f64().unwrap_or(f64::NAN);
    Ok(Report {
        machine: usage::machine(),
        records: options.records,
        oracle,
        checks: vec![Check::at_most(
            "full scan by DuckDB, silver.trades / compacted copy",
            ratio,
            1.3,
        )],
    })
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        format!(
            "full scan of silver.trades while {} messages over 60 days are merged; {}\n\
             {} rows in {} data and {} delete files: {} s; a compacted copy in {} files: {} s",
            self.records,
            self.machine,
            self.oracle["rows"],
            self.oracle["data_files"],
            self.oracle["delete_files"],
            self.oracle["table_s"],
            self.oracle["copy_files"],
            self.oracle["copy_s"],
        )
    }
}

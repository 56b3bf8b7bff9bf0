//! Throughput: the node, the limit loop and kcat in turn on the same topic of a real Kafka, everything produced before.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;
use serde_json::Value;

use crate::process::{Measured, measure};
use crate::report::{Check, median, table};
use crate::servers::{Programs, Servers, catalog};
use crate::{Outcome, interrupt, usage};

const TOPIC: &str = "raw.trades";

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Trades in the topic.
    pub records: u64,
    /// Turns of all contestants.
    pub runs: usize,
    /// Seed of the trades.
    pub seed: u64,
}

/// What takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Contestant {
    /// The limit loop: one thread, one file, no commit.
    Limit,
    /// The node.
    Tapehouse,
    /// The limit loop's first stage alone.
    LimitConsume,
    /// kcat, writing the values to /dev/null.
    Kcat,
}

/// One run of one of them.
#[derive(Debug, Serialize)]
struct Run {
    contestant: Contestant,
    turn: usize,
    load_before: f64,
    #[serde(flatten)]
    measured: Measured,
    commits: Option<u64>,
}

/// All that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: String,
    records: u64,
    runs: Vec<Run>,
    /// Median over the turns of (limit's CPU / the node's CPU).
    cpu_ratio: f64,
    /// Median over the turns of (limit's wall time / the node's).
    wall_ratio: f64,
    /// Largest of the node's peaks.
    peak_rss_mib: f64,
    /// Limit's records per CPU-second over kcat's.
    limit_of_kcat: Option<f64>,
    /// The same of the limit loop's first stage.
    consume_of_kcat: Option<f64>,
    /// What the oracle said of the last warehouse.
    read_back: Value,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// Produces the trades, then measures.
///
/// # Errors
/// When a part fails, or a run did not bring every record into the table.
pub fn run(options: Options, folder: &Path, say: &dyn Fn(&str)) -> Outcome<Report> {
    let programs = Programs::find()?;
    say("starting Kafka and Apicurio");
    let servers = Servers::start(&folder.join("servers"))?;
    let count = options.records.to_string();
    let arguments = ["--count", &count, "--seed", &options.seed.to_string()];
    let produced = servers.generate(&programs, folder, &arguments)?;
    if produced["produced"].as_u64() != Some(options.records) {
        return Err(format!("the generator produced {}", produced["produced"]).into());
    }
    say(&format!("{} trades are in Kafka", options.records));
    let mut bench = Bench {
        options,
        programs,
        servers,
        folder: folder.to_owned(),
        runs: Vec::new(),
        read_back: Value::Null,
    };
    for turn in 0..options.runs {
        bench.turn(turn, say)?;
    }
    Ok(bench.report())
}

struct Bench {
    options: Options,
    programs: Programs,
    servers: Servers,
    folder: PathBuf,
    runs: Vec<Run>,
    read_back: Value,
}

impl Bench {
    /// Everybody once, beginning with another one each time.
    fn turn(&mut self, turn: usize, say: &dyn Fn(&str)) -> Outcome<()> {
        let mut order = vec![Contestant::Limit, Contestant::Tapehouse, Contestant::LimitConsume];
        if self.programs.kcat.is_some() {
            order.push(Contestant::Kcat);
        }
        let first = turn % order.len();
        order.rotate_left(first);
        for contestant in order {
            interrupt::check()?;
            let folder = self.folder.join("run");
            std::fs::create_dir_all(&folder)?;
            let load_before = usage::load_1min()?;
            let measured = measure(self.command(contestant, &folder), &folder)?;
            let commits = self.check(contestant, &measured, &folder, turn)?;
            say(&format!(
                "turn {}: {contestant:?} {:.2} s, {:.2} CPU-s, {:.0} MiB (load {load_before})",
                turn + 1,
                measured.wall_seconds,
                measured.cpu_seconds,
                measured.peak_rss_mib
            ));
            std::fs::remove_dir_all(&folder)?;
            self.runs.push(Run {
                contestant,
                turn,
                load_before,
                measured,
                commits,
            });
        }
        Ok(())
    }

    fn command(&self, contestant: Contestant, folder: &Path) -> Command {
        match contestant {
            Contestant::Tapehouse => {
                let mut command = self.servers.node(&self.programs, folder);
                command.args(["--log-level", "warn", "run", "--until-caught-up"]);
                command.args(["--source", "trades", "-o", "json"]);
                command
            }
            Contestant::Limit | Contestant::LimitConsume => {
                let mode = if contestant == Contestant::Limit {
                    "write"
                } else {
                    "consume"
                };
                let mut command = Command::new(&self.programs.limit);
                command
                    .current_dir(folder)
                    .args([
                        "--bootstrap",
                        &self.servers.bootstrap,
                        "--registry",
                        &self.servers.registry,
                    ])
                    .args(["--topic", TOPIC, "--mode", mode]);
                command
            }
            Contestant::Kcat => {
                let mut command = Command::new("sh");
                // The shell adds under a millisecond; kcat would otherwise fill a file.
                command.args([
                    "-c",
                    "exec \"$0\" -q -b \"$1\" -C -t \"$2\" -o beginning -e -f %s >/dev/null",
                ]);
                command.arg(self.programs.kcat.as_deref().unwrap_or(Path::new("kcat")));
                command.args([self.servers.bootstrap.as_str(), TOPIC]);
                command
            }
        }
    }

    /// Sees to it that the work was done; outside of the measured time.
    fn check(
        &mut self,
        contestant: Contestant,
        measured: &Measured,
        folder: &Path,
        turn: usize,
    ) -> Outcome<Option<u64>> {
        if contestant == Contestant::Kcat {
            return Ok(None);
        }
        let said: Value = serde_json::from_str(&measured.stdout)?;
        let key = if contestant == Contestant::Limit {
            "rows"
        } else {
            "records"
        };
        if said[key].as_u64() != Some(self.options.records) {
            return Err(format!("{contestant:?}: {} of {} records", said[key], self.options.records).into());
        }
        if contestant != Contestant::Tapehouse {
            return Ok(None);
        }
        let mut oracle = self.programs.oracle("bronze.py");
        oracle.arg(catalog(folder)).args(["--table", "bronze.raw_trades"]);
        oracle.args(["--expect-rows", &self.options.records.to_string()]);
        if turn + 1 == self.options.runs {
            oracle.args([
                "--complete",
                &format!("topic={TOPIC},bootstrap={}", self.servers.bootstrap),
            ]);
        }
        let output = oracle.output()?;
        let judged: Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| format!("the oracle failed: {}", String::from_utf8_lossy(&output.stderr)))?;
        if !output.status.success() {
            return Err(format!("the table is wrong: {}", judged["violations"]).into());
        }
        self.read_back = judged;
        Ok(said["commits"].as_u64())
    }

    fn each(&self, contestant: Contestant, value: impl Fn(&Measured) -> f64) -> Vec<f64> {
        let runs = self.runs.iter().filter(|run| run.contestant == contestant);
        runs.map(|run| value(&run.measured)).collect()
    }

    /// Median over the turns of `a`'s value over `b`'s: neighbours in time share the machine's load.
    fn ratio(&self, a: Contestant, b: Contestant, value: impl Fn(&Measured) -> f64 + Copy) -> f64 {
        let pairs = self.each(a, value).into_iter().zip(self.each(b, value));
        median(&pairs.map(|(a, b)| a / b).collect::<Vec<_>>())
    }

    fn report(self) -> Report {
        let cpu = |measured: &Measured| measured.cpu_seconds;
        let wall = |measured: &Measured| measured.wall_seconds;
        let cpu_ratio = self.ratio(Contestant::Limit, Contestant::Tapehouse, cpu);
        let wall_ratio = self.ratio(Contestant::Limit, Contestant::Tapehouse, wall);
        let peaks = self.each(Contestant::Tapehouse, |measured| measured.peak_rss_mib);
        let peak_rss_mib = peaks.into_iter().fold(0.0, f64::max);
        let of_kcat = |contestant| {
            let kcat = self.programs.kcat.as_ref();
            kcat.map(|_| self.ratio(Contestant::Kcat, contestant, cpu))
        };
        let (limit_of_kcat, consume_of_kcat) = (of_kcat(Contestant::Limit), of_kcat(Contestant::LimitConsume));
        let mut checks = vec![
            Check::at_least("records per CPU-second, node / limit", cpu_ratio, 0.8),
            Check::at_least("records per second of wall time, node / limit", wall_ratio, 0.7),
            Check::at_most("peak memory of the node, MiB", peak_rss_mib, 600.0),
        ];
        // What the limit must write has nothing to do with kcat; that it reads as it should is what this guards.
        checks.extend(
            consume_of_kcat
                .map(|ratio| Check::at_least("records per CPU-second, the limit loop's consumer / kcat", ratio, 0.45)),
        );
        Report {
            machine: usage::machine(),
            records: self.options.records,
            cpu_ratio,
            wall_ratio,
            peak_rss_mib,
            limit_of_kcat,
            consume_of_kcat,
            read_back: self.read_back,
            checks,
            runs: self.runs,
        }
    }
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let contestants = [
            (Contestant::Limit, "limit loop"),
            (Contestant::Tapehouse, "tapehouse"),
            (Contestant::LimitConsume, "limit loop, consume only"),
            (Contestant::Kcat, "kcat to /dev/null"),
        ];
        let head = [
            "median of the runs",
            "wall s",
            "CPU s",
            "records/s",
            "records/CPU-s",
            "peak MiB",
        ];
        let mut rows = Vec::new();
        for (contestant, name) in contestants {
            let runs: Vec<_> = self.runs.iter().filter(|run| run.contestant == contestant).collect();
            if runs.is_empty() {
                continue;
            }
            let of = |value: &dyn Fn(&Measured) -> f64| {
                median(&runs.iter().map(|run| value(&run.measured)).collect::<Vec<_>>())
            };
            let (wall, cpu) = (of(&|m| m.wall_seconds), of(&|m| m.cpu_seconds));
            rows.push(vec![
                name.to_owned(),
                format!("{wall:.2}"),
                format!("{cpu:.2}"),
                format!("{:.0}", self.records as f64 / wall),
                format!("{:.0}", self.records as f64 / cpu),
                format!("{:.0}", of(&|m| m.peak_rss_mib)),
            ]);
        }
        let load: Vec<f64> = self.runs.iter().map(|run| run.load_before).collect();
        let of_kcat = self.limit_of_kcat.map_or(String::new(), |ratio| {
            format!("\nlimit / kcat, records per CPU-second: {ratio:.2}")
        });
        format!(
            "{} trades, 4 partitions, {}; load before the runs: median {:.1}\n{}\nread back by PyIceberg and DuckDB: {} rows, {} missing, {} duplicates{of_kcat}",
            self.records,
            self.machine,
            median(&load),
            table(&head, &rows),
            self.read_back["rows_pyiceberg"],
            self.read_back["missing"],
            self.read_back["duplicates"],
        )
    }
}

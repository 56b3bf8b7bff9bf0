//! What silver costs: the same topic into bronze alone, and into bronze and silver, in turn.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::oracle::{demand_fold, said_of_silver};
use super::stream::Stream;
use crate::process::{Measured, measure};
use crate::report::{Check, median, table};
use crate::servers::{Programs, Servers};
use crate::{Outcome, interrupt, usage};

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Messages in the topic.
    pub records: u64,
    /// Turns of both.
    pub runs: usize,
    /// Seed of the trades.
    pub seed: u64,
    /// Which stream.
    pub stream: Stream,
}

/// One turn.
#[derive(Debug, Serialize)]
struct Turn {
    load_before: f64,
    bronze: Measured,
    both: Measured,
    /// What the node said of silver.trades.
    silver: Value,
}

/// All that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: String,
    stream: Stream,
    records: u64,
    turns: Vec<Turn>,
    /// What the generator said.
    produced: Value,
    /// Median, of the process that writes both layers.
    records_per_cpu_second: f64,
    /// Median of the turns' differences.
    silver_us_per_record: f64,
    /// What the oracle counted in the last turn's tables.
    read_back: Value,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// Produces the stream, then measures.
///
/// # Errors
/// When a part fails, or silver is not the fold of bronze.
pub fn run(options: Options, folder: &Path, say: &dyn Fn(&str)) -> Outcome<Report> {
    let programs = Programs::find()?;
    say("starting Kafka and Apicurio");
    let servers = Servers::start(&folder.join("servers"))?;
    let produced = options
        .stream
        .produce((&servers, &programs), folder, options.records, options.seed)?;
    say(&format!("{} messages are in Kafka", options.records));
    let (mut turns, mut read_back) = (Vec::new(), Value::Null);
    for number in 1..=options.runs {
        let load_before = usage::load_1min()?;
        let mut measured = |layers: &str, is_last: bool| -> Outcome<Measured> {
            interrupt::check()?;
            let folder = folder.join("run");
            std::fs::create_dir_all(&folder)?;
            let mut node = servers.node(&programs, &folder);
            node.args(["--log-level", "warn", "run", "--until-caught-up", "-o", "json"]);
            node.args(["--source", "trades", "--layers", layers]);
            let measured = measure(node, &folder)?;
            let said: Value = serde_json::from_str(&measured.stdout)?;
            if said["records"].as_u64() != Some(options.records) {
                return Err(format!("{} of {} records", said["records"], options.records).into());
            }
            if is_last {
                say("the oracle folds bronze");
                read_back = demand_fold(&programs, &folder)?;
            }
            std::fs::remove_dir_all(&folder)?;
            Ok(measured)
        };
        let bronze = measured("bronze", false)?;
        let both = measured("bronze,silver", number == options.runs)?;
        let silver = said_of_silver(&both.stdout)?;
        if silver["input"].as_u64() != Some(options.records) {
            return Err(format!("silver has read {} records", silver["input"]).into());
        }
        let turn = Turn {
            load_before,
            bronze,
            both,
            silver,
        };
        say(&format!("turn {number}: {}", turn.text(options.records)));
        turns.push(turn);
    }
    Ok(report(options, turns, produced, read_back))
}

impl Turn {
    fn silver_us(&self, records: u64) -> f64 {
        (self.both.cpu_seconds - self.bronze.cpu_seconds) * 1e6 / records as f64
    }

    fn text(&self, records: u64) -> String {
        format!(
            "bronze {:.2} CPU-s in {:.2} s, both {:.2} CPU-s in {:.2} s, {:.0} MiB: {:.2} us a record (load {})",
            self.bronze.cpu_seconds,
            self.bronze.wall_seconds,
            self.both.cpu_seconds,
            self.both.wall_seconds,
            self.both.peak_rss_mib,
            self.silver_us(records),
            self.load_before,
        )
    }
}

fn report(options: Options, turns: Vec<Turn>, produced: Value, read_back: Value) -> Report {
    let of = |value: &dyn Fn(&Turn) -> f64| median(&turns.iter().map(value).collect::<Vec<_>>());
    let records = options.records as f64;
    let records_per_cpu_second = of(&|turn| records / turn.both.cpu_seconds);
    let silver_us_per_record = of(&|turn| turn.silver_us(options.records));
    // The contract's limits are for the peers' stream; the other one shows what 60 partitions add.
    let checks = match options.stream {
        Stream::Peers => vec![
            Check::at_least(
                "bronze and silver.trades, records per CPU-second",
                records_per_cpu_second,
                200_000.0,
            ),
            Check::at_most("CPU of silver.trades, us a record", silver_us_per_record, 3.3),
        ],
        Stream::Days => Vec::new(),
    };
    Report {
        machine: usage::machine(),
        stream: options.stream,
        records: options.records,
        produced,
        records_per_cpu_second,
        silver_us_per_record,
        read_back,
        checks,
        turns,
    }
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let head = [
            "median of the turns",
            "wall s",
            "CPU s",
            "records/s",
            "records/CPU-s",
            "peak MiB",
        ];
        let row = |name: &str, of: &dyn Fn(&Turn) -> &Measured| {
            let figure = |value: &dyn Fn(&Measured) -> f64| {
                median(&self.turns.iter().map(|turn| value(of(turn))).collect::<Vec<_>>())
            };
            let (wall, cpu) = (figure(&|m| m.wall_seconds), figure(&|m| m.cpu_seconds));
            vec![
                name.to_owned(),
                format!("{wall:.2}"),
                format!("{cpu:.2}"),
                format!("{:.0}", self.records as f64 / wall),
                format!("{:.0}", self.records as f64 / cpu),
                format!("{:.0}", figure(&|m| m.peak_rss_mib)),
            ]
        };
        let rows = [
            row("bronze", &|turn| &turn.bronze),
            row("bronze and silver.trades", &|turn| &turn.both),
        ];
        let last = self.turns.last().map_or(&Value::Null, |turn| &turn.silver);
        format!(
            "{} messages, stream of {}, {}\n{}\nsilver.trades: {:.2} us of CPU a record; {} rows, in {} commits; the oracle finds {} of {}",
            self.records,
            self.stream.name(),
            self.machine,
            table(&head, &rows),
            self.silver_us_per_record,
            last["rows"],
            last["commits"],
            self.read_back["found"],
            self.read_back["expected"],
        )
    }
}

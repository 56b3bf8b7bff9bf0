//! Freshness: a steady stream of trades, a running node with its default settings, and a reader that knows nothing of it.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::process::Background;
use crate::report::Check;
use crate::servers::{Programs, Servers, catalog};
use crate::{Outcome, interrupt, silver, usage};

/// The stream flows for so long before the reader begins, and after it has ended.
const MARGIN: Duration = Duration::from_secs(4);

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Trades a second.
    pub rate: u32,
    /// How long the reader watches.
    pub seconds: u64,
    /// Whether it watches silver.trades, with corrections and re-sends in the stream, and not bronze.
    pub is_silver: bool,
}

/// What the reader saw.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: String,
    rate: u32,
    table: &'static str,
    load_before: f64,
    load_after: f64,
    /// CPU of the node over the whole time that it ran, in cores.
    node_cores: f64,
    node_peak_rss_mib: f64,
    /// What `tests/oracle/freshness.py` printed.
    oracle: Value,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// Measures.
///
/// # Errors
/// When a part fails or ends too early.
pub fn run(options: Options, folder: &Path, say: &dyn Fn(&str)) -> Outcome<Report> {
    let programs = Programs::find()?;
    say("starting Kafka and Apicurio");
    let servers = Servers::start(&folder.join("servers"))?;
    servers.generate(&programs, folder, &["--count", "4"])?;
    let load_before = usage::load_1min()?;
    let mut node = servers.node(&programs, folder);
    node.args(["--log-level", "warn"]);
    match options.is_silver {
        true => node.args(silver::BOTH_LAYERS),
        false => node.args(["run", "--source", "trades"]),
    };
    let node_started = std::time::Instant::now();
    let node = Background::start(node, "node", folder)?;
    let flowing = Duration::from_secs(options.seconds) + 2 * MARGIN;
    let mut generator = servers.node(&programs, folder);
    generator.args(["generate", "--topic", "trades", "--rate", &options.rate.to_string()]);
    generator.args(["--for", &format!("{}s", flowing.as_secs() + 60)]);
    if options.is_silver {
        let shares = [silver::stream::CORRECTIONS, silver::stream::DUPLICATES].map(|share| share.to_string());
        generator.args(["--corrections", &shares[0], "--duplicates", &shares[1], "--any-trade"]);
    }
    let generator = Background::start(generator, "generate", folder)?;
    std::thread::sleep(MARGIN);
    say(&format!(
        "{} trades a second flow; the reader watches for {} s",
        options.rate, options.seconds
    ));
    let mut oracle = programs.oracle("freshness.py");
    oracle.arg(catalog(folder));
    // Silver has no Kafka time; its events carry the time at which they were generated, which is earlier.
    let (table, column) = match options.is_silver {
        true => (silver::TABLE, "event_timestamp"),
        false => ("bronze.raw_trades", "kafka_timestamp"),
    };
    oracle.args(["--table", table, "--column", column]);
    oracle.args(["--seconds", &options.seconds.to_string()]);
    let output = oracle.output()?;
    interrupt::check()?;
    let load_after = usage::load_1min()?;
    let node_cores = usage::cpu_seconds_of(node.pid())? / node_started.elapsed().as_secs_f64();
    let node_peak_rss_mib = usage::peak_rss_mib(node.pid()).unwrap_or_default();
    // Interrupted generators report like finished ones, but for their exit code.
    drop(generator);
    node.stop(Duration::from_secs(15))?;
    let said: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("the reader failed: {}", String::from_utf8_lossy(&output.stderr)))?;
    let checks = checks(options, &said);
    Ok(Report {
        machine: usage::machine(),
        rate: options.rate,
        table,
        load_before,
        load_after,
        node_cores,
        node_peak_rss_mib,
        oracle: said,
        checks,
    })
}

fn checks(options: Options, said: &Value) -> Vec<Check> {
    let figure = |key: &str| said[key].as_f64().unwrap_or(f64::NAN);
    let seen_rate = figure("records") / options.seconds as f64;
    // A re-send makes no row, nor does what is corrected within one merge.
    let (p50_ms, p99_ms, share) = match options.is_silver {
        true => (1500.0, 2500.0, 0.9),
        false => (700.0, 1200.0, 0.97),
    };
    vec![
        Check::at_most("produce to visible, p50, ms", figure("p50_ms"), p50_ms),
        Check::at_most("produce to visible, p99, ms", figure("p99_ms"), p99_ms),
        // Fewer would mean that the stream was not the one that is meant, and the figures worth nothing.
        Check::at_least(
            "share of the stream that became visible",
            seen_rate / f64::from(options.rate),
            share,
        ),
    ]
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        format!(
            "freshness of {} at {} trades a second, {}, load {:.1} before, {:.1} after\n\
             p50 {} ms, p90 {} ms, p99 {} ms, max {} ms over {} records and {} commits; the node used {:.2} cores, {:.0} MiB",
            self.table,
            self.rate,
            self.machine,
            self.load_before,
            self.load_after,
            self.oracle["p50_ms"],
            self.oracle["p90_ms"],
            self.oracle["p99_ms"],
            self.oracle["max_ms"],
            self.oracle["records"],
            self.oracle["commits"],
            self.node_cores,
            self.node_peak_rss_mib,
        )
    }
}

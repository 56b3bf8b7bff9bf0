//! `cargo xtask bench`: throughput, freshness and commits, with what must hold.
#![allow(clippy::print_stdout, reason = "a command line program: its output is its purpose")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde_json::{Map, Value};
use tapehouse_benches::report::Check;
use tapehouse_benches::silver::{self, stream::Stream};
use tapehouse_benches::{Outcome, commits, freshness, interrupt, throughput};

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench                                    throughput on 2,000,000 trades
  cargo xtask bench --records 10000000 --check         the figures that the project promises; 1 where one is missed
  cargo xtask bench --freshness --rate 5000 --seconds 60
  cargo xtask bench --commits 5000
  cargo xtask bench --all --check -o json
  cargo xtask bench --silver throughput --records 12240000 --runs 3 --check
  cargo xtask bench --silver size --sizes 500000,10000000,50000000 --records 1224000 --check

Kafka and Apicurio are started for it and stopped again. Each bench says how loaded the machine was: figures of one
run are compared with each other, never with those of another machine.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Parts of the silver bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SilverPart {
    /// Bronze and silver against bronze alone, on the stream of the peers
    Throughput,
    /// The same on a stream of 60 days
    Days,
    /// Merging into tables of different sizes
    Size,
    /// How long after it was generated a trade is visible in silver
    Freshness,
    /// A full scan by DuckDB while the stream of 60 days is merged, against a compacted copy
    Scan,
    /// Thousands of small merges (--commits, --age-ms, --rate)
    Commits,
}

/// End to end on real Kafka, with the limit loop beside it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", after_help = EXAMPLES)]
struct Args {
    /// Trades in the topic
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// Turns in which limit, node and kcat run one after the other
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seed of the trades
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Measure how long after it was produced a record is visible
    #[arg(long)]
    freshness: bool,
    /// Freshness: trades a second
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Freshness: how long
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Measure so many small commits
    #[arg(long, value_name = "N")]
    commits: Option<usize>,
    /// Commits: one so often, in milliseconds; 0: as fast as they go
    #[arg(long, default_value_t = 50)]
    age_ms: u64,
    /// Commits: rows of each
    #[arg(long, default_value_t = 250)]
    rows: usize,
    /// Measure silver; of several parts one after the other
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    silver: Vec<SilverPart>,
    /// Silver, size: rows that the tables have before
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "500000,10000000,50000000",
        value_name = "ROWS"
    )]
    sizes: Vec<u64>,
    /// All three benches of bronze
    #[arg(long)]
    all: bool,
    /// Exit with 1 where a figure misses its limit
    #[arg(long)]
    check: bool,
    /// Folder for servers, tables and files; it is kept [default: a temporary one]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// How results are written
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(checks) if args.check && checks.iter().any(|check| !check.holds) => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(if interrupt::happened() { 130 } else { 1 })
        }
    }
}

fn run(args: &Args) -> Outcome<Vec<Check>> {
    interrupt::watch()?;
    let temporary = tempfile::Builder::new().prefix("tapehouse-bench-").tempdir()?;
    let root = args.dir.as_deref().unwrap_or(temporary.path());
    let mut results = Results {
        output: args.output,
        json: Map::new(),
        checks: Vec::new(),
    };
    for part in &args.silver {
        run_silver(*part, args, root, &mut results)?;
    }
    if args.all || !(args.freshness || args.commits.is_some() || !args.silver.is_empty()) {
        let options = throughput::Options {
            records: args.records,
            runs: args.runs,
            seed: args.seed,
        };
        let report = throughput::run(options, &folder(root, "throughput")?, &say)?;
        results.add("throughput", &report, &report.checks, &report.text())?;
    }
    if args.all || args.freshness {
        let options = freshness::Options {
            rate: args.rate,
            seconds: args.seconds,
            is_silver: false,
        };
        let report = freshness::run(options, &folder(root, "freshness")?, &say)?;
        results.add("freshness", &report, &report.checks, &report.text())?;
    }
    // With silver, the number is that of silver's commits.
    let of_bronze = args.commits.filter(|_| args.silver.is_empty());
    if let Some(commits) = of_bronze.or(args.all.then_some(5000)) {
        let options = commits::Options {
            commits,
            age: Duration::from_millis(args.age_ms),
            rows: args.rows,
        };
        let report = commits::run(options, &folder(root, "commits")?, &say)?;
        results.add("commits", &report, &report.checks, &report.text())?;
    }
    if args.output == Output::Json {
        println!("{}", serde_json::to_string_pretty(&results.json)?);
    }
    Ok(results.checks)
}

fn run_silver(part: SilverPart, args: &Args, root: &Path, results: &mut Results) -> Outcome<()> {
    let name = part
        .to_possible_value()
        .map_or_else(String::new, |value| format!("silver-{}", value.get_name()));
    let folder = folder(root, &name)?;
    match part {
        SilverPart::Throughput | SilverPart::Days => {
            let options = silver::throughput::Options {
                records: args.records,
                runs: args.runs,
                seed: args.seed,
                stream: match part {
                    SilverPart::Days => Stream::Days,
                    _ => Stream::Peers,
                },
            };
            let report = silver::throughput::run(options, &folder, &say)?;
            results.add(&name, &report, &report.checks, &report.text())
        }
        SilverPart::Freshness => {
            let options = freshness::Options {
                rate: args.rate,
                seconds: args.seconds,
                is_silver: true,
            };
            let report = freshness::run(options, &folder, &say)?;
            results.add(&name, &report, &report.checks, &report.text())
        }
        SilverPart::Scan => {
            let options = silver::scan::Options {
                records: args.records,
                seed: args.seed,
            };
            let report = silver::scan::run(options, &folder, &say)?;
            results.add(&name, &report, &report.checks, &report.text())
        }
        SilverPart::Commits => {
            let options = silver::commits::Options {
                commits: args.commits.unwrap_or(5000),
                age_ms: args.age_ms,
                rate: args.rate,
            };
            let report = silver::commits::run(options, &folder, &say)?;
            results.add(&name, &report, &report.checks, &report.text())
        }
        SilverPart::Size => {
            let options = silver::size::Options {
                records: args.records,
                sizes: args.sizes.clone(),
                seed: args.seed,
            };
            let report = silver::size::run(&options, &folder, &say)?;
            results.add(&name, &report, &report.checks, &report.text())
        }
    }
}

fn say(text: &str) {
    eprintln!("{text}");
}

fn folder(root: &Path, name: &str) -> Outcome<PathBuf> {
    let folder = root.join(name);
    if folder.exists() {
        return Err(format!("{} exists; a bench begins with nothing", folder.display()).into());
    }
    std::fs::create_dir_all(&folder)?;
    Ok(std::path::absolute(folder)?)
}

struct Results {
    output: Output,
    json: Map<String, Value>,
    checks: Vec<Check>,
}

impl Results {
    fn add(&mut self, name: &str, report: &impl serde::Serialize, checks: &[Check], text: &str) -> Outcome<()> {
        self.json.insert(name.to_owned(), serde_json::to_value(report)?);
        if self.output == Output::Table {
            println!("{text}");
            checks.iter().for_each(|check| println!("{}", check.line()));
            println!();
        }
        self.checks.extend_from_slice(checks);
        Ok(())
    }
}

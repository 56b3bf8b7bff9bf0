//! `cargo xtask chaos`: real node processes over real servers, killed, stopped and misled.
#![allow(clippy::print_stdout, reason = "a command line program: its output is its purpose")]

use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use tapehouse_core::failpoint::{DEFENCES, POINTS};
use tapehouse_tests::chaos::{Options, Plan, Report, Selection, run};
use tapehouse_tests::{Backend, Error};

/// Records in each topic, in CI and with --full.
const RECORDS: (u64, u64) = (100_000, 1_000_000);
/// A run that has to be judged against needs some commits.
const LEAST_RECORDS: u64 = 50_000;

/// Kills, stops and misleads real nodes over real servers, and asks the oracles what became of the tables.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask chaos", max_term_width = 110)]
struct Arguments {
    /// Thirty seeded moments and a million records, instead of six and 100,000
    #[arg(long)]
    full: bool,
    /// Determines everything random [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Records in each topic
    #[arg(long, value_parser = clap::value_parser!(u64).range(LEAST_RECORDS..=100_000_000))]
    records: Option<u64>,
    /// Only cases at this point
    #[arg(long, value_parser = POINTS)]
    point: Option<String>,
    /// Only cases with this defence taken out
    #[arg(long, value_parser = DEFENCES)]
    defence: Option<String>,
    /// Only cases with this in their name; repeatable
    #[arg(long)]
    case: Vec<String>,
    /// Every N-th case, from the I-th on: for runs in parts
    #[arg(long, value_name = "I/N", value_parser = part)]
    part: Option<(usize, usize)>,
    /// Where the tables are
    #[arg(long, value_parser = Backend::NAMES, default_value = "sqlite")]
    backend: String,
    /// Cases at the same time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// A case that cannot be played on this machine is a failure
    #[arg(long)]
    require_servers: bool,
    /// Lists the cases and does nothing
    #[arg(long)]
    list: bool,
}

fn part(text: &str) -> Result<(usize, usize), String> {
    let parsed = text
        .split_once('/')
        .and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parsed {
        Some((part, parts)) if (1..=parts).contains(&part) => Ok((part, parts)),
        _ => Err("must be I/N, for instance 1/4".to_owned()),
    }
}

impl Arguments {
    fn records(&self) -> u64 {
        self.records.unwrap_or(if self.full { RECORDS.1 } else { RECORDS.0 })
    }

    fn selection(&self) -> Selection {
        Selection {
            full: self.full,
            point: self.point.clone(),
            defence: self.defence.clone(),
            cases: self.case.clone(),
            part: self.part,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut plan = Plan::of(&arguments.selection());
    let backend = arguments.backend.parse().unwrap_or_default();
    let left_out = plan.leave_out(backend);
    if arguments.list {
        for case in &plan.0 {
            println!("{}", case.name);
        }
        return ExitCode::SUCCESS;
    }
    for reason in &left_out {
        println!("{reason}");
    }
    if plan.0.is_empty() && !left_out.is_empty() {
        return ExitCode::SUCCESS;
    }
    if plan.0.is_empty() {
        eprintln!("chaos: no case is selected; --list shows them");
        return ExitCode::from(2);
    }
    let clock = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |since| since.as_secs())
    };
    let options = Options {
        seed: arguments.seed.unwrap_or_else(clock),
        records: arguments.records(),
        jobs: arguments.jobs,
        backend,
    };
    println!(
        "{} cases on {}, {} records in each topic, seed {}",
        plan.0.len(),
        arguments.backend,
        options.records,
        options.seed
    );
    let started = Instant::now();
    match run(&plan, options, tell) {
        Ok((reports, kept)) => {
            let failed = summarize(&reports, &arguments, options);
            let passed = reports.iter().filter(|report| report.outcome.is_ok()).count();
            let left_out = reports.iter().filter(|report| report.is_left_out()).count();
            println!(
                "{passed} of {} cases passed, {left_out} left out, in {:.0} s",
                reports.len(),
                started.elapsed().as_secs_f64()
            );
            if let Some(kept) = kept {
                println!("kept for inspection: {}", kept.display());
            }
            if failed == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error @ Error::Needs(_)) => {
            eprintln!("chaos: {error}");
            ExitCode::from(77)
        }
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One line as soon as a case is over.
fn tell(report: &Report) {
    println!(
        "{:8} {} ({:.1} s)",
        verdict(report),
        report.case.name,
        report.took.as_secs_f64()
    );
}

fn verdict(report: &Report) -> &'static str {
    match report.outcome {
        Ok(_) => "ok",
        Err(_) if report.is_left_out() => "left out",
        Err(_) => "FAILED",
    }
}

/// The table, and each failure with the command that repeats it. Returns the number of failures.
fn summarize(reports: &[Report], arguments: &Arguments, options: Options) -> usize {
    let width = reports.iter().map(|report| report.case.name.len()).max().unwrap_or(0);
    println!("\n{:width$}  {:>7}  {:8}  WHAT HAPPENED", "CASE", "SECONDS", "");
    let mut failed = 0;
    for report in reports {
        let story = match &report.outcome {
            Ok(story) => story.clone(),
            Err(error) if report.is_left_out() => error.to_string(),
            Err(_) => "see below".to_owned(),
        };
        println!(
            "{:width$}  {:>7.1}  {:8}  {story}",
            report.case.name,
            report.took.as_secs_f64(),
            verdict(report)
        );
    }
    for report in reports {
        let Err(error) = &report.outcome else { continue };
        if report.is_left_out() && !arguments.require_servers {
            continue;
        }
        failed += 1;
        let full = if arguments.full { "--full " } else { "" };
        println!("\n{}: {error}", report.case.name);
        println!(
            "  again: cargo xtask chaos {full}--backend {} --seed {} --records {} --case {}",
            arguments.backend, options.seed, options.records, report.case.name
        );
    }
    println!();
    failed
}

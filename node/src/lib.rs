//! Tapehouse: market data from Kafka to Apache Iceberg, continuously and exactly once.
//!
//! A library for the binary's one line, and for programs that drive a part of it alone (fuzz targets).

mod allocator;
mod answer;
mod beacon;
mod check;
mod cli;
mod client;
mod commands;
pub mod config;
mod connect;
mod connections;
mod console;
mod coordinate;
mod dates;
mod demo;
mod diagnosis;
mod doctor;
mod duration;
mod exit;
pub mod grpc;
mod http;
mod metrics;
mod pipeline;
mod process;
mod push;
mod reason;
mod runs;
mod signals;
mod silver_answer;
mod silver_view;
mod transactions;
mod view;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};
use console::Style;
use exit::{Exit, Failure};

/// The command line: parses the arguments of this process, runs the command and says how it ended.
pub fn main() -> ExitCode {
    allocator::tune();
    let cli = Cli::parse();
    match dispatch(&cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            console::note(&format!("{} {failure}", Style::of_stderr().bad("error:")));
            failure.exit.into()
        }
    }
}

fn dispatch(cli: &Cli) -> Result<Exit, Failure> {
    let global = &cli.global;
    match &cli.command {
        Command::Config(args) => commands::config::run(args, global).map(|()| Exit::Ok),
        Command::Explain(args) => block_on(commands::explain::run(args, global)),
        Command::Completions(args) => {
            commands::completions::run(args);
            Ok(Exit::Ok)
        }
        Command::Offsets(args) => block_on(commands::offsets::run(args, global)),
        Command::Graph(args) => block_on(commands::graph::run(args, global)),
        Command::Materialize(args) => block_on(commands::materialize::run(args, global)),
        Command::Schedules(args) => block_on(commands::schedules::run(args, global)),
        Command::Runs(args) => block_on(commands::runs::run(args, global)),
        Command::Backfill(args) => block_on(commands::backfill::run(args, global)),
        Command::Partitions(args) => block_on(commands::partitions::run(args, global)),
        Command::Tables(args) => block_on(commands::tables::run(args, global)),
        Command::Status(args) => block_on(commands::status::run(args, global)),
        Command::Cluster(args) => block_on(commands::cluster::run(args, global)),
        Command::Demo(args) => block_on(commands::demo::run(args, global)),
        Command::Doctor(args) => block_on(commands::doctor::run(args, global)),
        Command::Run(args) => block_on(commands::run::run(args, global)),
        Command::Quarantine(args) => block_on(commands::quarantine::run(args, global)),
        Command::Rebuild(args) => block_on(commands::rebuild::run(args, global)),
        Command::Verify(args) => block_on(commands::verify::run(args, global)),
        Command::Generate(args) => block_on(commands::generate::run(args, global)),
    }
}

/// Runs a command on the one runtime of the process.
fn block_on(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("tapehouse-io")
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    let result = runtime.block_on(command);
    // What still blocks (a client that waits for a broker that is away) must not keep the process from ending.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    result
}

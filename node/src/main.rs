//! Tapehouse: market data from Kafka to Apache Iceberg, continuously and exactly once.

mod cli;
mod commands;
mod config;
mod console;
mod exit;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};
use console::Style;
use exit::{Exit, Failure};

fn main() -> ExitCode {
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
        Command::Config(args) => commands::config::run(args, global)?,
        Command::Completions(args) => commands::completions::run(args),
    }
    Ok(Exit::Ok)
}

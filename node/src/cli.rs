//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum, ValueHint};

use crate::commands;
use crate::config::Flags;
use crate::console::OutputFormat;

const EXAMPLES: &str = "\
Examples:
  tapehouse demo                                   everything in one process, nothing to set up
  tapehouse run --config tapehouse.toml            Kafka to Iceberg, for ever
  tapehouse run --until-caught-up --source trades  until what is there now is committed
  tapehouse offsets                                how far each table is behind its topic
  tapehouse verify --deep                          every record once? reads tables and Kafka

Without a file these four variables are enough: KAFKA_BOOTSTRAP_SERVERS, SCHEMA_REGISTRY_URL,
ICEBERG_CATALOG_URI, ICEBERG_WAREHOUSE_PATH.

Exit codes: 0 ok, 1 failed, 2 usage, 3 stale or failed check, 4 unreachable, 78 bad configuration,
130 interrupted.";

/// Market data from Kafka to Apache Iceberg, continuously and exactly once.
#[derive(Debug, Parser)]
#[command(name = "tapehouse", version, about, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Configuration file [default: ./tapehouse.toml, else tapehouse/tapehouse.toml in the user's configuration folder]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Sets a key of the configuration, for instance --set commit.max_age_ms=200
    #[arg(long, global = true, value_name = "KEY=VALUE", action = ArgAction::Append, value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// Folder of checkpoints [default: ./tapehouse-state]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state_dir: Option<String>,
    /// How results are written
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: OutputFormat,
    /// How log lines on stderr are written
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormatArg>,
    /// Which log lines are written: a level or filters, as RUST_LOG
    #[arg(long, global = true, value_name = "FILTER")]
    pub log_level: Option<String>,
    /// Permits HTTP and gRPC without protection at an address other than loopback, and tokens in plain text
    #[arg(long, global = true)]
    pub insecure: bool,
}

/// Values of `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormatArg {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Global {
    /// What the flags say about the configuration.
    pub fn flags(&self) -> Flags {
        let mut set = self.set.clone();
        let mut add = |key: &str, value: Option<String>| set.extend(value.map(|value| (key.to_owned(), value)));
        add("node.state_dir", self.state_dir.clone());
        add("log.level", self.log_level.clone());
        let format = self.log_format.map(|format| match format {
            LogFormatArg::Text => "text".to_owned(),
            LogFormatArg::Json => "json".to_owned(),
        });
        add("log.format", format);
        Flags {
            file: self.config.clone(),
            set,
            insecure: self.insecure,
        }
    }
}

/// What there is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try it: Kafka, registry, generator and node in one process
    Demo(commands::demo::Args),
    /// Ingest from Kafka into Iceberg tables
    Run(commands::run::Args),
    /// Produce realistic market data into Kafka
    Generate(Box<commands::generate::Args>),
    /// Check everything that a node needs; each failure with its way out
    Doctor(commands::doctor::Args),
    /// Show how far each table is behind its topic, partition by partition
    Offsets(commands::offsets::Args),
    /// Show the tables: rows, files, size, snapshots, last commit
    Tables(commands::tables::Args),
    /// Show which tables are made from which, and how far each is
    Graph(commands::graph::Args),
    /// Show the days of a table: version, rows, files; or why one is as it is
    Partitions(commands::partitions::Args),
    /// Have days of tables computed again, and wait for it
    Materialize(commands::materialize::Args),
    /// Have many days computed again, in the background
    Backfill(commands::backfill::Args),
    /// Show by which runs days were computed; retry or cancel one
    Runs(commands::runs::Args),
    /// Show what a node does at a time of day; pause or trigger it
    Schedules(commands::schedules::Args),
    /// Show how each topic stands, and why data is not visible where it is not
    Status(commands::status::Args),
    /// Show the nodes of a cluster, as one of them tells
    Cluster(commands::cluster::Args),
    /// Show rows that rules have set aside, and decide about them
    Quarantine(commands::quarantine::Args),
    /// Make a silver table anew from its bronze table
    Rebuild(commands::rebuild::Args),
    /// Check that each record is in its table once
    Verify(commands::verify::Args),
    /// Explain an error code, or where a record is
    Explain(commands::explain::Args),
    /// Check and show the configuration
    Config(commands::config::Args),
    /// Print completions for a shell
    Completions(commands::completions::Args),
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE, for instance commit.max_age_ms=200".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_command_has_examples() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_after_help().is_some(), "{}", command.get_name());
        }
    }
}

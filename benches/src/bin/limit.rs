//! The limit loop as a process of its own, so that its CPU and memory are counted like the pipeline's.
#![allow(clippy::print_stdout, reason = "a command line program: its output is its purpose")]

use std::path::PathBuf;

use clap::Parser;
use tapehouse_benches::Outcome;
use tapehouse_benches::limit::{Mode, Options, run};

/// One thread, one Parquet file, no commit: the most that the same libraries can do with a topic.
#[derive(Debug, Parser)]
struct Args {
    /// Kafka
    #[arg(long)]
    bootstrap: String,
    /// Schema Registry
    #[arg(long)]
    registry: String,
    /// Topic, read from beginning to end
    #[arg(long, default_value = "raw.trades")]
    topic: String,
    /// Bound of librdkafka's queue, as the node has it with its default memory budget
    #[arg(long, default_value_t = 8192)]
    queue_kib: usize,
    /// Rows of a record batch
    #[arg(long, default_value_t = 8192)]
    batch_rows: usize,
    /// How far to go with each record
    #[arg(long, value_enum, default_value = "write")]
    mode: Mode,
    /// The Parquet file
    #[arg(long, default_value = "limit.parquet")]
    output: PathBuf,
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let report = run(&Options {
        bootstrap: args.bootstrap,
        registry: args.registry,
        topic: args.topic,
        queue_kib: args.queue_kib,
        batch_rows: args.batch_rows,
        mode: args.mode,
        output: args.output,
    })?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

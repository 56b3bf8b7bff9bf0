//! `tapehouse explain`

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use serde_json::json;
use tapehouse_core::codes::{self, CODES, Code};
use tapehouse_core::offsets::{Offset, PartitionId};

use super::EndpointArgs;
use super::coordinate;
use crate::cli::{Cli, Global};
use crate::config::nearest;
use crate::console::{OutputFormat, print, print_json};
use crate::coordinate::Wanted;
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse explain offset_lost              what an error code means and what to do about it
  tapehouse explain raw.trades 3 1204711     where the record at this partition and offset is, or why it is nowhere
  tapehouse explain trades 3 1204711 -o json

Of a record it asks the table first, then Kafka, and a node where one is known: none of them has to be there. What could not be
asked is said. Exit code 3: the record should be in the table and is not; 4: whoever knows cannot be reached.";

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An error code; or a topic, by short name, topic or table, with partition and offset
    #[arg(value_name = "CODE|TOPIC")]
    what: String,
    /// The record's partition
    #[arg(requires = "offset", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<PartitionId>,
    /// The record's offset
    #[arg(value_parser = clap::value_parser!(i64).range(0..))]
    offset: Option<Offset>,
    /// Incarnation of a topic that was created again [default: the one of now]
    #[arg(long, value_name = "N", requires = "offset", value_parser = clap::value_parser!(i32).range(0..))]
    incarnation: Option<i32>,
    #[command(flatten)]
    node: EndpointArgs,
}

/// Explains an error code, or where a record is.
///
/// # Errors
/// For a record: bad configuration, or nobody who knows can be reached. A code that does not exist is a wrong argument, exit code 2.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    if let (Some(partition), Some(offset)) = (args.partition, args.offset) {
        let wanted = Wanted {
            partition,
            offset,
            incarnation: args.incarnation,
        };
        return coordinate::run(&args.what, wanted, &args.node, global).await;
    }
    let Some(code) = codes::find(&args.what) else {
        usage(&args.what)
    };
    match global.output {
        OutputFormat::Json => print_json(&as_json(code)),
        OutputFormat::Table => print(code.page.trim_end()),
    }
    Ok(Exit::Ok)
}

/// Ends the process as any other wrong argument does.
fn usage(word: &str) -> ! {
    let near = nearest(word, CODES.iter().map(|code| code.name));
    let meant = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    let message = format!("`{word}` is no error code{meant} (a record is named by TOPIC PARTITION OFFSET)");
    Cli::command().error(ErrorKind::InvalidValue, message).exit()
}

fn as_json(code: &Code) -> serde_json::Value {
    json!({
        "code": code.name,
        "title": code.title(),
        "met": code.met.heading(),
        "page": code.page,
    })
}

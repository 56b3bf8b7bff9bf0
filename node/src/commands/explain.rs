//! `tapehouse explain`

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use serde_json::json;
use tapehouse_core::codes::{self, CODES, Code};
use tapehouse_core::offsets::{Offset, PartitionId};
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::silver::explain::Key;

use super::{EndpointArgs, coordinate, key};
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
  tapehouse explain trade T001               why silver.trades has the row that it has of this trade, or none
  tapehouse explain book AAPL 2026-01-05T14:30:00Z    the same of an order book, and with `bar` of a bar

T001 comes at 150.25, then at 150.30 with a later event time: silver has one row, 150.30, and `explain trade T001` names the record
that won and the one that lost to it. Of a key it reads the tables alone.

Of a record it asks the table first, then Kafka, and a node where one is known: none of them has to be there. What could not be
asked is said. Exit code 3: the record should be in the table and is not, or nobody knows the key; 4: whoever knows cannot be reached.";

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An error code; a topic, by short name, topic or table, with partition and offset; or `trade`, `book` or `bar` with a key
    #[arg(value_name = "CODE|TOPIC|trade|book|bar")]
    what: String,
    /// The record's partition and offset; or the trade's id; or symbol and time of the book or bar
    #[arg(value_name = "PARTITION OFFSET|ID|SYMBOL TIME", num_args = 0..=2)]
    which: Vec<String>,
    /// Incarnation of a topic that was created again [default: the one of now]
    #[arg(long, value_name = "N", requires = "which", value_parser = clap::value_parser!(i32).range(0..))]
    incarnation: Option<i32>,
    #[command(flatten)]
    node: EndpointArgs,
}

/// Explains an error code, or where a record is.
///
/// # Errors
/// For a record: bad configuration, or nobody who knows can be reached. A code that does not exist is a wrong argument, exit code 2.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let which: Vec<&str> = args.which.iter().map(String::as_str).collect();
    match (args.what.as_str(), &which[..]) {
        (_, []) => {}
        ("trade", [id]) => return key::run(SilverTable::Trades, Key::Text((*id).to_owned()), &args.node, global).await,
        (what, [partition, offset]) => {
            if let (Some(partition), Some(offset)) = (partition.parse().ok(), offset.parse().ok())
                && is_coordinate(partition, offset)
            {
                let wanted = Wanted {
                    partition,
                    offset,
                    incarnation: args.incarnation,
                };
                return coordinate::run(what, wanted, &args.node, global).await;
            }
            let table = match what {
                "book" => SilverTable::OrderbookSnapshots,
                "bar" => SilverTable::MarketData,
                _ => wrong("a record is named by TOPIC PARTITION OFFSET, numbers from 0"),
            };
            let Ok(time) = offset.parse::<jiff::Timestamp>() else {
                wrong("the time of a book or bar is an instant, for instance 2026-01-05T14:30:00Z")
            };
            let key = Key::TextAt((*partition).to_owned(), time.as_microsecond());
            return key::run(table, key, &args.node, global).await;
        }
        _ => {
            wrong("a record is named by TOPIC PARTITION OFFSET, a key by trade ID, book SYMBOL TIME or bar SYMBOL TIME")
        }
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

/// Kafka has no others.
fn is_coordinate(partition: PartitionId, offset: Offset) -> bool {
    partition >= 0 && offset >= 0
}

/// Ends the process as any other wrong argument does.
pub(super) fn wrong(message: &str) -> ! {
    Cli::command().error(ErrorKind::InvalidValue, message).exit()
}

/// As [`wrong`], of a word that is no code.
fn usage(word: &str) -> ! {
    let near = nearest(word, CODES.iter().map(|code| code.name));
    let meant = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    let message = format!("`{word}` is no error code{meant} (a record is named by TOPIC PARTITION OFFSET)");
    wrong(&message)
}

fn as_json(code: &Code) -> serde_json::Value {
    json!({
        "code": code.name,
        "title": code.title(),
        "met": code.met.heading(),
        "page": code.page,
    })
}

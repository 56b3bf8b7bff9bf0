//! `tapehouse explain`

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use serde_json::json;
use tapehouse_core::codes::{self, CODES, Code};

use crate::cli::{Cli, Global};
use crate::config::nearest;
use crate::console::{OutputFormat, print, print_json};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse explain offset_lost              what an error code means and what to do about it
  tapehouse explain offset_lost -o json";

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An error code
    #[arg(value_name = "CODE")]
    code: String,
}

/// Explains an error code.
///
/// # Errors
/// None; a code that does not exist is a wrong argument, exit code 2.
pub fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let Some(code) = codes::find(&args.code) else {
        usage(&args.code)
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
    let message = format!("`{word}` is no error code{meant}");
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

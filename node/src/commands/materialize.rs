//! `tapehouse materialize`

use std::time::Duration;

use tapehouse_proto::v1;

use super::EndpointArgs;
use super::backfill::{date, days, is_over, new_id, remaining_s, show};
use super::ledger_at::LedgerAt;
use crate::cli::Global;
use crate::console::Live;
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse materialize gold --partition 2024-07-05
  tapehouse materialize gold.daily_trading_summary+ --from 2024-07-01 --to 2024-07-09
  tapehouse materialize gold.market_overview             every day that it has

A node has to run: it computes the days, behind everything live. Ctrl-C does not end that; `tapehouse backfill cancel` does.";

/// Looks at the backfill so often.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Arguments of `materialize`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Tables, with commas between: names, layers, +NAME with all that it is made from, NAME+ with all that is made from it
    #[arg(value_name = "SELECTION")]
    selection: String,
    /// One date
    #[arg(long, value_name = "DATE", value_parser = date, conflicts_with_all = ["from", "to"])]
    partition: Option<String>,
    /// First date [default: the first that the tables have]
    #[arg(long, value_name = "DATE", value_parser = date)]
    from: Option<String>,
    /// Last date [default: the last that they have]
    #[arg(long, value_name = "DATE", value_parser = date)]
    to: Option<String>,
    #[command(flatten)]
    node: EndpointArgs,
}

/// Has a node compute days again, and waits for it.
///
/// # Errors
/// Bad configuration; no node; a day that could not be computed.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let ledger = LedgerAt::find(&args.node, global).await?;
    ledger.node()?;
    let date = |of_range: &Option<String>| args.partition.clone().or(of_range.clone()).unwrap_or_default();
    let request = v1::CreateBackfillRequest {
        id: new_id("materialize"),
        selection: args.selection.clone(),
        first_day: date(&args.from),
        last_day: date(&args.to),
        dry_run: false,
    };
    let created = ledger.create(request).await?.backfill;
    let mut backfill = created.ok_or_else(|| Failure::failed("the node did not say what it computes"))?;
    let live = Live::on_stderr();
    let line = live.line();
    while !is_over(&backfill) {
        let rest = remaining_s(&backfill).map_or(String::new(), |seconds| format!(", {seconds:.0} s left"));
        line.set_message(format!(
            "{}: {} of {} days{rest}",
            backfill.id,
            backfill.succeeded,
            days(&backfill)
        ));
        tokio::time::sleep(LOOK_EVERY).await;
        backfill = ledger.backfill(&backfill.id).await?;
    }
    live.clear();
    show(&backfill, global.output);
    match backfill.failed {
        0 => Ok(Exit::Ok),
        failed => Err(Failure::failed(format!("{failed} days could not be computed"))
            .code("run_failed")
            .hint(format!("tapehouse runs list --backfill {} --state failed", backfill.id))),
    }
}

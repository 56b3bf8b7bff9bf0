//! `tapehouse backfill`

use serde_json::{Value, json};
use tapehouse_proto::v1;
use uuid::Uuid;

use super::EndpointArgs;
use super::ledger_at::LedgerAt;
use crate::answer::time_ms;
use crate::cli::Global;
use crate::console::{Align, OutputFormat, Style, Table, grouped, note, print, print_json, rfc3339};
use crate::dates::parse_day;
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse backfill create --asset gold.daily_trading_summary --from 2024-01-01 --to 2024-06-30 --dry-run
  tapehouse backfill create --asset gold --from 2024-01-01 --to 2024-06-30 --nonce h1
  tapehouse backfill list
  tapehouse backfill show h1
  tapehouse backfill pause h1
  tapehouse runs list --backfill h1 --state failed

Each day of each table is a run, computed behind everything live. Up to 31 days that carry no state share a commit;
gold.trader_performance and gold.portfolio_positions are computed in the order of dates, until the last one. A day
whose rows come out as they were keeps its files. Where no node runs, the backfill waits for one.";

/// Arguments of `backfill`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Have days computed again
    Create(CreateArgs),
    /// Show all backfills, the latest first
    List(ListArgs),
    /// Show one, and how long it still takes
    Show(OneArgs),
    /// Put off what has not begun
    Pause(OneArgs),
    /// Go on
    Resume(OneArgs),
    /// End what has not begun
    Cancel(OneArgs),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// Tables, with commas between: names, layers, +NAME with all that it is made from, NAME+ with all that is made from it
    #[arg(long, value_name = "SELECTION")]
    asset: String,
    /// First date
    #[arg(long, value_name = "DATE", value_parser = date)]
    from: String,
    /// Last date
    #[arg(long, value_name = "DATE", value_parser = date)]
    to: String,
    /// Its name: asked for twice under one it is one backfill [default: a new one]
    #[arg(long, value_name = "ID")]
    nonce: Option<String>,
    /// Only show what it would compute
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    node: EndpointArgs,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    node: EndpointArgs,
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// Its name
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    node: EndpointArgs,
}

/// A date that is one, as it was written.
pub(super) fn date(text: &str) -> Result<String, String> {
    parse_day(text).map(|_| text.trim().to_owned())
}

/// A name for a backfill that was given none.
pub(super) fn new_id(prefix: &str) -> String {
    let id = Uuid::new_v4().simple().to_string();
    format!("{prefix}-{}", &id[..8])
}

/// Shows backfills, or decides about one.
///
/// # Errors
/// Bad configuration; a node that does not answer; a backfill that is not there, or cannot be.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let backfill = match &args.action {
        Action::Create(args) => return create(args, global).await,
        Action::List(args) => {
            let backfills = LedgerAt::find(&args.node, global).await?.backfills().await?;
            match global.output {
                OutputFormat::Json => {
                    print_json(&json!({ "backfills": backfills.iter().map(as_json).collect::<Vec<_>>() }));
                }
                OutputFormat::Table => print(&as_table(&backfills)),
            }
            return Ok(Exit::Ok);
        }
        Action::Show(args) => LedgerAt::find(&args.node, global).await?.backfill(&args.id).await?,
        Action::Pause(args) => LedgerAt::find(&args.node, global).await?.pause(&args.id, true).await?,
        Action::Resume(args) => LedgerAt::find(&args.node, global).await?.pause(&args.id, false).await?,
        Action::Cancel(args) => {
            LedgerAt::find(&args.node, global)
                .await?
                .cancel_backfill(&args.id)
                .await?
        }
    };
    show(&backfill, global.output);
    Ok(Exit::Ok)
}

async fn create(args: &CreateArgs, global: &Global) -> Result<Exit, Failure> {
    let ledger = LedgerAt::find(&args.node, global).await?;
    let request = v1::CreateBackfillRequest {
        id: args.nonce.clone().unwrap_or_else(|| new_id("backfill")),
        selection: args.asset.clone(),
        first_day: args.from.clone(),
        last_day: args.to.clone(),
        dry_run: args.dry_run,
    };
    let created = ledger.create(request).await?;
    match (&created.backfill, global.output) {
        (Some(backfill), OutputFormat::Table) => {
            show(backfill, global.output);
            if !ledger.is_at_a_node() {
                note("no node runs with this state folder: it begins when one does");
            }
        }
        (Some(backfill), OutputFormat::Json) => print_json(&as_json(backfill)),
        (None, OutputFormat::Table) => print(&days_table(&created.days)),
        (None, OutputFormat::Json) => {
            let days = created.days.iter().map(|day| {
                json!({ "table": day.table, "day": day.day, "standing": day.standing, "source_rows": day.source_rows })
            });
            print_json(&json!({ "days": days.collect::<Vec<_>>() }));
        }
    }
    Ok(Exit::Ok)
}

fn days_table(days: &[v1::BackfillDay]) -> String {
    let mut table = Table::new(&[
        ("TABLE", Align::Left),
        ("DAY", Align::Left),
        ("IS NOW", Align::Left),
        ("SOURCE ROWS", Align::Right),
    ]);
    for day in days {
        table.row([
            day.table.clone(),
            day.day.clone(),
            day.standing.clone(),
            grouped(day.source_rows),
        ]);
    }
    let rows: u64 = days.iter().map(|day| day.source_rows).sum();
    let sum = format!(
        "\n{} days, some {} rows to read",
        grouped(days.len() as u64),
        grouped(rows)
    );
    table.render(Style::of_stdout()) + &sum
}

/// Days of it, over all tables.
pub(super) fn days(backfill: &v1::Backfill) -> u64 {
    backfill.waiting + backfill.running + backfill.succeeded + backfill.failed + backfill.cancelled
}

/// Whether nothing is left to be computed.
pub(super) fn is_over(backfill: &v1::Backfill) -> bool {
    backfill.waiting + backfill.running == 0
}

fn state(backfill: &v1::Backfill) -> &'static str {
    match backfill {
        _ if !is_over(backfill) && backfill.paused => "paused",
        _ if !is_over(backfill) => "active",
        _ if backfill.failed > 0 => "failed",
        _ if backfill.cancelled > 0 => "cancelled",
        _ => "done",
    }
}

/// How long it still takes, in seconds.
pub(super) fn remaining_s(backfill: &v1::Backfill) -> Option<f64> {
    let remaining = backfill.remaining.as_ref()?;
    Some(remaining.seconds as f64 + f64::from(remaining.nanos) / 1e9)
}

pub(super) fn as_json(backfill: &v1::Backfill) -> Value {
    json!({
        "id": backfill.id, "tables": backfill.tables, "first_day": backfill.first_day, "last_day": backfill.last_day,
        "created": backfill.create_time.as_ref().map(time_ms).and_then(rfc3339), "state": state(backfill),
        "days": days(backfill), "waiting": backfill.waiting, "running": backfill.running, "succeeded": backfill.succeeded,
        "failed": backfill.failed, "cancelled": backfill.cancelled, "remaining_seconds": remaining_s(backfill),
    })
}

pub(super) fn show(backfill: &v1::Backfill, output: OutputFormat) {
    match output {
        OutputFormat::Json => print_json(&as_json(backfill)),
        OutputFormat::Table => print(&as_table(std::slice::from_ref(backfill))),
    }
}

fn as_table(backfills: &[v1::Backfill]) -> String {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("BACKFILL", Align::Left),
        ("TABLES", Align::Left),
        ("FROM", Align::Left),
        ("TO", Align::Left),
        ("STATE", Align::Left),
        ("DONE", right),
        ("OF", right),
        ("FAILED", right),
        ("STILL TAKES", right),
    ]);
    for backfill in backfills {
        table.row([
            backfill.id.clone(),
            backfill.tables.join(", "),
            backfill.first_day.clone(),
            backfill.last_day.clone(),
            state(backfill).to_owned(),
            grouped(backfill.succeeded),
            grouped(days(backfill)),
            grouped(backfill.failed),
            remaining_s(backfill).map_or(String::new(), |seconds| format!("{seconds:.0} s")),
        ]);
    }
    table.render(Style::of_stdout())
}

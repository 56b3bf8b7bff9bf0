//! `tapehouse schedules`

use serde_json::{Value, json};
use tapehouse_proto::v1;

use super::EndpointArgs;
use super::ledger_at::LedgerAt;
use crate::answer::time_ms;
use crate::cli::Global;
use crate::console::{Align, OutputFormat, Style, Table, print, print_json, rfc3339};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse schedules list                          when each fired last, and fires next
  tapehouse schedules pause monthly-recompute
  tapehouse schedules trigger monthly-recompute     the month before, now: a backfill

Times are in America/New_York. `silver` and `gold` have the tables of their layer looked at, which follow by themselves
too; `monthly-recompute` has each day of the month before computed again in all gold tables. A node has to run.";

/// Arguments of `schedules`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show all schedules of the node
    List(ListArgs),
    /// Have one fire no more
    Pause(OneArgs),
    /// Have it fire again; what would have fired meanwhile is not made up for
    Resume(OneArgs),
    /// Have it do its work now
    Trigger(OneArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    node: EndpointArgs,
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    node: EndpointArgs,
}

/// Shows schedules, or decides about one.
///
/// # Errors
/// Bad configuration; no node; a schedule that it does not have.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let schedules = match &args.action {
        Action::List(args) => {
            LedgerAt::find(&args.node, global)
                .await?
                .node()?
                .list_schedules()
                .await?
        }
        Action::Pause(args) => pause(args, true, global).await?,
        Action::Resume(args) => pause(args, false, global).await?,
        Action::Trigger(args) => {
            let ledger = LedgerAt::find(&args.node, global).await?;
            let backfill = ledger.node()?.trigger_schedule(args.name.clone()).await?;
            let backfill = Some(backfill).filter(|backfill| !backfill.is_empty());
            match (global.output, &backfill) {
                (OutputFormat::Json, _) => print_json(&json!({ "name": args.name, "backfill": backfill })),
                (OutputFormat::Table, Some(backfill)) => print(&format!("backfill {backfill}")),
                (OutputFormat::Table, None) => print("the tables are looked at"),
            }
            return Ok(Exit::Ok);
        }
    };
    match global.output {
        OutputFormat::Json => {
            print_json(&json!({ "schedules": schedules.iter().map(as_json).collect::<Vec<_>>() }));
        }
        OutputFormat::Table => print(&as_table(&schedules)),
    }
    Ok(Exit::Ok)
}

async fn pause(args: &OneArgs, is_paused: bool, global: &Global) -> Result<Vec<v1::Schedule>, Failure> {
    let ledger = LedgerAt::find(&args.node, global).await?;
    let schedule = ledger.node()?.pause_schedule(args.name.clone(), is_paused).await?;
    Ok(schedule.into_iter().collect())
}

fn catch_up(schedule: &v1::Schedule) -> &'static str {
    match schedule.catch_up() {
        v1::CatchUp::Unspecified => "unknown",
        v1::CatchUp::Once => "once",
        v1::CatchUp::Each => "each",
    }
}

fn time(time: Option<&prost_types::Timestamp>) -> Option<String> {
    time.map(time_ms).and_then(rfc3339)
}

fn as_json(schedule: &v1::Schedule) -> Value {
    json!({
        "name": schedule.name, "cron": schedule.cron, "catch_up": catch_up(schedule), "paused": schedule.paused,
        "last": time(schedule.last_time.as_ref()), "next": time(schedule.next_time.as_ref()),
    })
}

fn as_table(schedules: &[v1::Schedule]) -> String {
    let left = Align::Left;
    let mut table = Table::new(&[
        ("SCHEDULE", left),
        ("CRON", left),
        ("MAKES UP FOR", left),
        ("LAST", left),
        ("NEXT", left),
    ]);
    for schedule in schedules {
        let next = time(schedule.next_time.as_ref());
        table.row([
            schedule.name.clone(),
            schedule.cron.clone(),
            catch_up(schedule).to_owned(),
            time(schedule.last_time.as_ref()).unwrap_or("never".to_owned()),
            next.unwrap_or("paused".to_owned()),
        ]);
    }
    table.render(Style::of_stdout())
}

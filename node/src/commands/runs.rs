//! `tapehouse runs`

use serde_json::{Value, json};
use tapehouse_core::clock::now_ms;
use tapehouse_proto::v1;

use super::EndpointArgs;
use super::ledger_at::LedgerAt;
use crate::answer::time_ms;
use crate::cli::Global;
use crate::console::{Align, OutputFormat, Style, Table, ago, print, print_json, rfc3339};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse runs list                                    the latest, over all tables
  tapehouse runs list --table gold.market_overview --state failed
  tapehouse runs show 4711                               inputs, attempts, outcome
  tapehouse runs logs 4711                               what happened to it, line by line
  tapehouse runs retry 4711                              its day once more, as a new run
  tapehouse runs list -o json | jq '.runs[] | select(.changed)'

A run computes one day of a table. The node that runs with this state folder is asked, or that of --endpoint; where
none runs, the ledger is read from the folder.";

/// Arguments of `runs`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show runs, the latest first
    List(ListArgs),
    /// Show one run: why, from what, how often tried, how it ended
    Show(RunArgs),
    /// Show what happened to a run, line by line
    Logs(RunArgs),
    /// Compute its day once more, as a new run
    Retry(RunArgs),
    /// End a run that waits
    Cancel(RunArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only of this table
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// Only in this state; may be repeated
    #[arg(long, value_enum, value_name = "STATE")]
    state: Vec<State>,
    /// Only of this backfill
    #[arg(long, value_name = "ID")]
    backfill: Option<String>,
    /// So many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    last: u32,
    #[command(flatten)]
    node: EndpointArgs,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Number of the run
    #[arg(value_name = "RUN")]
    id: u64,
    #[command(flatten)]
    node: EndpointArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum State {
    Waiting,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl From<State> for v1::RunState {
    fn from(state: State) -> Self {
        match state {
            State::Waiting => Self::Waiting,
            State::Running => Self::Running,
            State::Succeeded => Self::Succeeded,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }
}

/// Shows runs, or decides about one.
///
/// # Errors
/// Bad configuration; a node that does not answer; a run that is not there or not in a state for it.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let (run, with_log) = match &args.action {
        Action::List(list) => return show_list(list, global).await,
        Action::Show(args) => (LedgerAt::find(&args.node, global).await?.run(args.id).await?, false),
        Action::Logs(args) => (LedgerAt::find(&args.node, global).await?.run(args.id).await?, true),
        Action::Retry(args) => (LedgerAt::find(&args.node, global).await?.retry(args.id).await?, false),
        Action::Cancel(args) => (LedgerAt::find(&args.node, global).await?.cancel(args.id).await?, false),
    };
    match global.output {
        OutputFormat::Json => print_json(&as_json(&run, true)),
        OutputFormat::Table if with_log => print(&log_text(&run)),
        OutputFormat::Table => print(&details(&run)),
    }
    Ok(Exit::Ok)
}

async fn show_list(list: &ListArgs, global: &Global) -> Result<Exit, Failure> {
    let request = v1::ListRunsRequest {
        table: list.table.clone().unwrap_or_default(),
        states: list
            .state
            .iter()
            .map(|state| v1::RunState::from(*state).into())
            .collect(),
        backfill: list.backfill.clone().unwrap_or_default(),
        page_size: list.last,
        page_token: String::new(),
    };
    let runs = LedgerAt::find(&list.node, global).await?.runs(request).await?.runs;
    match global.output {
        OutputFormat::Json => {
            print_json(&json!({ "runs": runs.iter().map(|run| as_json(run, false)).collect::<Vec<_>>() }));
        }
        OutputFormat::Table => print(&as_table(&runs)),
    }
    Ok(Exit::Ok)
}

fn state_name(run: &v1::Run) -> &'static str {
    match run.state() {
        v1::RunState::Unspecified => "unknown",
        v1::RunState::Waiting => "waiting",
        v1::RunState::Running => "running",
        v1::RunState::Succeeded => "succeeded",
        v1::RunState::Failed => "failed",
        v1::RunState::Cancelled => "cancelled",
    }
}

fn trigger_name(run: &v1::Run) -> &'static str {
    match run.trigger() {
        v1::RunTrigger::Unspecified => "unknown",
        v1::RunTrigger::Inputs => "inputs",
        v1::RunTrigger::Final => "final",
        v1::RunTrigger::Operator => "operator",
    }
}

fn time(time: Option<&prost_types::Timestamp>) -> Option<String> {
    time.map(time_ms).and_then(rfc3339)
}

fn took_ms(run: &v1::Run) -> Option<i64> {
    let end = time_ms(run.end_time.as_ref()?);
    Some(end - time_ms(run.start_time.as_ref()?))
}

/// Also what became of it.
fn outcome(run: &v1::Run) -> String {
    match (run.state(), run.changed) {
        (v1::RunState::Succeeded, Some(true)) => "rows changed".to_owned(),
        (v1::RunState::Succeeded, _) => "as before".to_owned(),
        _ if !run.error_code.is_empty() => format!("[{}] {}", run.error_code, run.error_message),
        _ => String::new(),
    }
}

fn as_json(run: &v1::Run, with_log: bool) -> Value {
    let inputs: serde_json::Map<String, Value> = run
        .inputs
        .iter()
        .map(|input| (input.table.clone(), input.version.into()))
        .collect();
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let mut json = json!({
        "id": run.id, "table": run.table, "day": run.day, "trigger": trigger_name(run), "state": state_name(run),
        "attempts": run.attempts, "nonce": text(&run.nonce), "inputs": inputs, "logic_version": run.logic_version,
        "node": text(&run.node), "created": time(run.create_time.as_ref()), "due": time(run.due_time.as_ref()),
        "started": time(run.start_time.as_ref()), "ended": time(run.end_time.as_ref()), "took_ms": took_ms(run),
        "snapshot_id": run.snapshot_id, "changed": run.changed, "provisional": run.provisional,
        "error_code": text(&run.error_code), "error": text(&run.error_message),
    });
    if with_log {
        let lines = run
            .log
            .iter()
            .map(|line| json!({ "time": time(line.time.as_ref()), "text": line.text }));
        json["log"] = lines.collect();
    }
    json
}

fn as_table(runs: &[v1::Run]) -> String {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("RUN", right),
        ("TABLE", Align::Left),
        ("DAY", Align::Left),
        ("STATE", Align::Left),
        ("WHY", Align::Left),
        ("ATTEMPTS", right),
        ("ASKED FOR", Align::Left),
        ("TOOK", right),
        ("OUTCOME", Align::Left),
    ]);
    let now = now_ms();
    for run in runs {
        table.row([
            run.id.to_string(),
            run.table.clone(),
            run.day.clone(),
            state_name(run).to_owned(),
            trigger_name(run).to_owned(),
            run.attempts.to_string(),
            run.create_time
                .as_ref()
                .map_or(String::new(), |at| ago(time_ms(at), now)),
            took_ms(run).map_or(String::new(), |ms| format!("{ms} ms")),
            outcome(run),
        ]);
    }
    table.render(Style::of_stdout())
}

fn details(run: &v1::Run) -> String {
    let mut lines = vec![
        format!("run        {} of {}, {}", run.id, run.table, run.day),
        format!("state      {}, {} attempts", state_name(run), run.attempts),
        format!(
            "why        {}{}",
            trigger_name(run),
            match run.nonce.as_str() {
                "" => String::new(),
                nonce => format!(" ({nonce})"),
            }
        ),
    ];
    let mut add = |name: &str, text: Option<String>| lines.extend(text.map(|text| format!("{name:<11}{text}")));
    for input in &run.inputs {
        let version = input
            .version
            .map_or("nothing of that day".to_owned(), |version| format!("version {version}"));
        add("from", Some(format!("{}, {version}", input.table)));
    }
    add(
        "logic",
        (run.logic_version > 0).then(|| format!("version {}", run.logic_version)),
    );
    add("asked for", time(run.create_time.as_ref()));
    add("due", time(run.due_time.as_ref()));
    add("started", time(run.start_time.as_ref()));
    add("ended", time(run.end_time.as_ref()));
    add(
        "took",
        took_ms(run).map(|ms| format!("{ms} ms, with the other days of its unit of work")),
    );
    add("node", (!run.node.is_empty()).then(|| run.node.clone()));
    add("snapshot", run.snapshot_id.map(|id| id.to_string()));
    add("outcome", Some(outcome(run)).filter(|text| !text.is_empty()));
    lines.join("\n")
}

fn log_text(run: &v1::Run) -> String {
    let lines = run.log.iter().map(|line| {
        let at = time(line.time.as_ref()).unwrap_or_default();
        format!("{at}  {}", line.text)
    });
    lines.collect::<Vec<_>>().join("\n")
}

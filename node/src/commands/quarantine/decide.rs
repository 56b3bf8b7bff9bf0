//! `tapehouse quarantine replay` and `drop`

use std::collections::BTreeMap;

use serde_json::json;
use tapehouse_core::clock::now_ms;
use tapehouse_lake::Lake;
use tapehouse_lake::silver::SilverTable;
pub use tapehouse_lake::silver::quarantine::Verdict;
use tapehouse_lake::silver::quarantine::{Entry, NewDecision, Quarantine, RecordId, Standing, decide, refusal};

use super::list::{as_json, as_table};
use super::{Selection, failure, not_quarantined, rows};
use crate::cli::Global;
use crate::commands::repair::confirm;
use crate::config::Config;
use crate::console::{OutputFormat, print, print_json};
use crate::exit::{Exit, Failure};

/// Rows decided about by one call: what bounds its memory and its commit.
const MAX_ROWS: usize = 100_000;
/// Rows that are shown before the question.
const SHOWN: usize = 20;

const EXAMPLES: &str = "\
Examples:
  tapehouse quarantine replay trades-0-3-1234 trades-0-1-77 --note \"credits are negative\"
  tapehouse quarantine replay --all --rule negative --table trades --dry-run
  tapehouse quarantine drop --all --rule not_finite --yes -o json

A node that runs applies decisions within some seconds. A replayed row leaves silver only when a later record of its
key comes; a dropped one may be replayed later. Rules that can be waived: after_record, negative, unknown_side,
inconsistent_bar; of what the others set aside no valid row is left.";

/// Arguments of `quarantine replay` and `quarantine drop`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The records
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<RecordId>,
    /// All open rows that --rule and --table leave
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    selection: Selection,
    /// Why; kept with the decision
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Who decides [default: the user's name]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Show what would be decided; decide nothing
    #[arg(long)]
    dry_run: bool,
}

/// Decides.
pub async fn run(
    args: &Args,
    verdict: Verdict,
    lake: &Lake,
    config: &Config,
    global: &Global,
) -> Result<Exit, Failure> {
    let failed = |error| failure(&error);
    let word = verdict.name();
    let Some(quarantine) = Quarantine::load(lake).await.map_err(failed)? else {
        return Err(not_quarantined(if args.all { "--all" } else { "these ids" }));
    };
    let wanted = |entry: &Entry| args.all || args.ids.contains(&entry.id);
    let found = rows(&quarantine, lake, &args.selection, true, wanted)
        .await
        .map_err(failed)?;
    let (chosen, left_out) = match args.all {
        true => choose_all(found, verdict),
        false => (choose(&args.ids, found, verdict)?, 0),
    };
    if chosen.len() > MAX_ROWS {
        return Err(Failure::failed(format!(
            "{} rows are meant, {MAX_ROWS} at most are decided about at once",
            chosen.len()
        ))
        .code("not_decidable")
        .hint("say --rule and --table, or ids"));
    }
    if global.output == OutputFormat::Table {
        let shown = &chosen[..chosen.len().min(SHOWN)];
        print(&as_table(shown));
        if chosen.len() > SHOWN {
            print(&format!("... {} rows in all", chosen.len()));
        }
        if left_out > 0 {
            print(&format!("{left_out} rows are left out: their rules cannot be waived"));
        }
    }
    let is_decided = !args.dry_run && !chosen.is_empty();
    let mut numbers = BTreeMap::new();
    if is_decided {
        if !args.yes {
            confirm(word)?;
        }
        numbers = commit(args, verdict, lake, config, &quarantine, &chosen).await?;
    }
    match global.output {
        OutputFormat::Json => print_json(&json!({
            "decision": word,
            "dry_run": args.dry_run,
            "rows": chosen.iter().map(|(entry, standing)| as_json(entry, *standing)).collect::<Vec<_>>(),
            "left_out": left_out,
            "first_decision": numbers,
        })),
        OutputFormat::Table if is_decided => print(&format!(
            "{word}: {} rows decided; a running node applies it within some seconds",
            chosen.len()
        )),
        OutputFormat::Table if args.dry_run => print("nothing was decided (--dry-run)"),
        OutputFormat::Table => print("there is nothing to decide"),
    }
    Ok(Exit::Ok)
}

/// Of each record the row that can be decided about.
fn choose(
    ids: &[RecordId],
    found: Vec<(Entry, Standing)>,
    verdict: Verdict,
) -> Result<Vec<(Entry, Standing)>, Failure> {
    let mut chosen: BTreeMap<RecordId, (Entry, Standing)> = BTreeMap::new();
    for id in ids {
        let mut of_id = found.iter().filter(|(entry, _)| entry.id == *id).peekable();
        if of_id.peek().is_none() {
            return Err(not_quarantined(&id.to_string()));
        }
        // Of several rules that have set it aside one after another at most one is not waived yet.
        let mut why = String::new();
        for (entry, standing) in of_id {
            match permitted(entry, *standing, verdict) {
                Ok(()) => {
                    chosen.insert(*id, (entry.clone(), *standing));
                }
                Err(refusal) => why = refusal,
            }
        }
        if !chosen.contains_key(id) {
            return Err(Failure::failed(format!("{id} {why}")).code("not_decidable"));
        }
    }
    Ok(chosen.into_values().collect())
}

/// The open rows, and how many of them cannot be decided about so.
fn choose_all(found: Vec<(Entry, Standing)>, verdict: Verdict) -> (Vec<(Entry, Standing)>, usize) {
    let open: Vec<_> = found
        .into_iter()
        .filter(|(_, standing)| *standing == Standing::Open)
        .collect();
    let before = open.len();
    let chosen: Vec<_> = open
        .into_iter()
        .filter(|(entry, standing)| permitted(entry, *standing, verdict).is_ok())
        .collect();
    let left_out = before - chosen.len();
    (chosen, left_out)
}

fn permitted(entry: &Entry, standing: Standing, verdict: Verdict) -> Result<(), String> {
    standing.permits(verdict).map_err(str::to_owned)?;
    match (verdict, refusal(entry, now_ms().saturating_mul(1000))) {
        (Verdict::Replay, Some(why)) => Err(format!("cannot be replayed: {why}")),
        _ => Ok(()),
    }
}

/// One commit for each silver table; the number of the first decision of each.
async fn commit(
    args: &Args,
    verdict: Verdict,
    lake: &Lake,
    config: &Config,
    quarantine: &Quarantine,
    chosen: &[(Entry, Standing)],
) -> Result<BTreeMap<&'static str, u64>, Failure> {
    let failed = |error| failure(&error);
    let mut by_table: BTreeMap<SilverTable, Vec<Entry>> = BTreeMap::new();
    for (entry, _) in chosen {
        by_table.entry(entry.id.table).or_default().push(entry.clone());
    }
    let mut numbers = BTreeMap::new();
    for (table, entries) in by_table {
        let known = quarantine.of(table).map_err(failed)?;
        let new = NewDecision {
            owner: config.cluster.clone(),
            table,
            known: known.decisions,
            generation: known.generation,
            verdict,
            entries,
            decided_at_us: now_ms().saturating_mul(1000),
            decided_by: args.by.clone().unwrap_or_else(user),
            note: args.note.clone(),
        };
        let decided = decide(lake, &new).await.map_err(failed)?;
        let decided = decided.map_err(|not| Failure::failed(format!("{}: {not}", table.name())).code("refused"))?;
        numbers.insert(table.name(), decided.first);
    }
    Ok(numbers)
}

fn user() -> String {
    let names = ["USER", "LOGNAME"].iter().filter_map(|name| std::env::var(name).ok());
    names
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

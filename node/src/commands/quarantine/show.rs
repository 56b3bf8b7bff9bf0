//! `tapehouse quarantine show`

use serde_json::{Value, json};
use tapehouse_lake::Lake;
use tapehouse_lake::silver::quarantine::{Decision, Quarantine, RecordId};

use super::list::as_json;
use super::{Selection, failure, not_quarantined, rows};
use crate::cli::Global;
use crate::console::{OutputFormat, print, print_json, rfc3339};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse quarantine show trades-0-3-1234
  tapehouse quarantine show trades-0-3-1234 -o json | jq .row";

/// Arguments of `quarantine show`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The record
    #[arg(value_name = "ID")]
    id: RecordId,
}

/// Shows one record.
pub async fn run(args: &Args, lake: &Lake, global: &Global) -> Result<Exit, Failure> {
    let failed = |error| failure(&error);
    let missing = || not_quarantined(&args.id.to_string());
    let quarantine = Quarantine::load(lake).await.map_err(failed)?.ok_or_else(missing)?;
    let selection = Selection {
        table: Some(args.id.table),
        rule: None,
    };
    let is_it = |entry: &tapehouse_lake::silver::quarantine::Entry| entry.id == args.id;
    let found = rows(&quarantine, lake, &selection, true, is_it).await.map_err(failed)?;
    let decisions = quarantine.decisions(lake, args.id.table).await.map_err(failed)?.all;
    let decisions: Vec<Decision> = decisions
        .into_iter()
        .filter(|decision| decision.id == args.id)
        .collect();
    let Some((first, _)) = found.first() else {
        return Err(missing());
    };
    let row: Value = serde_json::from_str(&first.row_json).unwrap_or(Value::Null);
    match global.output {
        OutputFormat::Json => print_json(&json!({
            "id": args.id.to_string(),
            "rules": found.iter().map(|(entry, standing)| as_json(entry, *standing)).collect::<Vec<_>>(),
            "decisions": decisions.iter().map(decision_json).collect::<Vec<_>>(),
            "row": row,
        })),
        OutputFormat::Table => {
            let (_, partition, offset) = args.id.coordinates;
            let mut lines = vec![format!(
                "{}: for {}, from {}, partition {partition}, offset {offset}",
                args.id,
                args.id.table.name(),
                first.bronze_table
            )];
            for (entry, standing) in &found {
                let version = entry.rule_version;
                lines.push(format!(
                    "  {} (rules {version}), {}: {}",
                    entry.rule,
                    standing.name(),
                    entry.reason
                ));
            }
            lines.extend(decisions.iter().map(decision_line));
            lines.push(format!("{row:#}"));
            print(&lines.join("\n"));
        }
    }
    Ok(Exit::Ok)
}

fn decided_at(decision: &Decision) -> Option<String> {
    rfc3339(decision.decided_at_us.div_euclid(1000))
}

fn decision_json(decision: &Decision) -> Value {
    json!({
        "number": decision.number,
        "decision": decision.verdict.name(),
        "rule": decision.rule,
        "decided_at": decided_at(decision),
        "decided_by": decision.decided_by,
        "note": decision.note,
    })
}

fn decision_line(decision: &Decision) -> String {
    let at = decided_at(decision).unwrap_or_default();
    let note = decision
        .note
        .as_ref()
        .map(|note| format!(": {note}"))
        .unwrap_or_default();
    format!(
        "  {at} {} of {} by {} (decision {}){note}",
        decision.verdict.name(),
        decision.rule,
        decision.decided_by,
        decision.number
    )
}

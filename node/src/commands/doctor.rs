//! `tapehouse doctor`

use std::time::Instant;

use serde_json::json;

use crate::cli::Global;
use crate::config::{Config, Part};
use crate::console::{Align, OutputFormat, Style, Table, print, print_json};
use crate::doctor::{Check, Verdict, examine, exit, unconfigured};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse doctor                  everything that a node needs, before the first `tapehouse run`
  tapehouse doctor -o json | jq '.checks[] | select(.verdict == \"fail\")'

Safe beside running nodes: what it writes into catalog and warehouse, it takes back.
Exit codes: 0 nothing failed, 1 something failed, 4 something cannot be reached, 78 bad configuration.";

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

/// Checks everything that a node needs.
///
/// # Errors
/// None: what fails is part of the report.
pub async fn run(_args: &Args, global: &Global) -> Result<Exit, Failure> {
    let started = Instant::now();
    let parts = [Part::Node, Part::Kafka, Part::Registry, Part::Lake];
    let checks = match Config::load(&global.flags(), &parts) {
        Err(error) => unconfigured(error.into(), started.elapsed()),
        Ok(config) => {
            super::quiet_logs(&config);
            examine(&config, started.elapsed()).await
        }
    };
    match global.output {
        OutputFormat::Json => print_json(&as_json(&checks)),
        OutputFormat::Table => print(&as_text(&checks)),
    }
    Ok(exit(&checks))
}

fn as_json(checks: &[Check]) -> serde_json::Value {
    let ok = checks.iter().all(|check| check.verdict != Verdict::Fail);
    let checks: Vec<_> = checks
        .iter()
        .map(|check| {
            json!({
                "check": check.name,
                "verdict": check.verdict.name(),
                "ms": u64::try_from(check.took.as_millis()).unwrap_or(u64::MAX),
                "detail": check.detail,
                "code": check.code,
                "way_out": check.way_out,
            })
        })
        .collect();
    json!({ "ok": ok, "checks": checks })
}

fn as_text(checks: &[Check]) -> String {
    let style = Style::of_stdout();
    let mut table = Table::new(&[
        ("CHECK", Align::Left),
        ("VERDICT", Align::Left),
        ("TIME", Align::Right),
        ("FOUND", Align::Left),
    ]);
    for check in checks {
        let first = check.detail.lines().next().unwrap_or_default();
        table.row([
            check.name.clone(),
            check.verdict.name().to_owned(),
            format!("{} ms", check.took.as_millis()),
            first.to_owned(),
        ]);
    }
    let ways_out = checks.iter().filter_map(|check| way_out(check, style));
    let parts: Vec<String> = [table.render(style)].into_iter().chain(ways_out).collect();
    parts.join("\n\n")
}

/// What can be done about a failure or a warning.
fn way_out(check: &Check, style: Style) -> Option<String> {
    let more = check.code.map(|code| format!("\n  more: tapehouse explain {code}"));
    let rest: Vec<&str> = check.detail.lines().skip(1).collect();
    let rest = if rest.is_empty() {
        String::new()
    } else {
        format!("\n{}", rest.join("\n"))
    };
    let hint = check
        .way_out
        .as_deref()
        .map(|hint| format!("\n  {hint}"))
        .unwrap_or_default();
    let name = match check.verdict {
        Verdict::Ok | Verdict::Skipped => return None,
        Verdict::Warn => style.warn(&check.name),
        Verdict::Fail => style.bad(&check.name),
    };
    let first = check.detail.lines().next().unwrap_or_default();
    let code = check.code.map(|code| format!("[{code}] ")).unwrap_or_default();
    Some(format!("{name}: {code}{first}{rest}{hint}{}", more.unwrap_or_default()))
}

//! What the demo tells at its end.

use serde_json::{Value, json};

use super::stage::Ending;
use crate::check::TableCheck;
use crate::console::{Style, grouped};
use crate::pipeline::Totals;

/// The numbers of one demo.
#[derive(Clone, Debug)]
pub struct Summary {
    produced: u64,
    totals: Totals,
    seconds: f64,
    violations: Vec<String>,
    folder: String,
}

impl Summary {
    /// Sums up.
    pub fn of(ending: &Ending, folder: &std::path::Path) -> Self {
        let totals = Totals::of(&ending.progress);
        let mut violations: Vec<String> = ending.checks.iter().flat_map(named).collect();
        let in_tables: u64 = ending.checks.iter().map(|check| check.report.rows).sum();
        if in_tables != ending.produced.produced {
            violations.push(format!(
                "{} records were produced, the tables have {in_tables} rows",
                ending.produced.produced
            ));
        }
        if totals.undecodable != ending.produced.stats.bad() {
            let bad = ending.produced.stats.bad();
            violations.push(format!(
                "{bad} undecodable records were produced, {} are marked so",
                totals.undecodable
            ));
        }
        Self {
            produced: ending.produced.produced,
            totals,
            seconds: ending.elapsed.as_secs_f64(),
            violations,
            folder: folder.display().to_string(),
        }
    }

    /// Whether every record is in its table once.
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    /// For programs.
    pub fn as_json(&self) -> Value {
        let quantile = |quantile| self.totals.freshness.quantile_ms(quantile);
        json!({
            "produced": self.produced,
            "bronze_rows": self.totals.rows - self.totals.undecodable,
            "quarantined": self.totals.undecodable,
            "commits": self.totals.commits,
            "freshness_ms": { "p50": quantile(0.5), "p99": quantile(0.99), "max": quantile(1.0) },
            "records_per_second": self.rate(),
            "seconds": self.seconds,
            "verify": if self.holds() { "ok" } else { "violated" },
            "violations": self.violations,
            "dir": self.folder,
        })
    }

    /// For people.
    pub fn as_text(&self) -> String {
        let style = Style::of_stdout();
        let quantile = |quantile| match self.totals.freshness.quantile_ms(quantile) {
            Some(delay_ms) => format!("{delay_ms} ms"),
            None => "-".to_owned(),
        };
        let verdict = match self.violations.len() {
            0 => style.good("ok: every record is in its table exactly once"),
            violations => style.bad(&format!("{violations} violations")),
        };
        let mut lines = vec![
            format!("produced      {}", grouped(self.produced)),
            format!(
                "bronze rows   {} decoded",
                grouped(self.totals.rows - self.totals.undecodable)
            ),
            format!(
                "quarantined   {} undecodable, kept as they came",
                grouped(self.totals.undecodable)
            ),
            format!("commits       {}", grouped(self.totals.commits)),
            format!(
                "freshness     p50 {}, p99 {}, max {}",
                quantile(0.5),
                quantile(0.99),
                quantile(1.0)
            ),
            format!(
                "throughput    {} records a second over {:.1} s",
                grouped(self.rate() as u64),
                self.seconds
            ),
            format!("verify        {verdict}"),
        ];
        lines.extend(
            self.violations
                .iter()
                .map(|violation| style.bad(&format!("  {violation}"))),
        );
        lines.push(format!("tables        {}", self.folder));
        lines.join("\n")
    }

    fn rate(&self) -> f64 {
        (self.totals.rows as f64 / self.seconds.max(0.001)).round()
    }
}

fn named(check: &TableCheck) -> Vec<String> {
    let table = &check.report.table;
    let name = |violation: &tapehouse_lake::verify::Violation| {
        format!("{table} {}: {}", violation.invariant, violation.message)
    };
    check.report.violations.iter().map(name).collect()
}

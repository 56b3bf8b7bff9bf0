//! What the demo tells at its end.

use serde_json::{Value, json};
use tapehouse_actors::{NodeProgress, SilverProgress};
use tapehouse_lake::days::date_text;

use super::gold::FirstRows;
use super::stage::Ending;
use crate::check::TableCheck;
use crate::console::{Style, grouped};
use crate::pipeline::{Totals, silver_as_json};

/// The numbers of one demo.
#[derive(Clone, Debug)]
pub struct Summary {
    produced: u64,
    totals: Totals,
    silver: Vec<SilverProgress>,
    seconds: f64,
    violations: Vec<String>,
    gold: Vec<FirstRows>,
    /// Trading days that were published, of past ones.
    days: Vec<i32>,
    folder: String,
}

impl Summary {
    /// Sums up.
    pub fn of(ending: &Ending, days: Vec<i32>, folder: &std::path::Path) -> Self {
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
        violations.extend(
            ending
                .progress
                .silver
                .iter()
                .filter_map(|table| unaccounted(table, &ending.progress)),
        );
        violations.extend(ending.gold_violations.iter().cloned());
        Self {
            gold: ending.gold.clone(),
            days,
            produced: ending.produced.produced,
            silver: ending.progress.silver.clone(),
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
        let quantile = |quantile| self.delay_ms(quantile);
        json!({
            "produced": self.produced,
            "bronze_rows": self.totals.rows - self.totals.undecodable,
            "quarantined": self.totals.undecodable,
            "commits": self.totals.commits,
            "silver": self.silver.iter().map(silver_as_json).collect::<Vec<_>>(),
            "gold_rows": self.gold.iter().map(|first| (first.table.to_owned(), first.rows.into())).collect::<serde_json::Map<String, Value>>(),
            "days": self.days.iter().map(|day| date_text(*day)).collect::<Vec<_>>(),
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
        let quantile = |quantile| match self.delay_ms(quantile) {
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
            format!("commits       {} of bronze", grouped(self.totals.commits)),
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
        let at = lines.len() - 1;
        lines.splice(
            at..at,
            self.silver.iter().map(|table| as_line(table, self.days.is_empty())),
        );
        lines.extend(
            self.violations
                .iter()
                .map(|violation| style.bad(&format!("  {violation}"))),
        );
        lines.push(format!("tables        {}", self.folder));
        lines.extend(self.gold.iter().map(|first| format!("\n{}", first.as_text(style))));
        lines.join("\n")
    }

    /// Produce to visible. Records of past days say to be as old as these: there is none.
    fn delay_ms(&self, quantile: f64) -> Option<u64> {
        let delay_ms = self.totals.freshness.quantile_ms(quantile);
        delay_ms.filter(|_| self.days.is_empty())
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

/// Where the numbers of a silver table do not add up: each row of bronze is written, a loser, dropped or quarantined.
fn unaccounted(table: &SilverProgress, progress: &NodeProgress) -> Option<String> {
    if table.is_derived {
        return None;
    }
    let rows = &table.rows;
    let told = rows.written + rows.deduplicated + rows.dropped + rows.quarantined;
    let source = progress.topics.iter().find(|topic| topic.table == table.source);
    let bronze = source.map_or(0, |topic| topic.rows_committed);
    (rows.input != bronze || told != rows.input).then(|| {
        format!(
            "{}: {bronze} rows of {}, {} of them merged, {told} accounted for",
            table.table, table.source, rows.input
        )
    })
}

fn as_line(table: &SilverProgress, is_live: bool) -> String {
    let rows = &table.rows;
    let quantile = |quantile| {
        table
            .freshness
            .quantile_ms(quantile)
            .filter(|_| is_live)
            .map_or("-".to_owned(), |delay_ms| format!("{delay_ms} ms"))
    };
    if table.is_derived {
        return format!(
            "{:<14}{}: {} rows from {}, in {} commits",
            if table.table.starts_with("gold.") {
                "gold"
            } else {
                "silver"
            },
            table.table.trim_start_matches("silver.").trim_start_matches("gold."),
            grouped(table.table_rows),
            table.source,
            grouped(table.commits)
        );
    }
    format!(
        "silver        {}: {} keys; {} deduplicated, {} dropped, {} quarantined; freshness p50 {}, p99 {}",
        table.table.trim_start_matches("silver."),
        grouped(table.table_rows),
        grouped(rows.deduplicated),
        grouped(rows.dropped),
        grouped(rows.quarantined),
        quantile(0.5),
        quantile(0.99)
    )
}

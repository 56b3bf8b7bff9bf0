//! Tables that are derived from others.

use tapehouse_lake::Lake;
use tapehouse_lake::derived::{DayTable, Derivation};
use tapehouse_lake::gold::positions::{Positions, PositionsReport, verify_positions};
use tapehouse_lake::verify::{DerivedReport, verify_derived};

use super::no_such_table;
use crate::connect::derive_failure;
use crate::console::{Live, grouped};
use crate::exit::Failure;

/// Checks a derived table against its sources, day by day.
pub(super) async fn check(lake: &Lake, table: DayTable, cluster: &str) -> Result<DerivedReport, Failure> {
    let live = Live::on_stderr();
    let line = live.line();
    let progress = move |days: u64, of: u64| line.set_message(format!("{}: {days} of {of} days", table.name()));
    let derivation = Derivation::new(lake.clone(), table, cluster);
    let report = verify_derived(&derivation, progress).await;
    live.clear();
    match report.map_err(|error| derive_failure(&error))? {
        Some(report) => Ok(report),
        None => Err(no_such_table(&derivation.ident)),
    }
}

/// Computes what traders made and hold anew from the first day on, and compares.
pub(super) async fn check_positions(lake: &Lake, cluster: &str) -> Result<Option<PositionsReport>, Failure> {
    let live = Live::on_stderr();
    let line = live.line();
    let progress = move |days: u64, of: u64| line.set_message(format!("positions: {days} of {of} days"));
    let report = verify_positions(&Positions::new(lake.clone(), cluster), progress).await;
    live.clear();
    report.map_err(|error| derive_failure(&error))
}

/// A derived table's line.
pub(super) fn row(report: &DerivedReport, verdict: String) -> [String; 6] {
    let compared = match report.days_not_current {
        0 => format!("{} days computed anew", grouped(report.days)),
        behind => format!("{} days computed anew, {behind} are behind", grouped(report.days)),
    };
    let (rows, files) = (grouped(report.rows), grouped(report.files));
    [report.table.clone(), rows, files, "-".to_owned(), compared, verdict]
}

/// The line of what traders made and hold.
pub(super) fn positions_row(report: &PositionsReport, verdict: String) -> [String; 6] {
    let behind = match report.days_not_current {
        0 => String::new(),
        behind => format!(", {behind} are behind"),
    };
    [
        "gold performance, positions".to_owned(),
        grouped(report.rows.iter().sum()),
        "-".to_owned(),
        "-".to_owned(),
        format!(
            "{} days computed anew{behind}, {} traders",
            grouped(report.days),
            grouped(report.traders)
        ),
        verdict,
    ]
}

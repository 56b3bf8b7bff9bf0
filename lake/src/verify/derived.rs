//! Checks a table that is derived a day at a time: I3 (its files), I5 (each day is what its sources give, wherever it rests on them as
//! they are now) and I9 (it rests on nothing that its sources no longer have).

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::Violation;
use super::silver::files::live_files;
use crate::days::date_text;
use crate::derived::{Derivation, DeriveError};

/// Days named one by one.
const MAX_NAMED: usize = 100;

/// What [`verify_derived`] found.
#[derive(Clone, Debug, Serialize)]
pub struct DerivedReport {
    /// The table.
    pub table: String,
    /// The snapshot that was checked.
    pub snapshot_id: Option<i64>,
    /// Rows of the days that were computed anew.
    pub rows: u64,
    /// Live data files.
    pub files: u64,
    /// Days that were computed anew and compared.
    pub days: u64,
    /// Days that rest on other versions of their sources than there are now: they are about to be computed.
    pub days_not_current: u64,
    /// Empty when all holds.
    pub violations: Vec<Violation>,
}

/// Computes each day of the table anew that is current, and compares; `None` where there is no table. `progress` is told how many of
/// how many days are done.
///
/// # Errors
/// [`DeriveError`]: what cannot be read.
pub async fn verify_derived(
    derivation: &Derivation,
    mut progress: impl FnMut(u64, u64) + Send,
) -> Result<Option<DerivedReport>, DeriveError> {
    let Some(recorded) = derivation.recorded().await? else {
        return Ok(None);
    };
    let table = recorded.refresh.table().clone();
    let files = live_files(&derivation.lake, &table).await?;
    let mut report = DerivedReport {
        table: table.ident().to_string(),
        snapshot_id: table.metadata().current_snapshot_id(),
        rows: 0,
        files: files.live.len() as u64,
        days: 0,
        days_not_current: recorded.others.len() as u64,
        violations: files.violations,
    };
    for (source, at, found) in &recorded.ahead_of {
        report.violations.push(Violation {
            invariant: "I9",
            message: format!(
                "it rests on snapshot number {at} of {source}, which is at {found}: was {source} rolled back?"
            ),
        });
    }
    let refresh = Arc::new(recorded.refresh);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let days = refresh.days().to_vec();
    let of = days.len() as u64;
    let mut compared = stream::iter(days)
        .map(|day| {
            let refresh = Arc::clone(&refresh);
            async move { Ok::<_, DeriveError>((day, derivation.compare(&refresh, day).await?)) }
        })
        .buffered(threads);
    while let Some((day, (is_there, rows))) = compared.try_next().await? {
        report.days += 1;
        report.rows += rows;
        progress(report.days, of);
        if !is_there && report.violations.len() < MAX_NAMED {
            report.violations.push(Violation {
                invariant: "I5",
                message: format!("{} has other rows than its sources give", date_text(day)),
            });
        }
    }
    Ok(Some(report))
}

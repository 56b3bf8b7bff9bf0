//! Checks a silver table against its bronze table: I3 (its files), its recorded state, and I4 (it is the last-writer fold of what of
//! bronze lies before its cursor).
//!
//! Both tables are read at one snapshot each, silver's taken first: what bronze has gained since lies behind the cursor. Keys are
//! compared by their hashes, and rows by a hash of all columns; where there are many keys, a part of them at a time.

mod compare;
mod content;
pub(super) mod files;
mod fold;

use std::collections::BTreeMap;

use arrow_schema::ArrowError;
use serde::Serialize;
use tapehouse_core::merge::MergeState;
use tapehouse_core::state::StreamState;

use super::Violation;
use crate::error::LakeError;
use crate::index::Order;
use crate::lake::Lake;
use crate::silver::SilverTable;
use crate::silver::clean::{CleanError, RULES_VERSION, Rules};
use crate::silver::quarantine::{QuarantineError, applied};
use crate::silver::source::SourceError;
use crate::table::LoadedTable;
use compare::{Difference, Differences, Part};
use files::live_files;
use fold::Sides;

/// Keys compared in one pass: 65 bytes each, in a map that is 7/8 full. Some 550 MB.
const KEYS_A_PASS: u64 = 7 << 20;

/// How far a check has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SilverLook {
    /// This pass, from 1.
    pub pass: u64,
    /// Passes over both tables.
    pub passes: u64,
    /// Live rows of silver read in this pass.
    pub silver_rows: u64,
    /// Rows of bronze read in this pass.
    pub bronze_rows: u64,
}

/// What [`verify_silver`] found.
#[derive(Clone, Debug, Serialize)]
pub struct SilverReport {
    /// The table.
    pub table: String,
    /// The bronze table that it is made from.
    pub source: String,
    /// The snapshot that was checked.
    pub snapshot_id: Option<i64>,
    /// The snapshot of bronze that it was compared with.
    pub source_snapshot_id: Option<i64>,
    /// Live rows, each compared.
    pub rows: u64,
    /// Live data files.
    pub files: u64,
    /// Live delete files.
    pub delete_files: u64,
    /// Rows of bronze before the cursor, each compared.
    pub source_rows: u64,
    /// Those of them that lost to a later one of their key.
    pub deduplicated: u64,
    /// Dropped, by rule.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Quarantined, by rule.
    pub quarantined: BTreeMap<&'static str, u64>,
    /// Passes over both tables that it took.
    pub passes: u64,
    /// Empty when all holds.
    pub violations: Vec<Violation>,
}

/// Why a table could not be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The tables or their files.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A column of bronze that no rule can read.
    #[error(transparent)]
    Clean(#[from] CleanError),
    /// What was decided about rows set aside.
    #[error(transparent)]
    Decisions(#[from] QuarantineError),
    /// Rows that cannot be compared.
    #[error(transparent)]
    Rows(#[from] ArrowError),
}

impl From<LakeError> for VerifyError {
    fn from(error: LakeError) -> Self {
        Self::Source(error.into())
    }
}

/// Checks `silver` against `bronze`, which was loaded after it. Reads the columns of silver and those of bronze that cleaning needs;
/// memory is 550 MB at most for the keys, and a row group of each. `progress` is told of each batch.
///
/// # Errors
/// When metadata or manifests cannot be read, or the warehouse is away. A data file that is missing or damaged is a violation, no error.
pub async fn verify_silver(
    lake: &Lake,
    kind: SilverTable,
    silver: &LoadedTable,
    bronze: &LoadedTable,
    rules: &Rules,
    mut progress: impl FnMut(SilverLook) + Send + 'static,
) -> Result<SilverReport, VerifyError> {
    let files = live_files(lake, silver).await?;
    let mut report = SilverReport {
        table: silver.ident().to_string(),
        source: bronze.ident().to_string(),
        snapshot_id: silver.metadata().current_snapshot_id(),
        source_snapshot_id: bronze.metadata().current_snapshot_id(),
        rows: 0,
        files: files.live.len() as u64,
        delete_files: files.delete_files,
        source_rows: 0,
        deduplicated: 0,
        dropped: BTreeMap::new(),
        quarantined: BTreeMap::new(),
        passes: files.rows().div_ceil(KEYS_A_PASS).max(1),
        violations: files.violations,
    };
    let state = silver.merge_state().map_err(|error| error.to_string());
    let cursor = match state.and_then(|state| checked(state, bronze)) {
        Ok((cursor, faults)) => {
            report.violations.extend(faults.into_iter().map(fault));
            cursor
        }
        // Without a cursor nobody can say what the table should hold.
        Err(message) => {
            report.violations.push(fault(message));
            return Ok(report);
        }
    };
    let sides = Sides {
        waivers: applied(lake, kind, Some(&cursor)).await?,
        lake: lake.clone(),
        kind,
        rules: rules.clone(),
        silver: silver.clone(),
        files: files.live,
        bronze: bronze.clone(),
        cursor,
    };
    let runtime = tokio::runtime::Handle::current();
    // Decoding is CPU work: off the runtime's own threads.
    let comparing = tokio::task::spawn_blocking(move || runtime.block_on(compare(&sides, report, &mut progress)));
    comparing
        .await
        .map_err(|_| LakeError::Interrupted("reading the data files"))?
}

fn fault(message: String) -> Violation {
    Violation {
        invariant: "I4",
        message,
    }
}

/// The cursor, and what is wrong with it beside what it is checked for.
fn checked(state: MergeState, bronze: &LoadedTable) -> Result<(MergeState, Vec<String>), String> {
    let source = bronze.ident().to_string();
    if state.source != source {
        return Err(format!("the table is made from {}, not from {source}", state.source));
    }
    let recorded = bronze.stream_state().map_err(|error| error.to_string())?;
    let mut faults = ahead(&state, &recorded);
    if state.rules != RULES_VERSION {
        let found = state.rules;
        faults.push(format!(
            "the rows were made by rules {found}, this program has rules {RULES_VERSION}"
        ));
    }
    Ok((state, faults))
}

/// Partitions of which silver has more than bronze says to have.
fn ahead(cursor: &MergeState, bronze: &StreamState) -> Vec<String> {
    let all = cursor.next.iter().flat_map(|(incarnation, next)| {
        let partitions = next.iter();
        partitions.map(move |(partition, next)| (*incarnation, *partition, *next))
    });
    all.filter_map(|(incarnation, partition, next)| {
        let recorded = match incarnation.cmp(&bronze.incarnation) {
            // Where a former incarnation ended is not recorded.
            std::cmp::Ordering::Less => return None,
            std::cmp::Ordering::Equal => bronze.next.get(&partition).copied().unwrap_or(0),
            std::cmp::Ordering::Greater => 0,
        };
        (next > recorded).then(|| {
            format!(
                "partition {partition} (incarnation {incarnation}) is merged up to offset {next}, bronze records {recorded}"
            )
        })
    })
    .collect()
}

async fn compare(
    sides: &Sides,
    mut report: SilverReport,
    progress: &mut (dyn FnMut(SilverLook) + Send),
) -> Result<SilverReport, VerifyError> {
    let mut differences = Differences::default();
    for number in 0..report.passes {
        let part = Part {
            number,
            of: report.passes,
        };
        let scanned = match sides.pass(part, &mut differences, progress).await {
            // A file that is gone or damaged, of either table: without it there is nothing to compare.
            Err(VerifyError::Source(error)) if is_of(sides, &error) || !error.is_retryable() => {
                report.violations.push(fault(format!("cannot be read: {error}")));
                return Ok(report);
            }
            other => other?,
        };
        report.rows = scanned.silver_rows;
        report.source_rows = scanned.bronze_rows;
        let kept = scanned.bronze_rows
            - scanned.counts.dropped.values().sum::<u64>()
            - scanned.counts.quarantined.values().sum::<u64>();
        report.deduplicated = kept.saturating_sub(scanned.silver_rows);
        report.dropped = scanned.counts.dropped;
        report.quarantined = scanned.counts.quarantined;
        if number == 0 {
            report.violations.extend(scanned.faults.into_iter().map(fault));
        }
    }
    sides.name_keys(&mut differences).await?;
    let is_cut = differences.is_cut;
    for (kind, (count, examples)) in differences.by_kind {
        let named: Vec<String> = examples.iter().map(text).collect();
        let count = if is_cut {
            format!("at least {count}")
        } else {
            count.to_string()
        };
        report
            .violations
            .push(fault(format!("{count} {}: {}", kind.text(), named.join("; "))));
    }
    Ok(report)
}

/// Whether it is a file of silver's that cannot be read.
fn is_of(sides: &Sides, error: &SourceError) -> bool {
    let path = match error {
        SourceError::Lake(LakeError::Parquet { path, .. }) | SourceError::Column { path, .. } => path.clone(),
        SourceError::Lake(error) => error.to_string(),
        _ => return false,
    };
    path.contains(&format!("{}/", sides.silver.metadata().location()))
}

fn text(difference: &Difference) -> String {
    let record = |order: &Order| {
        let Order {
            incarnation,
            partition,
            offset,
            ..
        } = order;
        format!("(incarnation {incarnation}, partition {partition}, offset {offset})")
    };
    let key = difference.text.as_deref().unwrap_or("?");
    match (&difference.silver, &difference.bronze) {
        (Some(silver), Some(bronze)) => format!("{key} {}, bronze has {}", record(silver), record(bronze)),
        (Some(order), None) | (None, Some(order)) => format!("{key} {}", record(order)),
        (None, None) => key.to_owned(),
    }
}

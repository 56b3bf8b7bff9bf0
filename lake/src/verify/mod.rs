//! Checks a bronze table from its own files: I1 (each covered record once), I2 (ranges are contiguous) and I3 (no file is
//! referenced twice). What Kafka holds is compared elsewhere, with the [`OffsetSet`]s found here.

mod derived;
mod files;
mod history;
mod rows;
mod silver;

use std::collections::BTreeMap;

use serde::Serialize;
use tapehouse_core::coverage::OffsetSet;
use tapehouse_core::offsets::{Offset, PartitionId};

use crate::commit::{Gaps, first_offsets, recorded_gaps};
use crate::error::LakeError;
use crate::lake::Lake;
use crate::table::LoadedTable;
pub use derived::{DerivedReport, verify_derived};
use rows::Expected;
pub use silver::{SilverLook, SilverReport, VerifyError, verify_silver};

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// `I1` to `I9`.
    pub invariant: &'static str,
    /// What was found.
    pub message: String,
}

/// Offsets of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionReport {
    /// Incarnation of the topic.
    pub incarnation: i32,
    /// The Kafka partition.
    pub partition: PartitionId,
    /// First offset covered, as recorded.
    pub first: Offset,
    /// Next offset to be covered, as recorded; `None` for an earlier incarnation.
    pub next: Option<Offset>,
    /// Lowest and highest offset of a row.
    pub extent: Option<(Offset, Offset)>,
    /// Rows, each offset counted once.
    pub rows: u64,
    /// Covered offsets without a row: control records, aborted transactions, compacted records, gaps.
    pub offsets_without_row: Option<u64>,
    /// Of these, offsets in gaps that an operator accepted.
    pub offsets_in_gaps: u64,
}

/// What [`verify`] found.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    /// The table.
    pub table: String,
    /// The snapshot that was checked.
    pub snapshot_id: Option<i64>,
    /// Rows read.
    pub rows: u64,
    /// Data files read.
    pub files: u64,
    /// Rows without Kafka coordinates: other engines wrote them. They are no violation.
    pub rows_without_coordinates: u64,
    /// By incarnation and partition.
    pub partitions: Vec<PartitionReport>,
    /// Empty when all holds.
    pub violations: Vec<Violation>,
}

/// A report, and the offsets that have a row.
#[derive(Debug)]
pub struct Verified {
    /// What was found.
    pub report: VerifyReport,
    /// Offsets with a row by incarnation and partition.
    pub offsets: BTreeMap<(i32, PartitionId), OffsetSet>,
}

/// Checks the table as it is in `table`. Reads three columns of all live data files; memory is one bit an offset, one path
/// a file, and these columns of one row group. `progress` is told the rows read so far, after each file.
///
/// # Errors
/// When metadata or manifests cannot be read. A data file that is missing or unreadable is a violation, no error.
pub async fn verify(
    lake: &Lake,
    table: &LoadedTable,
    progress: impl FnMut(u64) + Send + 'static,
) -> Result<Verified, LakeError> {
    let mut violations = history::check(table);
    violations.extend(history::removed_by_others(table));
    let (files, mut found) = files::live_data_files(lake, table).await?;
    violations.append(&mut found);
    let first = first_offsets(table).unwrap_or_else(|error| {
        violations.push(Violation {
            invariant: "I1",
            message: format!("the recorded first offsets cannot be read: {error}"),
        });
        BTreeMap::new()
    });
    let gaps = recorded_gaps(table).unwrap_or_else(|error| {
        violations.push(Violation {
            invariant: "I2",
            message: format!("the recorded gaps cannot be read: {error}"),
        });
        Gaps::new()
    });
    let expected = Expected {
        first,
        gaps,
        // A state that cannot be believed is a violation of its own; without it nothing bounds the rows from above.
        state: table.stream_state().ok(),
    };
    let schema = table.metadata().current_schema().clone();
    let file_count = files.len() as u64;
    let (io, runtime) = (lake.io_of(table), tokio::runtime::Handle::current());
    // Decoding is CPU work: off the runtime's own threads.
    let scan =
        tokio::task::spawn_blocking(move || runtime.block_on(rows::scan(&io, &schema, &files, expected, progress)));
    let scanned = scan
        .await
        .map_err(|_| LakeError::Interrupted("reading the data files"))?;
    violations.extend(scanned.violations);
    Ok(Verified {
        report: VerifyReport {
            table: table.ident().to_string(),
            snapshot_id: table.metadata().current_snapshot_id(),
            rows: scanned.rows,
            files: file_count,
            rows_without_coordinates: scanned.rows_without_coordinates,
            partitions: scanned.partitions,
            violations,
        },
        offsets: scanned.offsets,
    })
}

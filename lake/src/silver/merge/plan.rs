//! What a batch changes: which of its rows are written, and which rows of the table they take the place of. No I/O but the key
//! index's.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Date32Type;
use arrow_array::{Array as _, RecordBatch};
use arrow_schema::ArrowError;
use arrow_select::interleave::interleave_record_batch;
use roaring::RoaringBitmap;

use super::MergeError;
use crate::index::{Entry, KeyHash, Order};

/// Cleaned rows of one batch, in the table's layout.
#[derive(Clone, Copy, Debug)]
pub struct KeyedRows<'a> {
    /// The rows.
    pub rows: &'a RecordBatch,
    /// Key of each row.
    pub keys: &'a [KeyHash],
    /// What decides between each row and others of its key.
    pub orders: &'a [Order],
}

/// A row of a batch: the latest of its key in this merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Winner {
    key: KeyHash,
    order: Order,
    batch: u32,
    row: u32,
}

/// Rows of one partition, in the order in which they are written.
#[derive(Debug)]
pub(super) struct PlannedFile {
    /// Days since 1970-01-01.
    pub(super) date: i32,
    rows: Vec<Winner>,
}

impl PlannedFile {
    /// The rows, taken from the batches that they were planned from.
    pub(super) fn gather(&self, batches: &[KeyedRows<'_>]) -> Result<RecordBatch, ArrowError> {
        let sources: Vec<&RecordBatch> = batches.iter().map(|batch| batch.rows).collect();
        let places: Vec<(usize, usize)> = self
            .rows
            .iter()
            .map(|winner| (winner.batch as usize, winner.row as usize))
            .collect();
        interleave_record_batch(&sources, &places)
    }

    /// Key and order of each row.
    pub(super) fn entries(&self) -> impl Iterator<Item = (KeyHash, Order)> {
        self.rows.iter().map(|winner| (winner.key, winner.order))
    }
}

/// What a batch changes.
#[derive(Debug)]
pub struct Plan {
    pub(super) files: Vec<PlannedFile>,
    /// Rows of the table that others take the place of: positions by number of the data file.
    pub(super) deletes: BTreeMap<u32, RoaringBitmap>,
    /// Rows that are written.
    pub written: u64,
    /// Rows that lost to a later one of the batch or of the table.
    pub deduplicated: u64,
}

/// The latest row of each key, by key; and how many others there were.
fn winners(batches: &[KeyedRows<'_>]) -> (Vec<Winner>, u64) {
    let mut all = Vec::with_capacity(batches.iter().map(|batch| batch.keys.len()).sum());
    for (number, batch) in (0..).zip(batches) {
        let rows = batch.keys.iter().zip(batch.orders);
        all.extend((0..).zip(rows).map(|(row, (key, order))| Winner {
            key: *key,
            order: *order,
            batch: number,
            row,
        }));
    }
    let before = all.len();
    all.sort_unstable_by_key(|winner| (winner.key, std::cmp::Reverse(winner.order)));
    all.dedup_by_key(|winner| winner.key);
    let losers = before - all.len();
    (all, losers as u64)
}

/// Plans `batches`. `known` says of keys, which ascend, what the table has.
///
/// # Errors
/// When the table's key index cannot be read, or a batch has no date column of that name.
pub(super) fn plan(
    batches: &[KeyedRows<'_>],
    date_column: &str,
    known: impl FnOnce(&[KeyHash]) -> Result<Vec<Option<Entry>>, crate::index::IndexError>,
) -> Result<Plan, MergeError> {
    let dates = batches
        .iter()
        .map(|batch| {
            let column = batch.rows.column_by_name(date_column);
            let dates = column.and_then(|column| column.as_primitive_opt::<Date32Type>());
            dates
                .filter(|dates| dates.null_count() == 0)
                .ok_or_else(|| ArrowError::SchemaError(format!("no dates in {date_column}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let (winners, mut deduplicated) = winners(batches);
    let keys: Vec<KeyHash> = winners.iter().map(|winner| winner.key).collect();
    let mut deletes: BTreeMap<u32, RoaringBitmap> = BTreeMap::new();
    let mut by_date: BTreeMap<i32, Vec<Winner>> = BTreeMap::new();
    for (winner, known) in winners.into_iter().zip(known(&keys)?) {
        if let Some(entry) = known {
            if entry.order >= winner.order {
                deduplicated += 1;
                continue;
            }
            let of_file = deletes.entry(entry.location.file).or_default();
            of_file.insert(entry.location.position);
        }
        let date = dates[winner.batch as usize].value(winner.row as usize);
        by_date.entry(date).or_default().push(winner);
    }
    let mut files = Vec::with_capacity(by_date.len());
    let mut written = 0;
    for (date, mut rows) in by_date {
        // In the order of bronze, which compresses better than that of hashes.
        rows.sort_unstable_by_key(|winner| (winner.batch, winner.row));
        written += rows.len() as u64;
        files.push(PlannedFile { date, rows });
    }
    Ok(Plan {
        files,
        deletes,
        written,
        deduplicated,
    })
}

//! Bronze rows of one key, whatever becomes of them.

use arrow_array::{Array, BooleanArray, RecordBatch};

use super::CleanError;
use super::bronze::Bronze;
use crate::silver::SilverTable;
use crate::silver::explain::Key;

/// Which rows of bronze have the key; the table's key columns are enough.
pub(crate) fn rows_of_key(table: SilverTable, key: &Key, bronze: &RecordBatch) -> Result<BooleanArray, CleanError> {
    let bronze = Bronze::new(bronze);
    let (column, wanted) = match key {
        Key::Text(text) => ("trade_id", text),
        Key::TextAt(text, _) => ("symbol", text),
    };
    let texts = bronze.texts(column)?;
    let times = match key {
        Key::Text(_) => None,
        Key::TextAt(_, time_us) => Some((bronze.times(table.timestamp_column())?, *time_us)),
    };
    let is_wanted = |row: usize| {
        let is_then = times
            .as_ref()
            .is_none_or(|(times, time_us)| times.is_valid(row) && times.value(row) == *time_us);
        is_then && texts.is_valid(row) && texts.value(row) == wanted
    };
    Ok((0..bronze.len()).map(|row| Some(is_wanted(row))).collect())
}

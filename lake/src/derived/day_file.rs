//! One day's rows as a file.

use std::sync::Arc;

use arrow_array::RecordBatch;
use tokio::runtime::Handle;

use super::DeriveError;
use crate::days::date_text;
use crate::files::{EncodedFile, FileEncoder, FileLayout};
use crate::lake::Lake;
use crate::live_rows::LiveRows;
use crate::name::TableName;
use crate::table::LoadedTable;

/// Whether the table has exactly these rows for the day, in this order.
pub(crate) async fn is_there(
    lake: &Lake,
    table: &LoadedTable,
    layout: &FileLayout,
    date: i32,
    computed: &RecordBatch,
) -> Result<bool, DeriveError> {
    let fields = layout.arrow().fields().iter();
    let names: Vec<&str> = fields.map(|field| field.name().as_str()).collect();
    let mut rows = LiveRows::of_day(lake, table, &names, date).await?;
    let mut at = 0;
    while let Some((_, found)) = rows.next().await? {
        if at + found.num_rows() > computed.num_rows() {
            return Ok(false);
        }
        let expected = computed.slice(at, found.num_rows());
        if found.columns() != expected.columns() {
            return Ok(false);
        }
        at += found.num_rows();
    }
    Ok(at == computed.num_rows())
}

/// The rows as a file of the day.
pub(crate) fn encode(layout: &FileLayout, date: i32, rows: &RecordBatch) -> Result<EncodedFile, DeriveError> {
    let rows = rows.clone().with_schema(Arc::clone(layout.arrow()))?;
    let mut encoder = FileEncoder::open(layout, date, &rows)?;
    encoder.push(&rows)?;
    Ok(encoder.finish()?)
}

/// Runs what decodes a day of `table` on a thread for it.
pub(crate) async fn decoding<T: Send + 'static>(
    date: i32,
    table: &TableName,
    job: impl Future<Output = Result<T, DeriveError>> + Send + 'static,
) -> Result<T, DeriveError> {
    let runtime = Handle::current();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(job)).await;
    done.map_err(|_| DeriveError::Interrupted(format!("{} of {table}", date_text(date))))?
}

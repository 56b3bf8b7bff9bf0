//! `silver.trader_activity`: what each trader did in each hour, derived from `silver.trades` a day at a time.
//!
//! A day of trades and a day of activity are the same: offsets of New York are whole hours since 1883, so that an hour of UTC lies in one
//! date of New York. So a day is computed from the one day of trades, and what a correction touches is recomputed whole.
//!
//! Rows are the same to the bit for the same trades, in whatever files and order these are: sums are exact and rounded once
//! ([`tapehouse_core::exact_sum`]), rows are sorted by (activity_hour, trader_id). Each product price * quantity is rounded as any engine
//! rounds it, so that a sum differs from that of SQL by the rounding of SQL's additions alone. Fixed point would be exact only for prices
//! and quantities of a limited number of decimals, and silver has what was received.

mod compute;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, SchemaRef as ArrowSchemaRef};

pub use compute::{DayActivity, compute};

use crate::bronze::timestamptz;
use crate::derived::columns::required;
use crate::derived::{DeriveError, SourceDay};

/// Name with namespace.
pub const TABLE: &str = "silver.trader_activity";
/// The column that the table is partitioned by.
pub const DATE_COLUMN: &str = "activity_date";
/// Version of what is computed: a new one computes all days again.
pub const LOGIC_VERSION: u32 = 1;

/// The columns. Their ids are those that creating the table assigns.
pub(crate) fn fields() -> Vec<Field> {
    vec![
        required("trader_id", DataType::Utf8, "Trader; part of the key"),
        required(
            "activity_hour",
            timestamptz(),
            "Begin of the hour, UTC; part of the key",
        ),
        required("trade_count", DataType::Int64, "Trades of the hour that need no review"),
        required(
            "total_volume",
            DataType::Float64,
            "Sum of quantity, exact, rounded once",
        ),
        required(
            "total_notional",
            DataType::Float64,
            "Sum of price * quantity, products rounded, their sum exact, rounded once",
        ),
        required("distinct_symbols", DataType::Int64, "Different symbols traded"),
        required(
            DATE_COLUMN,
            DataType::Date32,
            "Date of activity_hour in America/New_York; the partition",
        ),
    ]
}

/// The rows of a day of trades, in the layout `arrow`.
pub(crate) async fn day(sources: &SourceDay<'_>, arrow: &ArrowSchemaRef) -> Result<RecordBatch, DeriveError> {
    let mut day = DayActivity::default();
    if let Some(mut rows) = sources.rows(0, &compute::SOURCE_COLUMNS).await? {
        while let Some((_, batch)) = rows.next().await? {
            day.add(&batch)?;
        }
    }
    Ok(day.finish(sources.date, arrow)?)
}

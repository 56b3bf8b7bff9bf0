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
mod refresh;

use std::sync::{Arc, LazyLock};

use arrow_schema::{ArrowError, DataType, Field, Schema as ArrowSchema};
use iceberg::arrow::arrow_schema_to_schema_auto_assign_ids;
use iceberg::spec::{Schema, Transform, UnboundPartitionSpec};
use tapehouse_core::derive::DeriveRefusal;

pub use compute::{DayActivity, compute};
pub use refresh::{MAX_DAYS, Refresh, Refreshed, TraderActivity};

use super::source::SourceError;
use crate::bronze::timestamptz;
use crate::error::{CommitError, LakeError};
use crate::files::FileError;
use crate::table::StateError;

/// Name with namespace.
pub const TABLE: &str = "silver.trader_activity";
/// The column that the table is partitioned by.
pub const DATE_COLUMN: &str = "activity_date";
/// Version of what is computed: a new one computes all days again.
pub const LOGIC_VERSION: u32 = 1;

/// Why days were not computed.
#[derive(Debug, thiserror::Error)]
pub enum ActivityError {
    /// Catalog or warehouse.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// Rows of trades could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What the table records cannot be trusted.
    #[error(transparent)]
    State(#[from] StateError),
    /// A data file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Trades are not in the layout of their table.
    #[error(transparent)]
    Rows(#[from] ArrowError),
    /// The commit.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The table rests on newer trades, or belongs to somebody else.
    #[error(transparent)]
    Refused(#[from] DeriveRefusal),
}

/// The columns. Their ids are those that creating the table assigns.
pub(super) fn fields() -> Vec<Field> {
    let field = |name: &str, data_type: DataType, doc: &str| {
        Field::new(name, data_type, false).with_metadata([("doc".to_owned(), doc.to_owned())].into())
    };
    vec![
        field("trader_id", DataType::Utf8, "Trader; part of the key"),
        field(
            "activity_hour",
            timestamptz(),
            "Begin of the hour, UTC; part of the key",
        ),
        field("trade_count", DataType::Int64, "Trades of the hour that need no review"),
        field(
            "total_volume",
            DataType::Float64,
            "Sum of quantity, exact, rounded once",
        ),
        field(
            "total_notional",
            DataType::Float64,
            "Sum of price * quantity, products rounded, their sum exact, rounded once",
        ),
        field("distinct_symbols", DataType::Int64, "Different symbols traded"),
        field(
            DATE_COLUMN,
            DataType::Date32,
            "Date of activity_hour in America/New_York; the partition",
        ),
    ]
}

static SCHEMA: LazyLock<(Schema, UnboundPartitionSpec)> = LazyLock::new(|| {
    let schema = arrow_schema_to_schema_auto_assign_ids(&ArrowSchema::new(fields()));
    let schema = schema.expect("the columns are written in the program, and tests make the table");
    let date = schema.field_id_by_name(DATE_COLUMN).unwrap_or_default();
    let spec = UnboundPartitionSpec::builder().add_partition_field(date, DATE_COLUMN, Transform::Identity);
    let spec = spec.expect("one field of the schema").build();
    (schema, spec)
});

fn schema() -> Arc<Schema> {
    Arc::new(SCHEMA.0.clone())
}

fn partition_spec() -> UnboundPartitionSpec {
    SCHEMA.1.clone()
}

//! Tables that are derived from other tables a day at a time: a day is computed whole from the same day of its sources, and replaces the
//! day before it where its rows are other ones.
//!
//! What has to be computed the tables say: a day is dirty where its version in a source is another one than the derived table records
//! ([`tapehouse_core::derive`]). The same sources give the same rows to the bit, in whatever files and order they come: sums are exact
//! and rounded once ([`tapehouse_core::exact_sum`]), rows are sorted by their key.

pub(crate) mod columns;
pub(crate) mod day_file;
mod error;
mod recorded;
pub(crate) mod refresh;

use std::sync::{Arc, LazyLock};

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use iceberg::arrow::arrow_schema_to_schema_auto_assign_ids;
use iceberg::spec::{Schema, Transform, UnboundPartitionSpec};

pub use error::DeriveError;
pub use recorded::Recorded;
pub use refresh::{Derivation, MAX_DAYS, Refresh, Refreshed};

use crate::gold::{overview, summary};
use crate::lake::Lake;
use crate::live_rows::LiveRows;
use crate::silver::activity;
use crate::table::LoadedTable;

/// A table that is derived a day at a time, without anything that is carried from one day to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DayTable {
    /// What each trader did in each hour.
    TraderActivity,
    /// What each symbol did.
    TradingSummary,
    /// What the market did.
    MarketOverview,
}

struct Layout {
    schema: Schema,
    partition_spec: UnboundPartitionSpec,
}

static LAYOUTS: LazyLock<[Layout; 3]> = LazyLock::new(|| {
    DayTable::ALL.map(|table| {
        let layout = layout(table.fields(), table.date_column());
        let (schema, partition_spec) =
            layout.expect("the columns are written in the program, and tests make the tables");
        Layout { schema, partition_spec }
    })
});

/// The schema of `fields` and a partition a day of `date_column`.
pub(crate) fn layout(fields: Vec<Field>, date_column: &str) -> iceberg::Result<(Schema, UnboundPartitionSpec)> {
    let schema = arrow_schema_to_schema_auto_assign_ids(&ArrowSchema::new(fields))?;
    let date = schema.field_id_by_name(date_column).unwrap_or_default();
    let spec = UnboundPartitionSpec::builder().add_partition_field(date, date_column, Transform::Identity)?;
    Ok((schema, spec.build()))
}

impl DayTable {
    /// All of them, each after its sources.
    pub const ALL: [Self; 3] = [Self::TraderActivity, Self::TradingSummary, Self::MarketOverview];

    /// Name with namespace.
    pub fn name(self) -> &'static str {
        match self {
            Self::TraderActivity => activity::TABLE,
            Self::TradingSummary => summary::TABLE,
            Self::MarketOverview => overview::TABLE,
        }
    }

    /// The table of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The column that the table is partitioned by.
    pub fn date_column(self) -> &'static str {
        match self {
            Self::TraderActivity => activity::DATE_COLUMN,
            Self::TradingSummary | Self::MarketOverview => crate::gold::DATE_COLUMN,
        }
    }

    /// Version of what is computed: a new one computes all days again.
    pub fn logic_version(self) -> u32 {
        match self {
            Self::TraderActivity => activity::LOGIC_VERSION,
            Self::TradingSummary => summary::LOGIC_VERSION,
            Self::MarketOverview => overview::LOGIC_VERSION,
        }
    }

    /// The tables that it is derived from. Without the first there is nothing to compute; the others may be missing.
    pub fn sources(self) -> &'static [&'static str] {
        match self {
            Self::TraderActivity => &["silver.trades"],
            Self::TradingSummary => &["silver.trades", "silver.orderbook_snapshots", "silver.market_data"],
            Self::MarketOverview => &[summary::TABLE],
        }
    }

    /// Whether a day is provisional until it is over, and final from then on.
    pub fn is_gold(self) -> bool {
        self != Self::TraderActivity
    }

    fn fields(self) -> Vec<Field> {
        match self {
            Self::TraderActivity => activity::fields(),
            Self::TradingSummary => summary::fields(),
            Self::MarketOverview => overview::fields(),
        }
    }

    /// The columns. Their ids are those that creating the table assigns.
    pub fn schema(self) -> &'static Schema {
        &LAYOUTS[self as usize].schema
    }

    /// One partition a day.
    pub fn partition_spec(self) -> &'static UnboundPartitionSpec {
        &LAYOUTS[self as usize].partition_spec
    }

    /// The rows of a day, in the layout `arrow`.
    async fn day(self, sources: &SourceDay<'_>, arrow: &ArrowSchemaRef) -> Result<RecordBatch, DeriveError> {
        match self {
            Self::TraderActivity => activity::day(sources, arrow).await,
            Self::TradingSummary => summary::day(sources, arrow).await,
            Self::MarketOverview => overview::day(sources, arrow).await,
        }
    }
}

/// One day of the sources, each in the version that was looked at.
pub(crate) struct SourceDay<'a> {
    pub lake: &'a Lake,
    /// In the order of [`DayTable::sources`].
    pub tables: &'a [Option<Arc<LoadedTable>>],
    /// In days since 1970-01-01.
    pub date: i32,
}

impl SourceDay<'_> {
    /// The day's rows of the source of this number; `None` where there is no such table.
    pub(crate) async fn rows(&self, source: usize, columns: &[&str]) -> Result<Option<LiveRows>, DeriveError> {
        Ok(match self.tables.get(source) {
            Some(Some(table)) => Some(LiveRows::of_day(self.lake, table, columns, self.date).await?),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::silver::SilverTable;

    #[test]
    fn each_table_is_found_by_its_number_and_comes_after_its_sources() {
        for (at, table) in DayTable::ALL.into_iter().enumerate() {
            assert_eq!(table as usize, at);
            assert_eq!(DayTable::named(table.name()), Some(table));
            for source in table.sources() {
                let derived = DayTable::ALL[..at].iter().any(|before| before.name() == *source);
                assert!(derived || SilverTable::named(source).is_some(), "{source}");
            }
        }
    }

    #[test]
    fn the_key_and_the_day_are_required_and_every_column_has_a_comment() {
        for table in DayTable::ALL {
            let day = table.schema().field_by_name(table.date_column()).unwrap();
            assert!(day.required, "{table:?}");
            for field in table.schema().as_struct().fields() {
                assert!(
                    field.doc.as_ref().is_some_and(|doc| !doc.is_empty()),
                    "{table:?} {}",
                    field.name
                );
            }
        }
    }
}

//! The silver tables: their names, keys, columns and partitions.

use std::sync::LazyLock;

use arrow_schema::{Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use iceberg::arrow::{arrow_schema_to_schema_auto_assign_ids, schema_to_arrow_schema};
use iceberg::spec::{Schema, SchemaRef, Transform, UnboundPartitionSpec};

use super::columns;

/// A silver table that is merged by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SilverTable {
    /// One row a trade.
    Trades,
    /// One row a symbol and instant.
    OrderbookSnapshots,
    /// One row a symbol and bar.
    MarketData,
}

/// What is derived from a table's columns, once.
struct Layout {
    schema: SchemaRef,
    partition_spec: UnboundPartitionSpec,
    arrow: ArrowSchemaRef,
    source_columns: Vec<&'static str>,
}

impl Layout {
    fn of(table: SilverTable) -> iceberg::Result<Self> {
        let fields = columns::fields(table);
        let schema: Schema = arrow_schema_to_schema_auto_assign_ids(&ArrowSchema::new(fields))?;
        let date = schema
            .field_id_by_name(table.date_column())
            .ok_or_else(|| iceberg::Error::new(iceberg::ErrorKind::DataInvalid, "the partition's column is missing"))?;
        let partition_spec = UnboundPartitionSpec::builder()
            .add_partition_field(date, table.date_column(), Transform::Identity)?
            .build();
        Ok(Self {
            arrow: schema_to_arrow_schema(&schema)?.into(),
            schema: schema.into(),
            partition_spec,
            source_columns: columns::source_columns(table),
        })
    }
}

static LAYOUTS: LazyLock<[Layout; 3]> = LazyLock::new(|| {
    SilverTable::ALL
        .map(|table| Layout::of(table).expect("the columns are written in the program, and tests make all tables"))
});

impl SilverTable {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Trades, Self::OrderbookSnapshots, Self::MarketData];

    /// Name with namespace.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trades => "silver.trades",
            Self::OrderbookSnapshots => "silver.orderbook_snapshots",
            Self::MarketData => "silver.market_data",
        }
    }

    /// The table of this name, with or without its namespace.
    pub fn named(name: &str) -> Option<Self> {
        let is_named = |table: &Self| table.name() == name || table.short_name() == name;
        Self::ALL.into_iter().find(is_named)
    }

    /// Name without namespace.
    pub fn short_name(self) -> &'static str {
        self.name().trim_start_matches("silver.")
    }

    /// The columns of the key, named alike in bronze.
    pub fn key_columns(self) -> &'static [&'static str] {
        match self {
            Self::Trades => &["trade_id"],
            Self::OrderbookSnapshots => &["symbol", "snapshot_timestamp"],
            Self::MarketData => &["symbol", "interval_start"],
        }
    }

    /// The column whose New York date is the partition, named alike in bronze.
    pub fn timestamp_column(self) -> &'static str {
        match self {
            Self::Trades => "trade_timestamp",
            Self::OrderbookSnapshots => "snapshot_timestamp",
            Self::MarketData => "interval_start",
        }
    }

    /// The column that the table is partitioned by.
    pub fn date_column(self) -> &'static str {
        match self {
            Self::Trades => "trade_date",
            Self::OrderbookSnapshots => "snapshot_date",
            Self::MarketData => "market_date",
        }
    }

    /// The columns. Their ids are those that creating the table assigns.
    pub fn schema(self) -> &'static SchemaRef {
        &self.layout().schema
    }

    /// One partition a day.
    pub fn partition_spec(self) -> &'static UnboundPartitionSpec {
        &self.layout().partition_spec
    }

    /// The Arrow schema of cleaned rows, with the field ids of [`Self::schema`].
    pub fn arrow(self) -> &'static ArrowSchemaRef {
        &self.layout().arrow
    }

    /// The bronze columns that cleaning needs; the rest need not be read.
    pub fn source_columns(self) -> &'static [&'static str] {
        &self.layout().source_columns
    }

    fn layout(self) -> &'static Layout {
        &LAYOUTS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::NewTable;
    use crate::{CatalogSettings, Lake, LakeSettings, S3Settings};

    #[test]
    fn each_table_is_found_under_its_own_number() {
        for table in SilverTable::ALL {
            assert_eq!(SilverTable::ALL[table as usize], table);
            assert!(table.arrow().field_with_name(table.date_column()).is_ok());
        }
    }

    #[test]
    fn keys_times_and_coordinates_are_required_and_every_column_has_a_comment() {
        for table in SilverTable::ALL {
            let always = [
                table.timestamp_column(),
                table.date_column(),
                "topic_incarnation",
                "kafka_partition",
                "kafka_offset",
            ];
            for name in table.key_columns().iter().chain(&always) {
                let field = table.schema().field_by_name(name).unwrap();
                assert!(field.required, "{table:?} {name}");
            }
            for field in table.schema().as_struct().fields() {
                assert!(
                    field.doc.as_ref().is_some_and(|doc| !doc.is_empty()),
                    "{table:?} {}",
                    field.name
                );
            }
        }
    }

    #[test]
    fn of_bronze_only_what_cleaning_needs_is_read() {
        assert_eq!(
            SilverTable::Trades.source_columns(),
            [
                "trade_id",
                "symbol",
                "price",
                "quantity",
                "side",
                "trader_id",
                "exchange",
                "trade_timestamp",
                "event_timestamp",
                "topic_incarnation",
                "kafka_partition",
                "kafka_offset",
                "kafka_timestamp",
                "decode_error",
            ]
        );
        let of_books = SilverTable::OrderbookSnapshots.source_columns();
        assert!(of_books.contains(&"bids") && !of_books.contains(&"spread") && !of_books.contains(&"snapshot_date"));
        assert!(!SilverTable::MarketData.source_columns().contains(&"market_date"));
    }

    #[tokio::test]
    async fn a_new_table_has_these_columns_under_these_ids() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open(LakeSettings {
            catalog: CatalogSettings::new(format!("sqlite://{}/catalog.db", folder.path().display())),
            warehouse: format!("{}/warehouse", folder.path().display()),
            s3: S3Settings::default(),
        })
        .await
        .unwrap();
        for table in SilverTable::ALL {
            let new = NewTable {
                schema: table.schema().as_ref().clone(),
                partition_spec: table.partition_spec().clone(),
                properties: [].into(),
            };
            let created = lake.create_table(&table.name().parse().unwrap(), new).await.unwrap();
            let schema = created.metadata().current_schema();
            assert_eq!(schema.as_struct(), table.schema().as_struct(), "{table:?}");
            assert_eq!(&schema_to_arrow_schema(schema).unwrap(), table.arrow().as_ref());
            let partition = &created.metadata().default_partition_spec().fields()[0];
            assert_eq!(
                (partition.name.as_str(), partition.transform),
                (table.date_column(), Transform::Identity)
            );
        }
    }
}

//! A silver.trades that is large already: whole days, one file each, as if compacted long ago.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use tapehouse_core::merge::{MergeRequest, MergeState};
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_core::state::STATE_PROPERTY;
use tapehouse_kafka::generator::{EarlierTrades, trade_id};
use tapehouse_lake::commit::{CommitOutcome, RowDelta};
use tapehouse_lake::files::{FileEncoder, FileLayout, write_file};
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::silver::clean::RULES_VERSION;
use tapehouse_lake::silver::merge::KeyedTable;
use tapehouse_lake::{CatalogSettings, Lake, LakeSettings, LoadedTable, S3Settings};
use uuid::Uuid;

use crate::servers::catalog;
use crate::{Outcome, interrupt};

/// Days over which the rows are spread.
const DAYS: i64 = 60;
const DAY_US: i64 = 86_400_000_000;
/// Midnight in New York before the stream begins, 2026-01-05T05:00:00Z; of the days before none is longer or shorter than others.
const END_US: i64 = 1_767_589_200_000_000;
/// Rows encoded at once.
const BATCH: u64 = 65_536;
/// A partition that Kafka does not have: these rows came from no record.
const PARTITION: i32 = 1_000_000;
/// The node's cluster, by default.
const OWNER: &str = "tapehouse";
const SOURCE: &str = "bronze.raw_trades";
const SYMBOLS: [&str; 8] = ["AAPL", "NVDA", "MSFT", "AMZN", "TSLA", "GOOGL", "META", "AMD"];

/// The trades that are in the table, as the generator takes them.
pub fn earlier(rows: u64) -> EarlierTrades {
    EarlierTrades {
        trades: rows,
        first_us: END_US - DAYS * DAY_US,
        end_us: END_US,
    }
}

/// Makes the table of `folder`'s node, with `rows` rows.
///
/// # Errors
/// When it exists, or a file cannot be written.
pub fn make(folder: &Path, rows: u64, seed: u64, say: &dyn Fn(&str)) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let lake = Lake::open(LakeSettings {
            catalog: CatalogSettings::new(format!("sqlite://{}", catalog(folder).display())),
            warehouse: folder.join("warehouse").display().to_string(),
            s3: S3Settings::default(),
        })
        .await?;
        let mut keyed = KeyedTable::of(SilverTable::Trades);
        let state = MergeState::new(OWNER, SOURCE, RULES_VERSION);
        keyed.spec.properties.insert(STATE_PROPERTY.to_owned(), state.to_json());
        let table = lake.create_table(&keyed.ident, keyed.spec).await?;
        let seeding = Seeding {
            layout: FileLayout::new(table.metadata().current_schema().clone(), keyed.partition_column)?,
            earlier: earlier(rows),
            lake,
            table,
            seed,
        };
        seeding.fill(rows, say).await
    })
}

struct Seeding {
    lake: Lake,
    table: LoadedTable,
    layout: FileLayout,
    earlier: EarlierTrades,
    seed: u64,
}

impl Seeding {
    async fn fill(&self, rows: u64, say: &dyn Fn(&str)) -> Outcome<()> {
        let mut added = Vec::new();
        for day in 0..DAYS.unsigned_abs() {
            interrupt::check()?;
            let numbers = (rows * day).div_ceil(DAYS.unsigned_abs())..(rows * (day + 1)).div_ceil(DAYS.unsigned_abs());
            if numbers.is_empty() {
                continue;
            }
            let date = i32::try_from((self.earlier.first_us + day as i64 * DAY_US) / DAY_US)?;
            let mut encoder: Option<FileEncoder> = None;
            let mut start = numbers.start;
            while start < numbers.end {
                let end = numbers.end.min(start + BATCH);
                let batch = self.rows(start..end, date)?;
                let encoder = match &mut encoder {
                    Some(encoder) => encoder,
                    None => encoder.insert(FileEncoder::open(&self.layout, date, &batch)?),
                };
                encoder.push(&batch)?;
                start = end;
            }
            let metadata = self.table.metadata();
            let Some(encoder) = encoder else { continue };
            let spec_id = metadata.default_partition_spec_id();
            let encoded = encoder.finish()?;
            added.push(write_file(self.lake.warehouse(), metadata.location(), spec_id, encoded).await?);
        }
        let files = added.len();
        let metadata = self.table.metadata();
        // All of it at once, and of bronze nothing yet: an empty range for each of its partitions.
        let none = (0..4).map(|partition| (partition, OffsetRange::new(0, 0)));
        let delta = RowDelta {
            commit_id: Uuid::new_v4(),
            base: metadata.current_snapshot_id(),
            schema_id: metadata.current_schema_id(),
            added,
            deletes: Vec::new(),
            request: MergeRequest {
                owner: OWNER.to_owned(),
                source: SOURCE.to_owned(),
                rules: RULES_VERSION,
                ranges: [(0, Ranges(none.collect()))].into(),
                decisions: 0..0,
            },
            summary: BTreeMap::from([("tapehouse.seeded".to_owned(), rows.to_string())]),
        };
        match self.lake.merge(self.table.ident(), &delta).await? {
            CommitOutcome::Committed(_) => say(&format!("{rows} rows are in silver.trades, in {files} files")),
            CommitOutcome::Done(refused) => return Err(format!("not committed: {refused:?}").into()),
        }
        self.lake.settle().await;
        Ok(())
    }

    /// Rows of these numbers, all of one date.
    fn rows(&self, numbers: std::ops::Range<u64>, date: i32) -> Outcome<RecordBatch> {
        let count = (numbers.end - numbers.start) as usize;
        let times: Vec<i64> = numbers.clone().map(|number| self.earlier.trade_us(number)).collect();
        let ids = numbers.clone().map(|number| trade_id(self.seed, number));
        let mut id_text = String::with_capacity(count * 36);
        for id in ids {
            id_text.push_str(std::str::from_utf8(&id)?);
        }
        let ids = (0..count).map(|row| &id_text[row * 36..][..36]);
        let pick = |of: usize| {
            numbers
                .clone()
                .map(move |number| (number.wrapping_mul(0x9e37_79b9) >> 7) as usize % of)
        };
        let traders: Vec<String> = (1..=200).map(|number| format!("T{number:04}")).collect();
        let time = |times: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(times).with_timezone("+00:00"));
        let columns: HashMap<&str, ArrayRef> = HashMap::from([
            ("trade_id", Arc::new(StringArray::from_iter_values(ids)) as ArrayRef),
            (
                "symbol",
                Arc::new(StringArray::from_iter_values(pick(SYMBOLS.len()).map(|at| SYMBOLS[at]))),
            ),
            (
                "price",
                Arc::new(Float64Array::from_iter_values(
                    pick(10_000).map(|cents| 20.0 + cents as f64 / 100.0),
                )),
            ),
            (
                "quantity",
                Arc::new(Float64Array::from_iter_values(pick(500).map(|shares| shares as f64))),
            ),
            (
                "side",
                Arc::new(StringArray::from_iter_values(pick(2).map(|at| ["BUY", "SELL"][at]))),
            ),
            (
                "trader_id",
                Arc::new(StringArray::from_iter_values(
                    pick(traders.len()).map(|at| traders[at].as_str()),
                )),
            ),
            ("exchange", Arc::new(StringArray::from(vec!["NYSE"; count]))),
            ("trade_timestamp", time(times.clone())),
            ("event_timestamp", time(times)),
            ("trade_date", Arc::new(Date32Array::from(vec![date; count]))),
            ("needs_review", Arc::new(BooleanArray::from(vec![false; count]))),
            ("review_reason", Arc::new(StringArray::new_null(count))),
            ("topic_incarnation", Arc::new(Int32Array::from(vec![0; count]))),
            ("kafka_partition", Arc::new(Int32Array::from(vec![PARTITION; count]))),
            (
                "kafka_offset",
                Arc::new(Int64Array::from_iter_values(numbers.map(|number| number as i64))),
            ),
        ]);
        let schema = self.layout.arrow();
        let columns = schema
            .fields()
            .iter()
            .map(|field| {
                let column = columns.get(field.name().as_str());
                column
                    .cloned()
                    .ok_or_else(|| format!("the seed has no {}", field.name()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(RecordBatch::try_new(schema.clone(), columns)?)
    }
}

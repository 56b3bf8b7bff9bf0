//! `verify` of a silver table names each fault that is planted in it, and finds none in an honest one, as the oracle in SQL does.

use std::collections::{BTreeMap, HashMap};
use std::process::Command;
use std::sync::Arc;

use arrow_array::{Float64Array, RecordBatch, StringArray};
use iceberg::spec::{DataFile, Operation};
use tapehouse_core::merge::{MergeRequest, MergeState};
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_lake::commit::{Change, Planned, SnapshotChange};
use tapehouse_lake::files::{FileEncoder, FileLayout, write_file, write_position_deletes};
use tapehouse_lake::index::IndexSettings;
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::silver::clean::{RULES_VERSION, Rules, Waivers, clean};
use tapehouse_lake::silver::merge::{KeyedRows, KeyedTable, Merger};
use tapehouse_lake::verify::{SilverReport, verify_silver};
use tapehouse_lake::{CommitError, Lake, LoadedTable, TableName};
use uuid::Uuid;

use crate::place::{Kind, Place};
use crate::raw_trades::{self, DATE, NOON_US, Record};
use crate::support::python;

#[derive(Clone, Debug)]
struct Trade {
    id: Option<&'static str>,
    price: Option<f64>,
    event_us: i64,
}

impl Trade {
    fn at(self, offset: i64) -> Record {
        Record {
            partition: 0,
            offset,
            id: self.id.map(str::to_owned),
            price: self.price,
            side: Some("buy"),
            trade_us: NOON_US,
            event_us: Some(NOON_US + self.event_us),
        }
    }
}

fn trade(id: &'static str, price: f64, event_us: i64) -> Trade {
    Trade {
        id: Some(id),
        price: Some(price),
        event_us,
    }
}

/// T001 corrected, T002 as it came, a late event of T003, and one without a key.
fn trades() -> Vec<Trade> {
    let keyless = Trade {
        id: None,
        ..trade("", 1.0, 5)
    };
    vec![
        trade("T001", 150.25, 1),
        trade("T001", 150.30, 2),
        trade("T002", 20.0, 3),
        trade("T003", 30.5, 9),
        trade("T003", 30.0, 4),
        keyless,
    ]
}

struct Ground {
    _place: Place,
    lake: Lake,
    bronze: TableName,
    /// Rows of bronze by offset, as merging reads them.
    rows: Vec<RecordBatch>,
}

impl Ground {
    /// Bronze with [`trades`] at offsets 0 to 5 of partition 0, and silver merged from it, a commit a trade.
    async fn new() -> Self {
        let place = Place::new(Kind::Sqlite).await.unwrap();
        let lake = Lake::open(place.settings.clone()).await.unwrap();
        let bronze = raw_trades::create(&lake).await;
        let records: Vec<Record> = (0..).zip(trades()).map(|(offset, trade)| trade.at(offset)).collect();
        let all = raw_trades::append(&lake, &bronze, &records, &[(0, 0, records.len() as i64)]).await;
        let rows = (0..all.num_rows()).map(|row| all.slice(row, 1)).collect();
        let ground = Self {
            _place: place,
            lake,
            bronze,
            rows,
        };
        ground.merge().await;
        ground
    }

    async fn merge(&self) {
        let index = tempfile::tempdir().unwrap();
        let state = MergeState::new("cluster-1", self.bronze.to_string(), RULES_VERSION);
        let keyed = KeyedTable::of(SilverTable::Trades);
        let mut merger = Merger::open(&self.lake, &keyed, &state, IndexSettings::new(index.path().to_owned()))
            .await
            .unwrap();
        for (offset, rows) in (0..).zip(&self.rows) {
            let cleaned = clean(SilverTable::Trades, &Rules::default(), &Waivers::none(), rows).unwrap();
            let batches = [KeyedRows {
                rows: &cleaned.rows,
                keys: &cleaned.keys,
                orders: &cleaned.orders,
            }];
            let plan = merger.plan(&batches).unwrap();
            let encoded = merger.encode(&plan, &batches).unwrap();
            let request = MergeRequest {
                owner: "cluster-1".to_owned(),
                source: self.bronze.to_string(),
                rules: RULES_VERSION,
                ranges: [(0, Ranges([(0, OffsetRange::new(offset, offset + 1))].into()))].into(),
                decisions: 0..0,
            };
            let staged = merger.stage(plan, encoded, request, BTreeMap::new()).await.unwrap();
            let done = merger.commit(&staged).await.unwrap().unwrap();
            merger.follow(&staged, &done).unwrap();
        }
    }

    async fn silver(&self) -> LoadedTable {
        let name = SilverTable::Trades.name().parse().unwrap();
        self.lake.load(&name).await.unwrap().unwrap()
    }

    async fn verify(&self) -> SilverReport {
        let silver = self.silver().await;
        let bronze = self.lake.load(&self.bronze).await.unwrap().unwrap();
        verify_silver(
            &self.lake,
            SilverTable::Trades,
            &silver,
            &bronze,
            &Rules::default(),
            |_| {},
        )
        .await
        .unwrap()
    }

    /// What silver makes of the record at this offset.
    fn cleaned(&self, offset: usize) -> RecordBatch {
        let cleaned = clean(
            SilverTable::Trades,
            &Rules::default(),
            &Waivers::none(),
            &self.rows[offset],
        );
        cleaned.unwrap().rows
    }

    /// A data file of silver, under `date`.
    async fn file(&self, rows: &RecordBatch, date: i32) -> DataFile {
        let table = self.silver().await;
        let schema = Arc::clone(table.metadata().current_schema());
        let layout = FileLayout::new(schema, SilverTable::Trades.date_column()).unwrap();
        let rows = rows.clone().with_schema(layout.arrow().clone()).unwrap();
        let mut encoder = FileEncoder::open(&layout, date, &rows).unwrap();
        encoder.push(&rows).unwrap();
        let location = table.metadata().location();
        write_file(self.lake.warehouse(), location, 0, encoder.finish().unwrap())
            .await
            .unwrap()
    }

    /// Deletes of the one row of the file of the merge with this number, from 0.
    async fn deletes(&self, merge: i64) -> DataFile {
        let table = self.silver().await;
        let live = self.lake.live_files(&table).await.unwrap();
        let mut files = live.data_files();
        let (file, _) = files.find(|(_, number)| *number == merge + 1).unwrap();
        let batch = self.lake.warehouse().batch(table.metadata().location());
        let deletes = write_position_deletes(&batch, 0, file, &[0]).await.unwrap();
        batch.finish().await.unwrap();
        deletes
    }

    /// Commits without any check: what a broken program would do.
    async fn plant(&self, added: Vec<DataFile>) {
        let name = SilverTable::Trades.name().parse().unwrap();
        let change = Unchecked(added);
        self.lake.commit(&name, Uuid::new_v4(), &change).await.unwrap();
    }

    /// The one violation.
    async fn violation(&self) -> String {
        let report = self.verify().await;
        let [violation] = &report.violations[..] else {
            panic!("{report:?}")
        };
        format!("{} {}", violation.invariant, violation.message)
    }
}

struct Unchecked(Vec<DataFile>);

#[async_trait::async_trait]
impl Change for Unchecked {
    type Done = ();

    async fn plan(&self, _: &LoadedTable, _: i64, _: bool) -> Result<Planned<()>, CommitError> {
        Ok(Planned::Commit(Box::new(SnapshotChange {
            operation: Operation::Overwrite,
            added: self.0.clone(),
            removed: Default::default(),
            data_sequence_number: None,
            summary: BTreeMap::new(),
            properties: HashMap::new(),
        })))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_table_holds_here_and_in_sql() {
    let ground = Ground::new().await;
    let report = ground.verify().await;
    assert_eq!(report.violations, [], "{report:?}");
    assert_eq!((report.rows, report.source_rows, report.deduplicated), (3, 6, 2));
    assert_eq!(report.dropped, BTreeMap::from([("null_key", 1)]));
    assert_eq!((report.files, report.delete_files), (4, 1));
    let Some(python) = python() else { return };
    let oracle = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracle/silver.py");
    let settings = &ground._place.settings;
    let mut command = Command::new(python);
    command.args([oracle, &settings.catalog.uri, &settings.warehouse]);
    command.args(["--bronze", "bronze.raw_trades", "--silver", "silver.trades"]);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("\"expected\": 3"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_row_is_named() {
    let ground = Ground::new().await;
    let deletes = ground.deletes(2).await;
    ground.plant(vec![deletes]).await;
    let found = ground.violation().await;
    let expected = "I4 1 rows of bronze's fold are missing: T002 (incarnation 0, partition 0, offset 2)";
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doubled_row_is_named() {
    let ground = Ground::new().await;
    let again = ground.file(&ground.cleaned(1), DATE).await;
    ground.plant(vec![again]).await;
    let found = ground.violation().await;
    let expected = "I4 1 rows share their key with another row: T001 (incarnation 0, partition 0, offset 1)";
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_version_is_named() {
    let ground = Ground::new().await;
    let (deletes, older) = (ground.deletes(1).await, ground.file(&ground.cleaned(0), DATE).await);
    ground.plant(vec![deletes, older]).await;
    let found = ground.violation().await;
    assert_eq!(
        found,
        "I4 1 rows are of an older version than bronze has: T001 (incarnation 0, partition 0, offset 0), bronze has \
         (incarnation 0, partition 0, offset 1)"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_value_is_named() {
    let ground = Ground::new().await;
    let mut rows = ground.cleaned(3);
    let price = rows.schema().index_of("price").unwrap();
    let mut columns = rows.columns().to_vec();
    columns[price] = Arc::new(Float64Array::from(vec![30.500_000_001]));
    rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
    let (deletes, wrong) = (ground.deletes(3).await, ground.file(&rows, DATE).await);
    ground.plant(vec![deletes, wrong]).await;
    let found = ground.violation().await;
    let expected =
        "I4 1 rows have other values than their record in bronze: T003 (incarnation 0, partition 0, offset 3)";
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_in_a_wrong_partition_is_named() {
    let ground = Ground::new().await;
    let (deletes, misplaced) = (ground.deletes(2).await, ground.file(&ground.cleaned(2), DATE + 1).await);
    ground.plant(vec![deletes, misplaced]).await;
    let found = ground.violation().await;
    assert!(found.starts_with("I4 1 rows are in another partition than"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_no_record_and_two_delete_files_are_named() {
    let ground = Ground::new().await;
    let mut columns = ground.cleaned(2).columns().to_vec();
    columns[0] = Arc::new(StringArray::from(vec!["T999"]));
    let rows = RecordBatch::try_new(ground.cleaned(2).schema(), columns).unwrap();
    let surplus = ground.file(&rows, DATE).await;
    ground.plant(vec![surplus]).await;
    let found = ground.violation().await;
    assert!(found.starts_with("I4 1 rows are surplus"), "{found}");
    assert!(
        found.ends_with("T999 (incarnation 0, partition 0, offset 2)"),
        "{found}"
    );
    // The first version of T001 has a delete file already.
    let second = ground.deletes(0).await;
    ground.plant(vec![second]).await;
    let report = ground.verify().await;
    let of_files = report.violations.iter().find(|violation| violation.invariant == "I3");
    assert!(
        of_files.is_some_and(|violation| violation.message.contains("has 2 delete files")),
        "{report:?}"
    );
}

//! Merging by key: whatever the order of events, the cuts and the restarts, the table is the fold of its input, in any engine.

pub mod compactions;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Date32Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{NestedField, PrimitiveType, Schema, Transform, Type, UnboundPartitionSpec};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use tapehouse_core::merge::{MergeRequest, MergeState};
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_lake::commit::{CommitOutcome, Committed};
use tapehouse_lake::index::{IndexSettings, Order};
use tapehouse_lake::silver::merge::{KeyedRows, KeyedTable, MergeError, Merger};
use tapehouse_lake::silver::{SilverTable, keys, orders};
use tapehouse_lake::{Lake, NewTable};

use crate::place::{Kind, Place, on_each_catalog};
use crate::support::{python, run_readers};
use compactions::Compactions;

on_each_catalog! {
    any_stream_becomes_its_fold_in_any_engine,
    of_two_mergers_one_is_refused,
    a_commit_found_late_is_followed_only_if_nobody_came_after,
}

const KEY: &[&str] = &["trade_id"];
const DATE: &str = "trade_date";
const FIRST_DATE: i32 = 20_458;
const PARTITIONS: i32 = 2;

/// A row, but for what is made from its order.
#[derive(Clone, Debug)]
struct Event {
    key: u32,
    order: Order,
    day: i32,
}

fn schema() -> Schema {
    let field = |id, name: &str, kind| Arc::new(NestedField::required(id, name, Type::Primitive(kind)));
    Schema::builder()
        .with_fields([
            field(1, "trade_id", PrimitiveType::String),
            field(2, "event_timestamp", PrimitiveType::Timestamptz),
            field(3, DATE, PrimitiveType::Date),
            field(4, "topic_incarnation", PrimitiveType::Int),
            field(5, "kafka_partition", PrimitiveType::Int),
            field(6, "kafka_offset", PrimitiveType::Long),
        ])
        .build()
        .unwrap()
}

fn keyed(place: &Place) -> KeyedTable {
    let spec = UnboundPartitionSpec::builder().add_partition_field(3, DATE, Transform::Identity);
    KeyedTable {
        ident: place.ident.clone(),
        spec: NewTable {
            schema: schema(),
            partition_spec: spec.unwrap().build(),
            properties: HashMap::new(),
        },
        key_columns: KEY,
        keys: |rows| keys(SilverTable::Trades, rows),
        partition_column: DATE,
    }
}

async fn open(place: &Place, lake: &Lake, index_dir: &Path) -> Merger {
    let state = MergeState::new("cluster-1", "bronze.raw_trades", 1);
    let index = IndexSettings {
        // Few, so that keys are found in runs and in merged runs too.
        entries_in_memory: 40,
        shards: 2,
        ..IndexSettings::new(index_dir.to_owned())
    };
    Merger::open(lake, &keyed(place), &state, index).await.unwrap()
}

fn batch(events: &[Event]) -> RecordBatch {
    let column = |of: &dyn Fn(&Event) -> i32| Arc::new(Int32Array::from_iter_values(events.iter().map(of)));
    let times = events.iter().map(|event| event.order.event_us);
    RecordBatch::try_new(
        Arc::new(schema_to_arrow_schema(&schema()).unwrap()),
        vec![
            Arc::new(StringArray::from_iter_values(
                events.iter().map(|event| format!("T{}", event.key)),
            )),
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("+00:00")),
            Arc::new(Date32Array::from_iter_values(events.iter().map(|event| event.day))),
            column(&|event| event.order.incarnation),
            column(&|event| event.order.partition),
            Arc::new(Int64Array::from_iter_values(
                events.iter().map(|event| event.order.offset),
            )),
        ],
    )
    .unwrap()
}

fn event(key: u32, offset: i64) -> Event {
    Event {
        key,
        order: Order {
            event_us: offset,
            incarnation: 0,
            partition: 0,
            offset,
        },
        day: FIRST_DATE,
    }
}

fn range(start: i64, end: i64) -> Ranges {
    Ranges([(0, OffsetRange::new(start, end))].into())
}

/// Random events: few keys, few event times, so that there are corrections, late events and ties.
struct Stream {
    rng: StdRng,
    next: BTreeMap<i32, i64>,
}

impl Stream {
    /// The next events, cut anywhere, and the ranges that they are.
    fn take(&mut self) -> (Vec<Vec<Event>>, Ranges) {
        let mut events = Vec::new();
        let mut ranges = Ranges::default();
        for partition in 0..PARTITIONS {
            let start = *self.next.entry(partition).or_default();
            let mut offset = start;
            for _ in 0..self.rng.random_range(0..40) {
                // Some offsets are control records.
                offset += self.rng.random_range(1..3);
                events.push(Event {
                    key: self.rng.random_range(0..offset as u32 / 2 + 10),
                    order: Order {
                        event_us: self.rng.random_range(0..30),
                        incarnation: 0,
                        partition,
                        offset: offset - 1,
                    },
                    day: FIRST_DATE + self.rng.random_range(0..4),
                });
            }
            self.next.insert(partition, offset);
            ranges.0.insert(partition, OffsetRange::new(start, offset));
        }
        // Whatever the order of arrival.
        for at in (1..events.len()).rev() {
            events.swap(at, self.rng.random_range(0..=at));
        }
        let cut = self.rng.random_range(0..=events.len());
        let rest = events.split_off(cut);
        (vec![events, rest], ranges)
    }
}

fn request(ranges: &Ranges) -> MergeRequest {
    MergeRequest {
        owner: "cluster-1".to_owned(),
        source: "bronze.raw_trades".to_owned(),
        rules: 1,
        ranges: [(0, ranges.clone())].into(),
        decisions: 0..0,
    }
}

/// What became of a merge.
#[derive(Debug)]
struct Merged {
    committed: Option<Committed>,
    written: u64,
    deduplicated: u64,
}

/// How a merge ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The merger goes on with what it has committed.
    Followed,
    /// It is gone when the files are written.
    Staged,
    /// It is gone as soon as the commit is there.
    Committed,
}

async fn merge(merger: &mut Merger, batches: &[Vec<Event>], ranges: &Ranges) -> Result<Merged, MergeError> {
    merge_until(merger, batches, ranges, End::Followed).await
}

async fn merge_until(
    merger: &mut Merger,
    batches: &[Vec<Event>],
    ranges: &Ranges,
    end: End,
) -> Result<Merged, MergeError> {
    let rows: Vec<RecordBatch> = batches.iter().map(|events| batch(events)).collect();
    let of_rows: Vec<_> = rows
        .iter()
        .map(|rows| (keys(SilverTable::Trades, rows).unwrap(), orders(rows).unwrap()))
        .collect();
    let batches: Vec<KeyedRows<'_>> = rows
        .iter()
        .zip(&of_rows)
        .map(|(rows, (keys, orders))| KeyedRows { rows, keys, orders })
        .collect();
    let plan = merger.plan(&batches)?;
    let encoded = merger.encode(&plan, &batches)?;
    let staged = merger.stage(plan, encoded, request(ranges), BTreeMap::new()).await?;
    let committed = match end {
        End::Staged => None,
        End::Followed | End::Committed => merger.commit(&staged).await?,
    };
    if let (Some(committed), End::Followed) = (&committed, end) {
        merger.follow(&staged, committed)?;
    }
    Ok(Merged {
        committed,
        written: staged.plan().written,
        deduplicated: staged.plan().deduplicated,
    })
}

/// What the table must be: of each key the latest event.
#[derive(Default)]
struct Fold(BTreeMap<u32, Event>);

impl Fold {
    fn add(&mut self, events: &[Event]) {
        for event in events {
            let known = self.0.get(&event.key);
            if known.is_none_or(|known| known.order < event.order) {
                self.0.insert(event.key, event.clone());
            }
        }
    }

    fn as_json(&self) -> Value {
        let mut rows: Vec<(i32, i64)> = self
            .0
            .values()
            .map(|event| (event.order.partition, event.order.offset))
            .collect();
        rows.sort_unstable();
        serde_json::json!(rows)
    }
}

async fn any_stream_becomes_its_fold_in_any_engine(kind: Kind) {
    let (Some(python), Some(place)) = (python(), Place::new(kind).await) else {
        return;
    };
    let lake = Lake::open(place.settings.clone()).await.unwrap();
    let index = tempfile::tempdir().unwrap();
    let mut stream = Stream {
        rng: StdRng::seed_from_u64(5),
        next: BTreeMap::new(),
    };
    let (mut fold, mut expected) = (Fold::default(), BTreeMap::new());
    let mut merger = open(&place, &lake, index.path()).await;
    let mut compactions = Compactions::default();
    let (mut input, mut accounted, mut crashes) = (0, 0, [0, 0]);
    for round in 0..30 {
        let (batches, ranges) = stream.take();
        input += batches.iter().map(Vec::len).sum::<usize>() as u64;
        batches.iter().for_each(|events| fold.add(events));
        let end = match stream.rng.random_range(0..10) {
            0 => End::Staged,
            1 => End::Committed,
            _ => End::Followed,
        };
        let mut merged = merge_until(&mut merger, &batches, &ranges, end).await.unwrap();
        if end != End::Followed {
            crashes[end as usize - 1] += 1;
            compactions.pending = None;
            merger = open(&place, &Lake::open(place.settings.clone()).await.unwrap(), index.path()).await;
        }
        if end == End::Staged {
            merged = merge(&mut merger, &batches, &ranges).await.unwrap();
        }
        accounted += merged.written + merged.deduplicated;
        assert_eq!(merger.live_rows(), fold.0.len() as u64, "round {round}");
        if let Some(committed) = &merged.committed {
            expected.insert(committed.sequence_number, fold.as_json());
        }
        if round % 7 == 3 {
            // The same again, whole: everything is known already.
            let again = merge(&mut merger, &batches, &ranges).await.unwrap();
            assert!(again.committed.is_none() && again.written == 0, "{again:?}");
        }
        if let Some(committed) = compactions.turn(&mut merger, round).await {
            expected.insert(committed.sequence_number, fold.as_json());
        }
        if round % 10 == 9 {
            compactions.pending = None;
            let other = Lake::open(place.settings.clone()).await.unwrap();
            merger = open(&place, &other, index.path()).await;
            assert_eq!(merger.live_rows(), fold.0.len() as u64, "opened after round {round}");
        }
    }
    assert_eq!(input, accounted, "written and deduplicated");
    assert!(
        compactions.committed >= 4 && compactions.with_late_deletes >= 1,
        "{compactions:?}"
    );
    assert!(crashes.iter().all(|crashes| *crashes > 0), "{crashes:?}");
    assert_each_snapshot(&python, &place, &expected);
}

/// Each snapshot is what was expected of it, in other engines.
fn assert_each_snapshot(python: &Path, place: &Place, expected: &BTreeMap<i64, Value>) {
    let name = place.ident.to_string();
    let read = run_readers(
        python,
        &[
            "read_all",
            &place.settings.catalog.uri,
            &place.settings.warehouse,
            &name,
        ],
    );
    let snapshots = read["snapshots"].as_array().unwrap();
    assert!(snapshots.len() >= 25, "{} snapshots", snapshots.len());
    for snapshot in snapshots {
        let number = snapshot["sequence_number"].as_i64().unwrap();
        assert_eq!(snapshot["pyiceberg"], expected[&number], "PyIceberg, snapshot {number}");
        assert_eq!(snapshot["duckdb"], expected[&number], "DuckDB, snapshot {number}");
    }
}

/// Who finds out late that its commit happened must not take what others have committed since for what its index knows.
async fn a_commit_found_late_is_followed_only_if_nobody_came_after(kind: Kind) {
    let Some(place) = Place::new(kind).await else { return };
    let lake = Lake::open(place.settings.clone()).await.unwrap();
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut one = open(&place, &lake, here.path()).await;
    let rows = batch(&[event(1, 0)]);
    let (of_keys, of_orders) = (keys(SilverTable::Trades, &rows).unwrap(), orders(&rows).unwrap());
    let batches = [KeyedRows {
        rows: &rows,
        keys: &of_keys,
        orders: &of_orders,
    }];
    let plan = one.plan(&batches).unwrap();
    let encoded = one.encode(&plan, &batches).unwrap();
    let staged = one
        .stage(plan, encoded, request(&range(0, 1)), BTreeMap::new())
        .await
        .unwrap();
    one.commit(&staged).await.unwrap();
    let mut other = open(&place, &lake, there.path()).await;
    merge(&mut other, &[vec![event(2, 1)]], &range(1, 2)).await.unwrap();
    // The same commit again, as after a lost answer.
    let late = lake.merge(&place.ident, staged.delta()).await.unwrap();
    let CommitOutcome::Committed(found) = late else {
        panic!("{late:?}");
    };
    let followed = one.follow(&staged, &found);
    assert!(matches!(followed, Err(MergeError::OtherBase { .. })), "{followed:?}");
}

async fn of_two_mergers_one_is_refused(kind: Kind) {
    let Some(place) = Place::new(kind).await else { return };
    let lake = Lake::open(place.settings.clone()).await.unwrap();
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut one = open(&place, &lake, here.path()).await;
    let mut other = open(&place, &lake, there.path()).await;
    merge(&mut one, &[vec![event(1, 0), event(2, 1)]], &range(0, 2))
        .await
        .unwrap();
    // It has not seen that key 1 has a row by now, and would write a second one.
    let late = merge(&mut other, &[vec![event(1, 2)]], &range(0, 3)).await;
    assert!(matches!(late, Err(MergeError::Refused(..))), "{late:?}");
    // Nor here, where its ranges would fit: of the table's files it knows none.
    let late = merge(&mut other, &[vec![event(1, 2)]], &range(2, 3)).await;
    assert!(matches!(late, Err(MergeError::OtherBase { .. })), "{late:?}");
    let mut other = open(&place, &lake, there.path()).await;
    merge(&mut other, &[vec![event(1, 2)]], &range(2, 3)).await.unwrap();
    assert_eq!(other.live_rows(), 2);
    let late = merge(&mut one, &[vec![event(2, 3)]], &range(3, 4)).await;
    assert!(matches!(late, Err(MergeError::OtherBase { .. })), "{late:?}");
}

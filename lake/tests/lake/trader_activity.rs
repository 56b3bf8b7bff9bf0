//! Days of trades, their versions, and what is derived from them: whatever moves between days and hours, whoever computes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use tapehouse_core::derive::DeriveRefusal;
use tapehouse_core::merge::{MergeRequest, MergeState};
use tapehouse_core::new_york;
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_lake::commit::{Committed, Rewrite, Rewritten};
use tapehouse_lake::index::IndexSettings;
use tapehouse_lake::silver::activity::{ActivityError, Refreshed, TraderActivity};
use tapehouse_lake::silver::merge::{KeyedRows, KeyedTable, Merger};
use tapehouse_lake::silver::source::DayRows;
use tapehouse_lake::silver::{SilverTable, keys, orders};
use tapehouse_lake::{Lake, LoadedTable};
use uuid::Uuid;

use crate::lost_answers::{Fault, faulty};
use crate::place::{Kind, Place, on_each_catalog};
use crate::support::Rig;

on_each_catalog! {
    activity_is_what_the_trades_say_after_every_correction,
    of_two_nodes_the_one_with_older_trades_is_refused,
    a_lost_answer_leaves_one_output,
    day_versions_follow_what_happens_to_each_day,
}

/// 2024-06-03T00:00:00 in New York.
const DAY_US: i64 = 1_717_387_200_000_000;
const DAY: i32 = 19_877;
const HOUR_US: i64 = 3_600_000_000;

#[derive(Clone, Debug)]
struct Trade {
    id: u32,
    trader: Option<&'static str>,
    symbol: &'static str,
    price: f64,
    quantity: f64,
    time_us: i64,
    needs_review: bool,
}

fn trade(id: u32, trader: &'static str, time_us: i64) -> Trade {
    Trade {
        id,
        trader: Some(trader),
        symbol: if id % 2 == 0 { "AAPL" } else { "MSFT" },
        price: f64::from(id) + 0.1,
        quantity: f64::from(id % 7) + 0.3,
        time_us,
        needs_review: false,
    }
}

/// Trades and their merger, and the fold that the trades must be.
struct Market {
    rig: Rig,
    merger: Merger,
    next: i64,
    fold: BTreeMap<u32, Trade>,
    _index: tempfile::TempDir,
}

fn batch(trades: &[Trade], first_offset: i64) -> RecordBatch {
    let texts = |of: &dyn Fn(&Trade) -> Option<String>| -> ArrayRef {
        Arc::new(trades.iter().map(of).collect::<StringArray>())
    };
    let doubles =
        |of: &dyn Fn(&Trade) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values(trades.iter().map(of))) };
    let offsets: Vec<i64> = (first_offset..).take(trades.len()).collect();
    let times =
        |values: Vec<i64>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(values).with_timezone("+00:00")) };
    let dates = trades.iter().map(|trade| new_york::date(trade.time_us));
    let columns: Vec<ArrayRef> = vec![
        texts(&|trade| Some(format!("T{}", trade.id))),
        texts(&|trade| Some(trade.symbol.to_owned())),
        doubles(&|trade| trade.price),
        doubles(&|trade| trade.quantity),
        texts(&|_| Some("BUY".to_owned())),
        texts(&|trade| trade.trader.map(str::to_owned)),
        texts(&|_| Some("NYSE".to_owned())),
        times(trades.iter().map(|trade| trade.time_us).collect()),
        times(offsets.clone()),
        Arc::new(Date32Array::from_iter_values(dates)),
        Arc::new(
            trades
                .iter()
                .map(|trade| Some(trade.needs_review))
                .collect::<BooleanArray>(),
        ),
        texts(&|trade| trade.needs_review.then(|| "null_price".to_owned())),
        Arc::new(Int32Array::from(vec![0; trades.len()])),
        Arc::new(Int32Array::from(vec![0; trades.len()])),
        Arc::new(Int64Array::from(offsets)),
    ];
    RecordBatch::try_new(Arc::clone(SilverTable::Trades.arrow()), columns).unwrap()
}

impl Market {
    async fn new(kind: Kind) -> Option<Self> {
        let place = Place::new(kind).await?;
        let lake = Lake::open(place.settings.clone()).await.unwrap();
        let ident = place.beside("trades");
        let keyed = KeyedTable {
            ident: ident.clone(),
            ..KeyedTable::of(SilverTable::Trades)
        };
        let state = MergeState::new("cluster-1", "bronze.raw_trades", 1);
        let index = tempfile::tempdir().unwrap();
        let settings = IndexSettings::new(index.path().to_owned());
        let merger = Merger::open(&lake, &keyed, &state, settings).await.unwrap();
        Some(Self {
            rig: Rig { place, lake, ident },
            merger,
            next: 0,
            fold: BTreeMap::new(),
            _index: index,
        })
    }

    /// Merges trades in one commit; the days that it says to have touched.
    async fn merge(&mut self, trades: &[Trade]) -> (Committed, BTreeSet<i32>) {
        let rows = batch(trades, self.next);
        let end = self.next + trades.len() as i64;
        let (keys, orders) = (keys(SilverTable::Trades, &rows).unwrap(), orders(&rows).unwrap());
        let rows = [KeyedRows {
            rows: &rows,
            keys: &keys,
            orders: &orders,
        }];
        let plan = self.merger.plan(&rows).unwrap();
        let files = self.merger.encode(&plan, &rows).unwrap();
        let request = MergeRequest {
            owner: "cluster-1".to_owned(),
            source: "bronze.raw_trades".to_owned(),
            rules: 1,
            ranges: [(0, Ranges([(0, OffsetRange::new(self.next, end))].into()))].into(),
        };
        let staged = self.merger.stage(plan, files, request, BTreeMap::new()).await.unwrap();
        let committed = self.merger.commit(&staged).await.unwrap().unwrap();
        self.merger.follow(&staged, &committed).unwrap();
        self.next = end;
        self.fold.extend(trades.iter().map(|trade| (trade.id, trade.clone())));
        (committed, staged.touched_days().clone())
    }

    async fn derivation(&self, lake: Lake) -> TraderActivity {
        TraderActivity {
            lake,
            ident: self.rig.place.beside("trader_activity"),
            source: self.rig.ident.clone(),
            owner: "cluster-1".to_owned(),
        }
    }

    /// The rows that there must be: sums as decimals would be wrong, so in the order of ids, to a relative error of rounding.
    fn expected(&self) -> BTreeMap<(i32, i64, String), (i64, f64, f64, i64)> {
        let mut rows: BTreeMap<(i32, i64, String), (i64, f64, f64, BTreeSet<&str>)> = BTreeMap::new();
        for trade in self.fold.values().filter(|trade| !trade.needs_review) {
            let Some(trader) = trade.trader else { continue };
            let hour = trade.time_us.div_euclid(HOUR_US) * HOUR_US;
            let row = rows.entry((new_york::date(hour), hour, trader.to_owned())).or_default();
            row.0 += 1;
            row.1 += trade.quantity;
            row.2 += trade.price * trade.quantity;
            row.3.insert(trade.symbol);
        }
        rows.into_iter()
            .map(|(key, (count, volume, notional, symbols))| (key, (count, volume, notional, symbols.len() as i64)))
            .collect()
    }
}

/// Does what there is to do; the days computed and those that have other rows now.
async fn refresh(derivation: &TraderActivity) -> (Vec<i32>, Vec<i32>) {
    let (computed, refreshed) = computed(derivation).await;
    if computed.is_empty() {
        return (computed, Vec::new());
    }
    assert!(derivation.commit(&refreshed).await.unwrap().is_some());
    (computed, refreshed.changed_days().collect())
}

async fn computed(derivation: &TraderActivity) -> (Vec<i32>, Refreshed) {
    let refresh = derivation.look().await.unwrap().unwrap();
    let refreshed = derivation
        .compute(&refresh, refresh.days(), BTreeMap::new())
        .await
        .unwrap();
    (refresh.days().to_vec(), refreshed)
}

async fn activity(derivation: &TraderActivity) -> LoadedTable {
    derivation.lake.load(&derivation.ident).await.unwrap().unwrap()
}

/// What the table has, and that each day of it is one file.
async fn found(derivation: &TraderActivity) -> BTreeMap<(i32, i64, String), (i64, f64, f64, i64)> {
    let table = activity(derivation).await;
    let names = [
        "trader_id",
        "activity_hour",
        "trade_count",
        "total_volume",
        "total_notional",
        "distinct_symbols",
    ];
    let mut rows = BTreeMap::new();
    for (day, of_day) in derivation.lake.days(&table).await.unwrap().iter() {
        assert_eq!((of_day.files, of_day.delete_files), (1, 0), "day {day}");
        let mut read = DayRows::of(&derivation.lake, &table, &names, *day).await.unwrap();
        while let Some(batch) = read.next().await.unwrap() {
            let traders = batch.column(0).as_string::<i32>();
            let hours = batch.column(1).as_primitive::<TimestampMicrosecondType>();
            let long = |at: usize| batch.column(at).as_primitive::<Int64Type>();
            let double = |at: usize| batch.column(at).as_primitive::<Float64Type>();
            for row in 0..batch.num_rows() {
                let key = (*day, hours.value(row), traders.value(row).to_owned());
                let values = (
                    long(2).value(row),
                    double(3).value(row),
                    double(4).value(row),
                    long(5).value(row),
                );
                assert!(rows.insert(key, values).is_none(), "a row twice");
            }
        }
    }
    rows
}

async fn demand(market: &Market, derivation: &TraderActivity) {
    let (found, expected) = (found(derivation).await, market.expected());
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (key, (count, volume, notional, symbols)) in expected {
        let row = found[&key];
        assert_eq!((row.0, row.3), (count, symbols), "{key:?}");
        let is_near = |found: f64, expected: f64| (found - expected).abs() <= 1e-12 * expected.abs();
        assert!(
            is_near(row.1, volume) && is_near(row.2, notional),
            "{key:?}: {row:?}, {volume} {notional}"
        );
    }
}

async fn activity_is_what_the_trades_say_after_every_correction(kind: Kind) {
    let Some(mut market) = Market::new(kind).await else {
        return;
    };
    let derivation = market.derivation(market.rig.lake.clone()).await;
    assert!(derivation.look().await.unwrap().is_none(), "no trades, no table");
    // Three days, from the first instant of each to the last.
    let first: Vec<Trade> = (0..90)
        .map(|id| {
            let time_us = DAY_US + i64::from(id % 3) * 24 * HOUR_US + i64::from(id / 3) * HOUR_US * 4 / 5;
            trade(id, ["A", "B"][id as usize / 2 % 2], time_us)
        })
        .collect();
    market.merge(&first).await;
    assert_eq!(
        refresh(&derivation).await,
        (vec![DAY, DAY + 1, DAY + 2], vec![DAY, DAY + 1, DAY + 2])
    );
    demand(&market, &derivation).await;
    assert_eq!(refresh(&derivation).await, (vec![], vec![]));
    // To another day, to another hour, to a review, to nobody.
    let mut moved = first[0].clone();
    moved.time_us += 25 * HOUR_US;
    let (_, touched) = market.merge(&[moved]).await;
    assert_eq!(touched, [DAY, DAY + 1].into());
    assert_eq!(refresh(&derivation).await.0, [DAY, DAY + 1]);
    demand(&market, &derivation).await;
    let mut later = first[2].clone();
    later.time_us += HOUR_US;
    let mut review = first[5].clone();
    review.needs_review = true;
    let mut nobody = first[8].clone();
    nobody.trader = None;
    let (_, touched) = market.merge(&[later, review, nobody]).await;
    assert_eq!(touched, [DAY + 2].into());
    assert_eq!(refresh(&derivation).await, (vec![DAY + 2], vec![DAY + 2]));
    demand(&market, &derivation).await;
    // Another side is no other activity: computed, recorded, and the file stays.
    let before = activity(&derivation).await;
    market.merge(&[first[3].clone()]).await;
    assert_eq!(refresh(&derivation).await, (vec![DAY], vec![]));
    let after = activity(&derivation).await;
    let files = |table: LoadedTable| {
        let lake = market.rig.lake.clone();
        async move {
            let live = lake.live_files(&table).await.unwrap();
            live.data_files()
                .map(|(file, _)| file.file_path().to_owned())
                .collect::<BTreeSet<_>>()
        }
    };
    assert_eq!(files(before).await, files(after).await);
    assert_eq!(refresh(&derivation).await, (vec![], vec![]));
    // All of a day is left out: its rows go, its file too.
    let all: Vec<Trade> = market
        .fold
        .values()
        .filter(|trade| new_york::date(trade.time_us) == DAY + 1)
        .cloned()
        .collect();
    let reviewed: Vec<Trade> = all
        .iter()
        .map(|trade| Trade {
            needs_review: true,
            ..trade.clone()
        })
        .collect();
    market.merge(&reviewed).await;
    assert_eq!(refresh(&derivation).await, (vec![DAY + 1], vec![DAY + 1]));
    demand(&market, &derivation).await;
    assert!(found(&derivation).await.keys().all(|(day, ..)| *day != DAY + 1));
    // From nothing, by somebody who knows nothing: the same rows to the bit.
    let incremental = found(&derivation).await;
    let afresh = TraderActivity {
        ident: market.rig.place.beside("activity_afresh"),
        ..market.derivation(market.rig.other().await).await
    };
    refresh(&afresh).await;
    assert_eq!(found(&afresh).await, incremental);
}

async fn of_two_nodes_the_one_with_older_trades_is_refused(kind: Kind) {
    let Some(mut market) = Market::new(kind).await else {
        return;
    };
    let (here, there) = (
        market.derivation(market.rig.lake.clone()).await,
        market.derivation(market.rig.other().await).await,
    );
    market
        .merge(&[trade(1, "A", DAY_US), trade(2, "A", DAY_US + 24 * HOUR_US)])
        .await;
    let (_, old) = computed(&here).await;
    market.merge(&[trade(3, "B", DAY_US)]).await;
    let (_, new) = computed(&there).await;
    assert!(there.commit(&new).await.unwrap().is_some());
    let snapshot = activity(&there).await.metadata().current_snapshot_id();
    let late = here.commit(&old).await;
    assert!(
        matches!(late, Err(ActivityError::Refused(DeriveRefusal::Stale { .. }))),
        "{late:?}"
    );
    assert_eq!(activity(&there).await.metadata().current_snapshot_id(), snapshot);
    demand(&market, &there).await;
    // Both at once, from the same trades: one output, and the other one is told so.
    for round in 0..8 {
        market.merge(&[trade(10 + round, "C", DAY_US + HOUR_US)]).await;
        let ((_, one), (_, other)) = (computed(&here).await, computed(&there).await);
        let (one, other) = tokio::join!(here.commit(&one), there.commit(&other));
        let committed = [one.unwrap(), other.unwrap()].iter().flatten().count();
        assert_eq!(committed, 1, "round {round}");
        demand(&market, &there).await;
    }
    let foreign = TraderActivity {
        owner: "cluster-2".to_owned(),
        ..there.clone()
    };
    market.merge(&[trade(30, "C", DAY_US + HOUR_US)]).await;
    let (_, refreshed) = computed(&foreign).await;
    let refused = foreign.commit(&refreshed).await;
    assert!(
        matches!(refused, Err(ActivityError::Refused(DeriveRefusal::OtherOwner { .. }))),
        "{refused:?}"
    );
}

async fn a_lost_answer_leaves_one_output(kind: Kind) {
    let Some(mut market) = Market::new(kind).await else {
        return;
    };
    let derivation = market.derivation(market.rig.lake.clone()).await;
    market.merge(&[trade(1, "A", DAY_US)]).await;
    refresh(&derivation).await;
    for fault in [Fault::LoseAnswer, Fault::LoseRequest, Fault::LoseAnswerAndLoads] {
        market.merge(&[trade(fault as u32 + 5, "B", DAY_US)]).await;
        let before = activity(&derivation).await.metadata().snapshots().len();
        let (_, refreshed) = computed(&derivation).await;
        let unlucky = market.derivation(faulty(&market.rig, fault, 1).await).await;
        let committed = unlucky.commit(&refreshed).await.unwrap().unwrap();
        let again = derivation.commit(&refreshed).await.unwrap().unwrap();
        assert_eq!(again.snapshot_id, committed.snapshot_id, "{fault:?}");
        assert_eq!(
            activity(&derivation).await.metadata().snapshots().len(),
            before + 1,
            "{fault:?}"
        );
        demand(&market, &derivation).await;
    }
}

async fn day_versions_follow_what_happens_to_each_day(kind: Kind) {
    let Some(mut market) = Market::new(kind).await else {
        return;
    };
    let lake = market.rig.lake.clone();
    let versions = |table: LoadedTable| {
        let lake = lake.clone();
        async move { lake.day_versions(&table).await.unwrap() }
    };
    let (one, two) = (trade(1, "A", DAY_US), trade(2, "A", DAY_US + 24 * HOUR_US));
    let (committed, _) = market.merge(&[one.clone(), trade(3, "A", DAY_US), two]).await;
    assert_eq!(versions(committed.table).await, [(DAY, 1), (DAY + 1, 1)].into());
    let (committed, _) = market.merge(&[trade(4, "A", DAY_US + 24 * HOUR_US)]).await;
    assert_eq!(versions(committed.table).await, [(DAY, 1), (DAY + 1, 2)].into());
    // Moved to a third day: the first has a delete file now.
    let moved = Trade {
        time_us: DAY_US + 50 * HOUR_US,
        ..one
    };
    let (committed, touched) = market.merge(&[moved]).await;
    assert_eq!(touched, [DAY, DAY + 2].into());
    let summary = &committed
        .table
        .metadata()
        .current_snapshot()
        .unwrap()
        .summary()
        .additional_properties;
    assert_eq!(summary["tapehouse.days"], r#"["2024-06-03","2024-06-05"]"#);
    assert_eq!(
        versions(committed.table.clone()).await,
        [(DAY, 3), (DAY + 1, 2), (DAY + 2, 3)].into()
    );
    let days = lake.days(&committed.table).await.unwrap();
    assert_eq!((days[&DAY].rows, days[&DAY].files, days[&DAY].delete_files), (1, 1, 1));
    assert_eq!((days[&(DAY + 1)].rows, days[&(DAY + 1)].files), (2, 2));
    // A rewrite changes no version: its output has the highest sequence number of its inputs.
    let live = lake.live_files(&committed.table).await.unwrap();
    let inputs: Vec<Rewritten> = live
        .data_files()
        .filter(|(file, _)| file.file_path().contains("trade_date=2024-06-04"))
        .map(|(file, _)| Rewritten {
            data_file: file.file_path().to_owned(),
            delete_file: None,
        })
        .collect();
    assert_eq!(inputs.len(), 2);
    let mut rows = DayRows::of(&lake, &committed.table, &all_columns(), DAY + 1)
        .await
        .unwrap();
    let mut read = Vec::new();
    while let Some(batch) = rows.next().await.unwrap() {
        read.push(batch);
    }
    let layout = market.merger.layout();
    let mut encoder = tapehouse_lake::files::FileEncoder::open(layout, DAY + 1, &read[0]).unwrap();
    read.iter().for_each(|batch| {
        encoder
            .push(&batch.clone().with_schema(Arc::clone(layout.arrow())).unwrap())
            .unwrap()
    });
    let location = committed.table.metadata().location().to_owned();
    let output = tapehouse_lake::files::write_file(lake.warehouse(), &location, 0, encoder.finish().unwrap());
    let rewrite = Rewrite {
        commit_id: Uuid::new_v4(),
        inputs,
        outputs: vec![output.await.unwrap()],
        deletes: Vec::new(),
        summary: BTreeMap::new(),
    };
    lake.rewrite(&market.rig.ident, &rewrite).await.unwrap();
    let table = market.rig.table().await;
    assert_eq!(table.metadata().last_sequence_number(), 4);
    assert_eq!(
        versions(table.clone()).await,
        [(DAY, 3), (DAY + 1, 2), (DAY + 2, 3)].into()
    );
    // Somebody else, with an empty cache, sees the same.
    let other = market.rig.other().await;
    assert_eq!(other.day_versions(&table).await.unwrap(), versions(table).await);
}

fn all_columns() -> Vec<&'static str> {
    let fields = SilverTable::Trades.arrow().fields();
    fields.iter().map(|field| field.name().as_str()).collect()
}

//! What is derived from days of trades: whatever moves between days and hours, whoever computes.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use tapehouse_core::derive::DeriveRefusal;
use tapehouse_core::new_york;
use tapehouse_lake::derived::{Derivation, DeriveError, Refreshed};
use tapehouse_lake::{LiveRows, LoadedTable};

use crate::lost_answers::{Fault, faulty};
use crate::market::{DAY, DAY_US, HOUR_US, Hour, Market, Sums, Trade, trade};
use crate::place::{Kind, on_each_catalog};

/// Of activity no day is provisional: the time does not matter.
const NOW_US: i64 = 0;

on_each_catalog! {
    activity_is_what_the_trades_say_after_every_correction,
    days_without_a_change_keep_their_files,
    of_two_nodes_the_one_with_older_trades_is_refused,
    a_lost_answer_leaves_one_output,
}

/// Does what there is to do; the days computed and those that have other rows now.
async fn refresh(derivation: &Derivation) -> (Vec<i32>, Vec<i32>) {
    let (computed, refreshed) = computed(derivation).await;
    if computed.is_empty() {
        return (computed, Vec::new());
    }
    assert!(derivation.commit(&refreshed).await.unwrap().is_some());
    (computed, refreshed.changed_days().collect())
}

async fn computed(derivation: &Derivation) -> (Vec<i32>, Refreshed) {
    let refresh = derivation.look(NOW_US).await.unwrap().unwrap();
    let refreshed = derivation
        .compute(&refresh, refresh.days(), BTreeMap::new())
        .await
        .unwrap();
    (refresh.days().to_vec(), refreshed)
}

async fn activity(derivation: &Derivation) -> LoadedTable {
    derivation.lake.load(&derivation.ident).await.unwrap().unwrap()
}

/// What the table has, and that each day of it is one file.
async fn found(derivation: &Derivation) -> BTreeMap<Hour, Sums> {
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
        let mut read = LiveRows::of_day(&derivation.lake, &table, &names, *day).await.unwrap();
        while let Some((_, batch)) = read.next().await.unwrap() {
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

async fn demand(market: &Market, derivation: &Derivation) {
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
    assert!(derivation.look(NOW_US).await.unwrap().is_none(), "no trades, no table");
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
    let afresh = Derivation {
        ident: market.rig.place.beside("activity_afresh"),
        ..market.derivation(market.rig.other().await).await
    };
    refresh(&afresh).await;
    assert_eq!(found(&afresh).await, incremental);
}

async fn days_without_a_change_keep_their_files(kind: Kind) {
    let Some(mut market) = Market::new(kind).await else {
        return;
    };
    let derivation = market.derivation(market.rig.lake.clone()).await;
    let first = [trade(1, "A", DAY_US), trade(2, "B", DAY_US + 24 * HOUR_US)];
    market.merge(&first).await;
    refresh(&derivation).await;
    // Another side is no other activity: computed, recorded, and the file stays.
    let before = activity(&derivation).await;
    market.merge(&[first[0].clone()]).await;
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
        matches!(late, Err(DeriveError::Refused(DeriveRefusal::Stale { .. }))),
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
    let foreign = Derivation {
        owner: "cluster-2".to_owned(),
        ..there.clone()
    };
    market.merge(&[trade(30, "C", DAY_US + HOUR_US)]).await;
    let (_, refreshed) = computed(&foreign).await;
    let refused = foreign.commit(&refreshed).await;
    assert!(
        matches!(refused, Err(DeriveError::Refused(DeriveRefusal::OtherOwner { .. }))),
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

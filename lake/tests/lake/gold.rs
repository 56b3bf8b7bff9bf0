//! Gold tables without a state: they are what their sources give, of each day, whatever moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type};
use tapehouse_core::calendar::Calendar;
use tapehouse_lake::LiveRows;
use tapehouse_lake::derived::{DayTable, Derivation, Refreshed};
use tapehouse_lake::verify::verify_derived;

use crate::market::{DAY, DAY_US, HOUR_US, Market, Trade, trade};
use crate::place::{Kind, on_each_catalog};

on_each_catalog! {
    a_correction_recomputes_its_days_and_no_others,
    a_day_is_provisional_until_it_is_over,
    verify_names_a_day_with_other_rows,
}

/// Long after all days of these tests.
const LATER_US: i64 = DAY_US + 365 * 24 * HOUR_US;

fn summary(market: &Market) -> Derivation {
    let place = &market.rig.place;
    Derivation {
        ident: place.beside("summary"),
        sources: vec![
            market.rig.ident.clone(),
            place.beside("no_books"),
            place.beside("no_bars"),
        ],
        ..Derivation::new(market.rig.lake.clone(), DayTable::TradingSummary, "cluster-1")
    }
}

fn overview(market: &Market) -> Derivation {
    Derivation {
        ident: market.rig.place.beside("overview"),
        sources: vec![market.rig.place.beside("summary")],
        ..Derivation::new(market.rig.lake.clone(), DayTable::MarketOverview, "cluster-1")
    }
}

/// Does what there is to do at `now_us`: the days computed, and those with other rows than before.
async fn refresh(derivation: &Derivation, now_us: i64) -> (Vec<i32>, Vec<i32>) {
    let refresh = derivation.look(now_us).await.unwrap().unwrap();
    let refreshed: Refreshed = derivation
        .compute(&refresh, refresh.days(), BTreeMap::new())
        .await
        .unwrap();
    if !refresh.days().is_empty() {
        assert!(derivation.commit(&refreshed).await.unwrap().is_some());
    }
    (refresh.days().to_vec(), refreshed.changed_days().collect())
}

/// Data files by day.
async fn files(derivation: &Derivation) -> BTreeMap<i32, BTreeSet<String>> {
    let table = derivation.lake.load(&derivation.ident).await.unwrap().unwrap();
    let mut files: BTreeMap<i32, BTreeSet<String>> = BTreeMap::new();
    for (file, _) in derivation.lake.live_files(&table).await.unwrap().data_files() {
        let day = file.partition().fields()[0]
            .clone()
            .unwrap()
            .as_primitive_literal()
            .unwrap();
        let iceberg::spec::PrimitiveLiteral::Int(day) = day else {
            panic!("{day:?}")
        };
        files.entry(day).or_default().insert(file.file_path().to_owned());
    }
    files
}

/// Volume and trades of a symbol's day.
async fn of_symbol(derivation: &Derivation, day: i32, symbol: &str) -> Option<(f64, i64)> {
    let table = derivation.lake.load(&derivation.ident).await.unwrap().unwrap();
    let names = ["symbol", "total_volume", "trade_count"];
    let mut rows = LiveRows::of_day(&derivation.lake, &table, &names, day).await.unwrap();
    while let Some((_, batch)) = rows.next().await.unwrap() {
        let row = batch
            .column(0)
            .as_string::<i32>()
            .iter()
            .position(|name| name == Some(symbol));
        if let Some(row) = row {
            let volume = batch.column(1).as_primitive::<Float64Type>().value(row);
            return Some((volume, batch.column(2).as_primitive::<Int64Type>().value(row)));
        }
    }
    None
}

async fn a_correction_recomputes_its_days_and_no_others(kind: Kind) {
    let Some(mut market) = Market::new(kind).await else {
        return;
    };
    let (summary, overview) = (summary(&market), overview(&market));
    let day_us = |day: i64| DAY_US + day * 24 * HOUR_US;
    let trades: Vec<Trade> = (0..10)
        .flat_map(|day| [2, 4].map(|id| trade(id + 10 * day as u32, "A", day_us(day) + i64::from(id))))
        .collect();
    market.merge(&trades).await;
    let days: Vec<i32> = (DAY..DAY + 10).collect();
    assert_eq!(refresh(&summary, LATER_US).await, (days.clone(), days.clone()));
    assert_eq!(refresh(&overview, LATER_US).await, (days.clone(), days));
    assert_eq!(refresh(&summary, LATER_US).await, (vec![], vec![]));
    let before = (files(&summary).await, files(&overview).await);
    // A trade moves from the third to the sixth day; of the eighth a side is corrected, which gold does not show.
    let mut moved = trades[4].clone();
    assert_eq!(moved.time_us, day_us(2) + 2);
    moved.time_us = day_us(5);
    market.merge(&[moved.clone(), trades[14].clone()]).await;
    assert_eq!(
        refresh(&summary, LATER_US).await,
        (vec![DAY + 2, DAY + 5, DAY + 7], vec![DAY + 2, DAY + 5])
    );
    assert_eq!(
        refresh(&overview, LATER_US).await,
        (vec![DAY + 2, DAY + 5], vec![DAY + 2, DAY + 5])
    );
    let after = (files(&summary).await, files(&overview).await);
    for (before, after) in [(&before.0, &after.0), (&before.1, &after.1)] {
        for day in DAY..DAY + 10 {
            assert_eq!(
                before[&day] == after[&day],
                ![DAY + 2, DAY + 5].contains(&day),
                "day {day}"
            );
        }
    }
    let volume = trades[10].quantity + trades[11].quantity + moved.quantity;
    let (found, count) = of_symbol(&summary, DAY + 5, "AAPL").await.unwrap();
    assert!((found - volume).abs() < 1e-9 && count == 3, "{found} {count}");
    assert_eq!(
        of_symbol(&summary, DAY + 2, "AAPL").await,
        Some((trades[5].quantity, 1))
    );
    // A day that loses its last trade loses its rows.
    let mut gone = trades[5].clone();
    gone.time_us = day_us(5);
    market.merge(&[gone]).await;
    assert_eq!(refresh(&summary, LATER_US).await.1, [DAY + 2, DAY + 5]);
    refresh(&overview, LATER_US).await;
    assert!(!files(&summary).await.contains_key(&(DAY + 2)) && !files(&overview).await.contains_key(&(DAY + 2)));
    for derivation in [summary, overview] {
        let report = verify_derived(&derivation, |_, _| ()).await.unwrap().unwrap();
        assert_eq!((report.days_not_current, report.violations), (0, vec![]));
    }
}

async fn a_day_is_provisional_until_it_is_over(kind: Kind) {
    let Some(mut market) = Market::new(kind).await else {
        return;
    };
    let summary = summary(&market);
    let final_us = Calendar::nyse().final_us(DAY).unwrap();
    assert_eq!(final_us, DAY_US + 17 * HOUR_US + HOUR_US / 4);
    market
        .merge(&[trade(2, "A", DAY_US), trade(4, "A", DAY_US - 24 * HOUR_US)])
        .await;
    let looked = summary.look(final_us - 1).await.unwrap().unwrap();
    assert_eq!(
        (looked.days(), looked.open_days()),
        (&[DAY - 1, DAY][..], &BTreeSet::from([DAY]))
    );
    assert_eq!(looked.next_final_us(), Some(final_us));
    refresh(&summary, final_us - 1).await;
    // It is not computed again for nothing, and not forgotten.
    let looked = summary.look(final_us - 1).await.unwrap().unwrap();
    assert_eq!((looked.days(), looked.next_final_us()), (&[][..], Some(final_us)));
    let before = files(&summary).await;
    assert_eq!(refresh(&summary, final_us).await, (vec![DAY], vec![]));
    assert_eq!(
        files(&summary).await,
        before,
        "nothing has changed but that it is final"
    );
    let table = summary.lake.load(&summary.ident).await.unwrap().unwrap();
    let snapshot = table
        .metadata()
        .current_snapshot()
        .unwrap()
        .summary()
        .additional_properties
        .clone();
    assert_eq!(snapshot["tapehouse.day-states"], r#"{"2024-06-03":"final"}"#);
    assert_eq!(refresh(&summary, final_us).await, (vec![], vec![]));
    // A correction comes later: at once, and final.
    market.merge(&[trade(6, "A", DAY_US)]).await;
    assert_eq!(refresh(&summary, LATER_US).await, (vec![DAY], vec![DAY]));
}

async fn verify_names_a_day_with_other_rows(kind: Kind) {
    // The files of the others are elsewhere.
    if kind != Kind::Sqlite {
        return;
    }
    let Some(mut market) = Market::new(kind).await else {
        return;
    };
    let overview = overview(&market);
    let summary = summary(&market);
    market
        .merge(&[trade(2, "A", DAY_US), trade(4, "A", DAY_US + 24 * HOUR_US)])
        .await;
    refresh(&summary, LATER_US).await;
    refresh(&overview, LATER_US).await;
    let report = verify_derived(&overview, |_, _| ()).await.unwrap().unwrap();
    assert_eq!((report.days, report.rows, report.violations), (2, 2, vec![]));
    // The next day's row in the place of the first one's: as long, so that nothing but the rows tells.
    let files = files(&overview).await;
    let path = |day: i32| files[&day].first().unwrap().trim_start_matches("file://").to_owned();
    let other = std::fs::read(path(DAY + 1)).unwrap();
    assert_eq!(other.len(), std::fs::read(path(DAY)).unwrap().len());
    std::fs::write(path(DAY), other).unwrap();
    let named = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&named);
    let report = verify_derived(&overview, move |done, of| seen.lock().unwrap().push((done, of))).await;
    let violations = report.unwrap().unwrap().violations;
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].invariant, "I5");
    assert!(
        violations[0].message.contains("2024-06-03"),
        "{}",
        violations[0].message
    );
    assert_eq!(*named.lock().unwrap(), [(1, 2), (2, 2)]);
}

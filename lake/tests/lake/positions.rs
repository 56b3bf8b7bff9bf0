//! What traders made and hold: an independent model, in plain floating point and one fill after the other, says what the tables must have.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Date32Type, Float64Type, Int64Type};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tapehouse_core::calendar::Calendar;
use tapehouse_lake::gold::positions::{Computed, MAX_DAYS, PositionTable, Positions, verify_positions};
use tapehouse_lake::{Lake, LiveRows};

use crate::market::{DAY, DAY_US, HOUR_US, Market, Trade, trade};
use crate::place::{Kind, on_each_catalog};

mod model;

use model::{Held, Made, Model};

on_each_catalog! {
    the_example_of_the_contract,
    days_without_trades_and_days_without_sessions,
    a_correction_goes_back_to_its_day_and_keeps_what_is_the_same,
}

/// Long after all days of these tests.
const LATER_US: i64 = DAY_US + 365 * 24 * HOUR_US;

fn positions(market: &Market, lake: Lake) -> Positions {
    let place = &market.rig.place;
    let mut positions = Positions::new(lake, "cluster-1");
    positions.trades = market.rig.ident.clone();
    positions.tables = ["performance", "positions", "position_state"].map(|name| place.beside(name));
    positions
}

/// A fill of T: negative sold.
fn fill(id: u32, trader: &'static str, symbol: &'static str, quantity: f64, price: f64, time_us: i64) -> Trade {
    Trade {
        symbol,
        price,
        quantity: quantity.abs(),
        side: if quantity < 0.0 { "SELL" } else { "BUY" },
        ..trade(id, trader, time_us)
    }
}

async fn next(positions: &Positions) -> Option<Computed> {
    let mut look = positions.look(LATER_US).await.unwrap()?;
    positions.compute(&mut look, MAX_DAYS, &BTreeMap::new()).await.unwrap()
}

/// Does all there is to do: the days computed, and those whose positions are other ones.
async fn refresh(positions: &Positions) -> (Vec<i32>, BTreeSet<i32>) {
    let (mut days, mut changed) = (Vec::new(), BTreeSet::new());
    let Some(mut look) = positions.look(LATER_US).await.unwrap() else {
        return (days, changed);
    };
    while let Some(computed) = positions.compute(&mut look, MAX_DAYS, &BTreeMap::new()).await.unwrap() {
        days.extend(&computed.days);
        for published in positions.commit(&computed).await.unwrap() {
            if published.table == positions.tables[PositionTable::Positions as usize] {
                changed.extend(published.changed_days);
            }
        }
    }
    (days, changed)
}

async fn files(positions: &Positions, table: PositionTable) -> BTreeMap<i32, BTreeSet<String>> {
    let table = positions
        .lake
        .load(&positions.tables[table as usize])
        .await
        .unwrap()
        .unwrap();
    let mut files: BTreeMap<i32, BTreeSet<String>> = BTreeMap::new();
    for (file, _) in positions.lake.live_files(&table).await.unwrap().data_files() {
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

/// What the tables have, by day.
async fn found(positions: &Positions) -> (BTreeMap<(i32, String), Made>, BTreeMap<(i32, String, String), Held>) {
    (made(positions).await, held(positions).await)
}

async fn made(positions: &Positions) -> BTreeMap<(i32, String), Made> {
    let (mut made, lake) = (BTreeMap::new(), &positions.lake);
    let table = lake.load(&positions.tables[0]).await.unwrap().unwrap();
    let names = [
        "trader_id",
        "trade_count",
        "realized_pnl",
        "total_volume",
        "max_drawdown",
        "win_rate",
        "sharpe_proxy",
        "avg_hold_seconds",
    ];
    for (day, _) in lake.days(&table).await.unwrap().iter() {
        let mut read = LiveRows::of_day(lake, &table, &names, *day).await.unwrap();
        while let Some((_, rows)) = read.next().await.unwrap() {
            for row in 0..rows.num_rows() {
                let double = |name: &str| {
                    let column = rows.column_by_name(name).unwrap().as_primitive::<Float64Type>();
                    column.is_valid(row).then(|| column.value(row))
                };
                let trader = rows
                    .column_by_name("trader_id")
                    .unwrap()
                    .as_string::<i32>()
                    .value(row)
                    .to_owned();
                let trades = rows
                    .column_by_name("trade_count")
                    .unwrap()
                    .as_primitive::<Int64Type>()
                    .value(row);
                let figures = [
                    "realized_pnl",
                    "total_volume",
                    "max_drawdown",
                    "win_rate",
                    "sharpe_proxy",
                    "avg_hold_seconds",
                ]
                .map(double);
                assert!(made.insert((*day, trader), Made { trades, figures }).is_none());
            }
        }
    }
    made
}

async fn held(positions: &Positions) -> BTreeMap<(i32, String, String), Held> {
    let (mut held, lake) = (BTreeMap::new(), &positions.lake);
    let table = lake.load(&positions.tables[1]).await.unwrap().unwrap();
    let names = [
        "trader_id",
        "symbol",
        "price_date",
        "net_quantity",
        "avg_entry_price",
        "current_price",
        "unrealized_pnl",
        "position_value",
    ];
    for (day, _) in lake.days(&table).await.unwrap().iter() {
        let mut read = LiveRows::of_day(lake, &table, &names, *day).await.unwrap();
        while let Some((_, rows)) = read.next().await.unwrap() {
            for row in 0..rows.num_rows() {
                let text = |name: &str| {
                    rows.column_by_name(name)
                        .unwrap()
                        .as_string::<i32>()
                        .value(row)
                        .to_owned()
                };
                let double = |name: &str| {
                    rows.column_by_name(name)
                        .unwrap()
                        .as_primitive::<Float64Type>()
                        .value(row)
                };
                let price_date = rows
                    .column_by_name("price_date")
                    .unwrap()
                    .as_primitive::<Date32Type>()
                    .value(row);
                let figures = [
                    "net_quantity",
                    "avg_entry_price",
                    "current_price",
                    "unrealized_pnl",
                    "position_value",
                ]
                .map(double);
                assert!(
                    held.insert((*day, text("trader_id"), text("symbol")), Held { price_date, figures })
                        .is_none()
                );
            }
        }
    }
    held
}

/// The tables have what the model says of the market's trades, and `verify` finds nothing.
async fn demand(market: &Market, positions: &Positions, context: &str) {
    let (made, held) = found(positions).await;
    let expected = Model::of(market.fold.values());
    model::demand_alike(&made, &expected.made, context);
    model::demand_alike(&held, &expected.held, context);
    let report = verify_positions(positions, |_, _| ()).await.unwrap().unwrap();
    assert_eq!((report.days_not_current, report.violations), (0, vec![]), "{context}");
}

async fn the_example_of_the_contract(kind: Kind) {
    let Some(mut market) = Market::new(kind).await else {
        return;
    };
    let positions = positions(&market, market.rig.lake.clone());
    assert!(
        positions.look(LATER_US).await.unwrap().is_none(),
        "no trades, no tables"
    );
    let at = |minutes: i64| DAY_US + 10 * HOUR_US + minutes * 60_000_000;
    market
        .merge(&[
            fill(3, "T", "AAPL", -150.0, 13.0, at(3)),
            fill(1, "T", "AAPL", 100.0, 10.0, at(1)),
            fill(4, "T", "AAPL", 50.0, 20.0, at(4)),
            fill(2, "T", "AAPL", 100.0, 12.0, at(2)),
            Trade {
                needs_review: true,
                ..fill(5, "T", "AAPL", 7.0, 1.0, at(5))
            },
        ])
        .await;
    assert_eq!(refresh(&positions).await, (vec![DAY], BTreeSet::from([DAY])));
    let (made, held) = found(&positions).await;
    let made = &made[&(DAY, "T".to_owned())];
    assert_eq!(made.trades, 4);
    // One closing fill: 100 bought two minutes before at 10, 50 one minute before at 12, at 11 on average.
    assert_eq!(
        made.figures,
        [Some(300.0), Some(400.0), Some(0.0), Some(1.0), None, Some(100.0)]
    );
    let held = &held[&(DAY, "T".to_owned(), "AAPL".to_owned())];
    assert_eq!(
        (held.price_date, held.figures),
        (DAY, [100.0, 15.5, 20.0, 450.0, 2000.0])
    );
    demand(&market, &positions, "the example").await;
    assert_eq!(refresh(&positions).await.0, [0; 0]);
}

async fn days_without_trades_and_days_without_sessions(kind: Kind) {
    let Some(mut market) = Market::new(kind).await else {
        return;
    };
    let positions = positions(&market, market.rig.lake.clone());
    // 2024-06-03 is a Monday; the 19th is a holiday.
    let at = |day: i64| DAY_US + day * 24 * HOUR_US + 10 * HOUR_US;
    market
        .merge(&[
            fill(1, "T", "AAPL", 10.0, 5.0, at(0)),
            fill(2, "T", "IBM", 10.0, 7.0, at(0)),
            // Saturday: rows carry its date, so it is computed. Sunday is not.
            fill(3, "T", "IBM", -10.0, 8.0, at(5)),
            fill(4, "U", "AAPL", 0.0, 6.0, at(9)),
            fill(5, "U", "AAPL", -1.0, 6.5, at(17)),
        ])
        .await;
    refresh(&positions).await;
    demand(&market, &positions, "sparse").await;
    let (_, held) = found(&positions).await;
    let days: BTreeSet<i32> = held.keys().map(|(day, ..)| day - DAY).collect();
    assert_eq!(days, BTreeSet::from([0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 14, 15, 17]));
    let of = |day: i32, symbol: &str| held.get(&(DAY + day, "T".to_owned(), symbol.to_owned()));
    assert_eq!(of(4, "IBM").unwrap().price_date, DAY);
    assert!(of(5, "IBM").is_none(), "flat");
    assert_eq!(
        (of(9, "AAPL").unwrap().price_date, of(9, "AAPL").unwrap().figures[2]),
        (DAY + 9, 6.0)
    );
    assert!(Calendar::nyse().session(DAY + 16).unwrap().is_none() && !days.contains(&16));
}

async fn a_correction_goes_back_to_its_day_and_keeps_what_is_the_same(kind: Kind) {
    let Some(mut market) = Market::new(kind).await else {
        return;
    };
    let positions = positions(&market, market.rig.lake.clone());
    let at = |day: i64| DAY_US + day * 24 * HOUR_US + 10 * HOUR_US;
    let mut trades = Vec::new();
    for day in 0..40 {
        trades.push(fill(
            10 * day + 1,
            "T",
            "AAPL",
            5.0,
            10.0 + f64::from(day),
            at(day.into()),
        ));
        // Flat at each day's end: what is corrected of one day shows on that day alone.
        trades.push(fill(10 * day + 2, "U", "IBM", 3.0, 20.0, at(day.into()) + 1));
        trades.push(fill(10 * day + 3, "U", "IBM", -3.0, 21.0, at(day.into()) + 2));
    }
    market.merge(&trades).await;
    refresh(&positions).await;
    demand(&market, &positions, "before").await;
    let kept = files(&positions, PositionTable::State).await;
    assert!((2..=3).contains(&kept.len()), "kept every 20 days: {kept:?}");
    let before = files(&positions, PositionTable::Performance).await;
    // The open day again: nothing before it is computed.
    market.merge(&[fill(394, "T", "AAPL", 1.0, 50.0, at(39) + 5)]).await;
    assert_eq!(refresh(&positions).await.0, [DAY + 39]);
    // U paid 19 on the 18th day instead of 20.
    market.merge(&[fill(182, "U", "IBM", 3.0, 19.0, at(18) + 1)]).await;
    let (days, changed) = refresh(&positions).await;
    assert_eq!(days.first(), Some(&(DAY + 18)));
    assert_eq!(changed, BTreeSet::new(), "nobody holds other positions");
    let after = files(&positions, PositionTable::Performance).await;
    for (day, file) in &before {
        assert_eq!(
            after[day] == *file,
            ![18, 39].contains(&(day - DAY)),
            "day {}",
            day - DAY
        );
    }
    demand(&market, &positions, "after a correction").await;
    // By somebody who remembers nothing, with a trade that leaves its day empty of AAPL.
    let elsewhere = super::positions::positions(&market, market.rig.other().await);
    market.merge(&[fill(211, "T", "AAPL", 5.0, 31.0, at(22))]).await;
    let (days, changed) = refresh(&elsewhere).await;
    assert_eq!(days.first(), Some(&(DAY + 21)));
    // At the end of the 22nd day it is the same again but for the order in which it was bought.
    assert!(changed.contains(&(DAY + 21)) && !changed.contains(&(DAY + 20)));
    demand(&market, &elsewhere, "elsewhere").await;
}

/// Streams of trades, corrections and moves, with a crash between any two commits, and passes by two nodes: always what the model says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_stream_with_crashes_is_its_fold() {
    for seed in 0..6_u64 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut market = Market::new(Kind::Sqlite).await.unwrap();
        let mut nodes = [
            positions(&market, market.rig.lake.clone()),
            positions(&market, market.rig.other().await),
        ];
        let mut next_id = 0;
        for step in 0..14 {
            let trades: Vec<Trade> = (0..rng.random_range(1..12))
                .map(|_| some(&mut rng, &market, &mut next_id))
                .collect();
            market.merge(&trades).await;
            let node = rng.random_range(0..2);
            if rng.random_ratio(1, 3) {
                // It dies after some of the three commits of a part of the days.
                if let Some(computed) = next(&nodes[node]).await {
                    let commits = rng.random_range(0..=3);
                    let dying = computed.first(commits);
                    nodes[node].commit(&dying).await.unwrap();
                }
                nodes[node] = positions(&market, market.rig.other().await);
                continue;
            }
            refresh(&nodes[node]).await;
            demand(&market, &nodes[node], &format!("seed {seed}, step {step}")).await;
        }
    }
}

fn some(rng: &mut SmallRng, market: &Market, next_id: &mut u32) -> Trade {
    let traders = ["T", "U", "V"];
    let symbols = ["AAPL", "IBM"];
    let id = match rng.random_ratio(1, 3) && *next_id > 0 {
        true => rng.random_range(0..*next_id),
        false => {
            *next_id += 1;
            *next_id - 1
        }
    };
    let day = rng.random_range(0..45) * 24 * HOUR_US;
    // Few instants, so that ids decide; of a correction the day often stays.
    let time_us = DAY_US + day + 10 * HOUR_US + rng.random_range(0..3) * 60_000_000;
    let before = market.fold.get(&id).filter(|_| rng.random_ratio(1, 2));
    let quantity = f64::from(rng.random_range(-6..=6));
    Trade {
        needs_review: rng.random_ratio(1, 20),
        ..fill(
            id,
            traders[rng.random_range(0..3)],
            symbols[rng.random_range(0..2)],
            quantity,
            f64::from(rng.random_range(1..200)) / 4.0,
            before.map_or(time_us, |before| before.time_us),
        )
    }
}

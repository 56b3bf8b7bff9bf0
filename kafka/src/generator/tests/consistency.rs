//! The three topics tell one story, and always the same.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::bars::{MINUTE_US, minute_start};
use super::*;

#[test]
fn the_same_seed_gives_the_same_bytes_however_it_is_cut() {
    let all = |seed: u64, cuts: &[usize]| {
        let mut generator = synthetic(GeneratorOptions::realistic(seed));
        let mut batch = GeneratedBatch::default();
        for cut in cuts {
            generator.append(Topic::Trades, *cut, NOW_US, &mut batch);
        }
        batch
            .iter()
            .map(|record| (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec)))
            .collect::<Vec<_>>()
    };
    let whole = all(5, &[5_000]);
    assert!(whole == all(5, &[1, 999, 4_000]));
    assert!(whole != all(6, &[5_000]));
}

#[test]
fn trades_do_not_depend_on_what_other_topics_are_asked_for() {
    let mut alone = synthetic(GeneratorOptions::realistic(5));
    let mut beside = synthetic(GeneratorOptions::realistic(5));
    for turn in 0..50 {
        beside.next_batch(Topic::Orderbook, turn, NOW_US);
        beside.next_batch(Topic::Marketdata, 10, NOW_US);
        let (one, two) = (
            alone.next_batch(Topic::Trades, 100, NOW_US),
            beside.next_batch(Topic::Trades, 100, NOW_US),
        );
        assert!(one.iter().eq(two.iter()));
    }
}

#[test]
fn the_market_looks_like_one() {
    let mut generator = synthetic(GeneratorOptions::default());
    let batch = decode_batch(&generator.next_batch(Topic::Trades, 200_000, NOW_US));
    let ids: HashSet<_> = strings(&batch, "trade_id").into_iter().collect();
    assert_eq!(ids.len(), 200_000);
    assert!(ids.iter().all(|id| uuid::Uuid::try_parse(id.unwrap()).is_ok()));

    let mut by_symbol: HashMap<&str, usize> = HashMap::new();
    for symbol in strings(&batch, "symbol") {
        *by_symbol.entry(symbol.unwrap()).or_default() += 1;
    }
    let mut counts: Vec<usize> = by_symbol.into_values().collect();
    counts.sort_unstable_by(|one, two| two.cmp(one));
    assert_eq!(counts.len(), 500);
    // Zipf: the tenth has 10^-1.1 of the first.
    let ratio = counts[0] as f64 / counts[9] as f64;
    assert!((11.0..=14.5).contains(&ratio), "{ratio}");

    let distinct = |column| strings(&batch, column).into_iter().collect::<HashSet<_>>().len();
    assert_eq!(
        [distinct("trader_id"), distinct("exchange"), distinct("side")],
        [200, 5, 2]
    );
    let mut quantities: Vec<f64> = doubles(&batch, "quantity").into_iter().flatten().collect();
    quantities.sort_unstable_by(f64::total_cmp);
    let (median, p84) = (quantities[100_000], quantities[168_269]);
    assert!(
        (95.0..=105.0).contains(&median) && (255.0..=290.0).contains(&p84),
        "{median} {p84}"
    );

    let (trade_us, event_us) = (times(&batch, "trade_timestamp"), times(&batch, "event_timestamp"));
    assert!(event_us.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!((event_us[0], event_us[199_999]), (START_US, START_US + 199_999_000));
    for (trade, event) in trade_us.iter().zip(&event_us) {
        assert!((0..50_000).contains(&(event - trade)) && minute_start(*trade) == minute_start(*event));
    }
}

#[test]
fn order_books_bracket_the_last_trade() {
    let mut generator = synthetic(GeneratorOptions {
        symbols: 20,
        ..GeneratorOptions::default()
    });
    let mut last_price: HashMap<String, f64> = HashMap::new();
    let mut seen_snapshots = HashSet::new();
    for _ in 0..300 {
        let trades = decode_batch(&generator.next_batch(Topic::Trades, 20, NOW_US));
        for (symbol, price) in strings(&trades, "symbol").into_iter().zip(doubles(&trades, "price")) {
            last_price.insert(symbol.unwrap().to_owned(), price.unwrap());
        }
        let books = decode_batch(&generator.next_batch(Topic::Orderbook, 10, NOW_US));
        let (bids, asks) = (levels(&books, "bids"), levels(&books, "asks"));
        for row in 0..books.num_rows() {
            let symbol = strings(&books, "symbol")[row].unwrap();
            let (bid, ask) = (
                doubles(&books, "best_bid")[row].unwrap(),
                doubles(&books, "best_ask")[row].unwrap(),
            );
            assert!(0.0 < bid && bid < ask);
            if let Some(price) = last_price.get(symbol) {
                assert!(bid <= *price && *price <= ask, "{symbol}: {bid} {price} {ask}");
            }
            assert_eq!((bids[row].len(), asks[row].len()), (5, 5));
            assert_eq!((bids[row][0].0, asks[row][0].0), (bid, ask));
            assert!(
                bids[row]
                    .windows(2)
                    .all(|pair| pair[0].0 > pair[1].0 && pair[1].0 > 0.0)
            );
            assert!(asks[row].windows(2).all(|pair| pair[0].0 < pair[1].0));
            let (snapshot, event) = (
                times(&books, "snapshot_timestamp")[row],
                times(&books, "event_timestamp")[row],
            );
            assert!((50..5_000).contains(&(event - snapshot)));
            assert!(
                seen_snapshots.insert((symbol.to_owned(), snapshot)),
                "the key is unique"
            );
        }
    }
    assert!(last_price.len() == 20 && seen_snapshots.len() == 3_000);
}

/// Symbol and start of the minute.
type Key = (String, i64);
/// Open, high, low, close, volume.
type Ohlcv = [f64; 5];

fn aggregate(trades: &RecordBatch) -> BTreeMap<Key, Ohlcv> {
    let (symbols, prices, sizes) = (
        strings(trades, "symbol"),
        doubles(trades, "price"),
        doubles(trades, "quantity"),
    );
    let (trade_us, event_us) = (times(trades, "trade_timestamp"), times(trades, "event_timestamp"));
    let mut order: Vec<usize> = (0..trades.num_rows()).collect();
    order.sort_by_key(|row| (trade_us[*row], event_us[*row]));
    let mut bars = BTreeMap::new();
    for row in order {
        let (Some(symbol), Some(price)) = (symbols[row], prices[row]) else {
            continue;
        };
        let key = (symbol.to_owned(), minute_start(trade_us[row]));
        let bar: &mut Ohlcv = bars.entry(key).or_insert([price, price, price, price, 0.0]);
        bar[1] = bar[1].max(price);
        bar[2] = bar[2].min(price);
        bar[3] = price;
        bar[4] += sizes[row].unwrap_or(0.0);
    }
    bars
}

#[test]
fn bars_aggregate_the_published_trades() {
    let nulls = GeneratorOptions {
        symbols: 50,
        null_ids: 0.01,
        null_prices: 0.01,
        null_quantities: 0.01,
        ..GeneratorOptions::default()
    };
    // The nulls are the trades' alone here, so that every bar can be compared.
    let mut generator = synthetic(nulls);
    let (mut trades, mut bars) = (GeneratedBatch::default(), GeneratedBatch::default());
    for _ in 0..2_500 {
        generator.append(Topic::Trades, 100, NOW_US, &mut trades);
        generator.append(Topic::Marketdata, 5, NOW_US, &mut bars);
    }
    let expected = aggregate(&decode_batch(&trades));
    let bars = decode_batch(&bars);
    let columns = ["open", "high", "low", "close", "volume"].map(|column| doubles(&bars, column));
    // The last version of each key wins, as in silver.
    let mut got: BTreeMap<Key, (i64, [Option<f64>; 5])> = BTreeMap::new();
    let (starts, ends) = (times(&bars, "interval_start"), times(&bars, "interval_end"));
    let event_us = times(&bars, "event_timestamp");
    for (row, symbol) in strings(&bars, "symbol").into_iter().enumerate() {
        assert_eq!(ends[row], starts[row] + MINUTE_US);
        let values = [0, 1, 2, 3, 4].map(|column: usize| columns[column][row]);
        let key = (symbol.unwrap().to_owned(), starts[row]);
        if let Some((earlier_us, _)) = got.insert(key, (event_us[row], values)) {
            assert!(earlier_us < event_us[row]);
        }
    }
    let last_minute = expected.keys().map(|(_, minute)| *minute).max().unwrap();
    let mut compared = 0;
    for (key, values) in expected.iter().filter(|((_, minute), _)| *minute < last_minute) {
        let (_, got) = got.get(key).unwrap_or_else(|| panic!("no bar for {key:?}"));
        for (column, value) in values.iter().enumerate() {
            // A bar whose volume was made null is right in all else.
            assert!(
                got[column] == Some(*value) || (column == 4 && got[4].is_none()),
                "{key:?}: {got:?} {values:?}"
            );
        }
        compared += 1;
    }
    assert!(compared >= 190, "{compared}");
}

#[test]
fn live_events_carry_the_wall_clock() {
    let mut generator = Generator::new(GeneratorOptions::default(), IDS).unwrap();
    for turn in 0..100 {
        let now_us = START_US + turn * 10_000;
        let batch = generator.next_batch(Topic::Trades, 50, now_us);
        assert!(batch.iter().all(|record| record.timestamp_ms == now_us / 1_000));
        for event_us in times(&decode_batch(&batch), "event_timestamp") {
            assert!((0..50).contains(&(event_us - now_us)));
        }
    }
}

#[test]
fn kafka_times_are_never_in_the_future() {
    let mut generator = synthetic(GeneratorOptions::default());
    let now_us = START_US + 2_000_000;
    let batch = generator.next_batch(Topic::Trades, 4_000, now_us);
    let times_ms: Vec<i64> = batch.iter().map(|record| record.timestamp_ms).collect();
    assert_eq!(
        (times_ms[0], times_ms[1_000]),
        (START_US / 1_000, START_US / 1_000 + 1_000)
    );
    assert_eq!(times_ms[3_999], now_us / 1_000);
}

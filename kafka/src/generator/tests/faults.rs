//! Faults come in the measure asked for, and are what their names say.

use std::collections::{HashMap, HashSet};

use super::*;

const DAY_US: i64 = 86_400_000_000;

#[test]
fn corrections_change_price_and_event_time_of_an_earlier_trade() {
    let mut generator = synthetic(GeneratorOptions {
        corrections: 0.1,
        ..GeneratorOptions::default()
    });
    let batch = decode_batch(&generator.next_batch(Topic::Trades, 50_000, NOW_US));
    let fixed = ["symbol", "side", "trader_id", "exchange"].map(|column| strings(&batch, column));
    let (prices, trade_us) = (doubles(&batch, "price"), times(&batch, "trade_timestamp"));
    let event_us = times(&batch, "event_timestamp");
    let mut first_row = HashMap::new();
    let mut corrections = 0;
    let mut changed = 0;
    for (row, id) in strings(&batch, "trade_id").into_iter().enumerate() {
        let earlier = *first_row.entry(id.unwrap()).or_insert(row);
        if earlier == row {
            continue;
        }
        corrections += 1;
        assert!(fixed.iter().all(|column| column[row] == column[earlier]));
        assert!(trade_us[row] == trade_us[earlier] && event_us[row] > event_us[earlier]);
        assert!(prices[row].unwrap() > 0.0);
        changed += u64::from(prices[row] != prices[earlier]);
    }
    assert_eq!(corrections, generator.stats().trades.corrections);
    assert!((4_500..=5_500).contains(&corrections), "{corrections}");
    // Two corrections of one trade may cancel each other out; hardly more than a few do.
    assert!(changed > corrections * 98 / 100, "{changed} of {corrections}");
}

#[test]
fn duplicates_are_exact() {
    let mut generator = synthetic(GeneratorOptions {
        duplicates: 0.05,
        ..GeneratorOptions::default()
    });
    for topic in Topic::ALL {
        let mut batch = GeneratedBatch::default();
        for _ in 0..1_000 {
            if topic != Topic::Trades {
                generator.advance(5, NOW_US);
            }
            generator.append(topic, 5, NOW_US, &mut batch);
        }
        let records: Vec<_> = batch.iter().map(|record| (record.key, record.value)).collect();
        let distinct: HashSet<_> = records.iter().collect();
        let duplicates = (records.len() - distinct.len()) as f64;
        let share = duplicates / records.len() as f64;
        assert!((0.03..=0.07).contains(&share), "{topic}: {share}");
    }
}

#[test]
fn nulls_come_in_measure_and_take_the_key_with_them() {
    let options = GeneratorOptions {
        null_ids: 0.01,
        null_symbols: 0.02,
        null_prices: 0.03,
        negative_prices: 0.01,
        null_quantities: 0.04,
        ..GeneratorOptions::default()
    };
    let mut generator = synthetic(options);
    let raw = generator.next_batch(Topic::Trades, 50_000, NOW_US);
    let batch = decode_batch(&raw);
    let stats = generator.stats().trades;
    for (column, counted, fraction) in [
        ("trade_id", stats.null_ids, 0.01),
        ("symbol", stats.null_symbols, 0.02),
        ("price", stats.null_prices, 0.03),
        ("quantity", stats.null_quantities, 0.04),
    ] {
        let nulls = batch.column_by_name(column).unwrap().null_count() as u64;
        assert_eq!(nulls, counted, "{column}");
        assert!(
            (nulls as f64 / 50_000.0 - fraction).abs() < fraction / 4.0,
            "{column}: {nulls}"
        );
    }
    let negative = doubles(&batch, "price")
        .into_iter()
        .flatten()
        .filter(|price| *price < 0.0)
        .count() as u64;
    assert_eq!(negative, stats.negative_prices);
    assert!((400..=600).contains(&negative), "{negative}");
    for (record, id) in raw.iter().zip(strings(&batch, "trade_id")) {
        assert_eq!(record.key, id.map(str::as_bytes));
    }
    let books = generator.next_batch(Topic::Orderbook, 5_000, NOW_US);
    for (record, symbol) in books.iter().zip(strings(&decode_batch(&books), "symbol")) {
        assert_eq!(record.key, symbol.map(str::as_bytes));
    }
    assert!((50..=150).contains(&generator.stats().orderbook.null_symbols));
}

#[test]
fn no_bad_record_can_be_decoded() {
    use BadRecordKind::*;
    for kind in [Truncated, WrongMagic, Empty, Corrupt, UnknownSchema, Tombstone] {
        let mut generator = synthetic(GeneratorOptions {
            bad_records: 1.0,
            bad_kinds: vec![kind],
            symbols: 3,
            ..GeneratorOptions::default()
        });
        for topic in [Topic::Trades, Topic::Orderbook] {
            let batch = generator.next_batch(topic, 300, NOW_US);
            assert_eq!(generator.stats().topic(topic).bad, 300);
            for record in batch.iter() {
                let Some(value) = record.value else {
                    assert_eq!(kind, Tombstone);
                    continue;
                };
                let decoded = fully_decoded(value);
                assert!(!decoded, "{kind:?} {topic} {value:?}");
            }
        }
    }
}

/// True if a value is one whole record.
fn fully_decoded(value: &[u8]) -> bool {
    let mut decoder = decoder();
    let Ok(mut used) = decoder.decode(value) else {
        return false;
    };
    if used < value.len() {
        let Ok(_) = decoder.flush() else { return false };
        match decoder.decode(&value[used..]) {
            Ok(more) => used += more,
            Err(_) => return false,
        }
    }
    used == value.len()
        && decoder
            .flush()
            .is_ok_and(|batch| batch.is_some_and(|batch| batch.num_rows() == 1))
}

#[test]
fn good_records_among_bad_ones_stay_good() {
    let mut generator = synthetic(GeneratorOptions {
        bad_records: 0.2,
        ..GeneratorOptions::default()
    });
    let batch = generator.next_batch(Topic::Trades, 5_000, NOW_US);
    let good = batch
        .iter()
        .filter(|record| record.value.is_some_and(fully_decoded))
        .count() as u64;
    assert_eq!(good + generator.stats().trades.bad, 5_000);
    assert!((900..=1_100).contains(&generator.stats().bad()));
}

#[test]
fn options_out_of_range_are_named() {
    let check = |change: fn(&mut GeneratorOptions)| {
        let mut options = GeneratorOptions::realistic(1);
        change(&mut options);
        options.check().map_err(|invalid| invalid.option)
    };
    assert_eq!(check(|_| ()), Ok(()));
    assert_eq!(check(|options| options.symbols = 0), Err("symbols"));
    assert_eq!(check(|options| options.traders = 10_000), Err("traders"));
    assert_eq!(check(|options| options.book_levels = 0), Err("book_levels"));
    assert_eq!(check(|options| options.null_ids = 1.5), Err("null_ids"));
    assert_eq!(check(|options| options.duplicates = f64::NAN), Err("duplicates"));
    assert_eq!(check(|options| options.duplicates = 0.99), Err("corrections"));
    assert_eq!(check(|options| options.bad_kinds.clear()), Err("bad_kinds"));
}

#[test]
fn with_all_remembered_late_corrections_go_to_any_trade() {
    let options = GeneratorOptions {
        corrections: 0.16,
        duplicates: 0.02,
        moves: 0.25,
        remembers_all: true,
        ..GeneratorOptions::default()
    };
    let clock = EventClock::Synthetic {
        trades_per_second: 0.05,
    };
    let start = GeneratorOptions {
        clock,
        start_us: Some(START_US),
        ..options
    };
    let mut generator = Generator::new(start.clone(), IDS).unwrap();
    let batch = decode_batch(&generator.next_batch(Topic::Trades, 150_000, NOW_US));
    let same = Generator::new(start, IDS)
        .unwrap()
        .next_batch(Topic::Trades, 150_000, NOW_US);
    assert!(decode_batch(&same) == batch);
    let ids = strings(&batch, "trade_id");
    let (trade_us, event_us) = (times(&batch, "trade_timestamp"), times(&batch, "event_timestamp"));
    assert_eq!((event_us[149_999] - START_US) / DAY_US, 34);
    // The number and the latest event of each trade, and its own time.
    let mut known: HashMap<&str, (usize, i64, i64)> = HashMap::new();
    let (mut late, mut moved, mut stale, mut ages) = (0, 0, 0, Vec::new());
    for row in 0..150_000 {
        let (id, trades) = (ids[row].unwrap(), known.len());
        let Some((number, latest_us, of_us)) = known.get_mut(id) else {
            known.insert(id, (trades, event_us[row], trade_us[row]));
            continue;
        };
        if event_us[row] <= *latest_us {
            stale += usize::from(event_us[row] < *latest_us);
            continue;
        }
        if trades - *number > 20_000 {
            late += 1;
            ages.push(*number as f64 / trades as f64);
        }
        moved += u64::from(trade_us[row] / DAY_US != *of_us / DAY_US);
        assert!((START_US - 50_000..=event_us[row]).contains(&trade_us[row]));
        (*latest_us, *of_us) = (event_us[row], trade_us[row]);
    }
    let stats = generator.stats().trades;
    // Uniform: of those far back as many in the first third of what is far back as in the last.
    let early = ages.iter().filter(|age| **age < 0.25).count() as f64 / ages.len() as f64;
    assert!((0.3..0.5).contains(&early), "{early} of {} {stats:?}", ages.len());
    let share = f64::from(late) / stats.corrections as f64;
    assert!((0.05..0.09).contains(&share), "{share}");
    assert!(
        stats.moved.abs_diff(moved) <= 3 && moved > stats.corrections / 5,
        "{moved} {stats:?}"
    );
    assert!(stale > 20, "a re-send may be older than what is known: {stale}");
}

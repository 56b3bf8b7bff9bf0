//! Faults come in the measure asked for, and are what their names say.

use std::collections::{HashMap, HashSet};

use super::*;

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

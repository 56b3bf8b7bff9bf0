//! Random rows, most of them with something wrong: cleaning is what the reference says, in whatever batches the rows come.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::rows::{Level, Value, bar, book, trade};
use super::*;

const ROWS: usize = 6_000;

/// One of these in most rows, else none.
fn sometimes<T: Clone>(rng: &mut StdRng, of_100: u32, values: &[T]) -> Option<Option<T>> {
    if rng.random_range(0..100) >= of_100 {
        return None;
    }
    let place = rng.random_range(0..=values.len());
    Some(values.get(place).cloned())
}

fn change<T: Clone>(rng: &mut StdRng, row: Row, name: &str, of_100: u32, values: &[T], of: fn(T) -> Value) -> Row {
    match sometimes(rng, of_100, values) {
        None => row,
        Some(None) => row.null(name),
        Some(Some(value)) => row.with(name, of(value)),
    }
}

fn levels(rng: &mut StdRng) -> Value {
    let numbers = [0.0, 10.004, 10.125, 99.999, 1e12];
    let mut number = |odd: f64| match rng.random_range(0..40) {
        0 => None,
        1 => Some(odd),
        _ => numbers.choose(rng).copied(),
    };
    let mut levels: Vec<Level> = vec![Some((number(f64::NAN), number(-1.0)))];
    levels.push(Some((number(-2.0), number(f64::INFINITY))));
    levels.truncate(rng.random_range(0..=2));
    if rng.random_range(0..10) == 0 {
        levels.insert(0, None);
    }
    Value::Levels(levels)
}

fn random_row(table: SilverTable, rng: &mut StdRng, offset: i64) -> Row {
    let mut row = match table {
        SilverTable::Trades => trade(),
        SilverTable::OrderbookSnapshots => book(),
        SilverTable::MarketData => bar(),
    };
    row = row.with("kafka_offset", Value::Long(offset));
    for name in ["topic_incarnation", "kafka_partition", "kafka_offset"] {
        row = change::<i32>(rng, row, name, 1, &[], Value::Int);
    }
    row = change(rng, row, "decode_error", 2, &["tombstone".to_owned()], Value::Text);
    // Within 2023 to 2026, so that the reference's summers reach; the first day's begin and midnights of both seasons among them.
    let edges = [
        1_704_085_200_000_000,
        1_741_579_200_000_000,
        1_762_146_000_000_000,
        1_767_625_200_000_000,
    ];
    let time_us = edges.choose(rng).unwrap() + [-1, 0, 1, 40_000_000_000].choose(rng).unwrap();
    row = row.time(table.timestamp_column(), time_us);
    let records = [0, 5, -86_400_000_000, -86_400_000_001].map(|later| time_us + later);
    row = row.time("kafka_timestamp", time_us + 5);
    row = change(rng, row, "kafka_timestamp", 20, &records, Value::Time);
    let events = [0, -9, 300_000_000, 300_000_001].map(|later| time_us + later);
    row = row.time("event_timestamp", time_us + 1);
    row = change(rng, row, "event_timestamp", 40, &events, Value::Time);
    row = change::<i64>(rng, row, table.timestamp_column(), 2, &[], Value::Time);
    for name in ["trade_id", "exchange", "trader_id", "interval_end"] {
        if row.0.contains_key(name) {
            row = change::<i64>(rng, row, name, 3, &[], Value::Time);
        }
    }
    let symbols = ["", " ", "msft", " BRK.b ", "Ünder", "A"].map(str::to_owned);
    row = change(rng, row, "symbol", 30, &symbols, Value::Text);
    if table == SilverTable::Trades {
        let ids = ["", "T1", "T2", "T3"].map(str::to_owned);
        row = change(rng, row, "trade_id", 60, &ids, Value::Text);
        let sides = ["BUY", "SELL", " sell", "Buy", "", "HOLD"].map(str::to_owned);
        row = change(rng, row, "side", 30, &sides, Value::Text);
    }
    if table == SilverTable::OrderbookSnapshots {
        row = row.with("bids", levels(rng)).with("asks", levels(rng));
        for name in ["bids", "asks"] {
            row = change::<i64>(rng, row, name, 5, &[], Value::Time);
        }
    }
    let names: Vec<String> = row.0.keys().cloned().collect();
    for name in names {
        if matches!(row.0[&name], Value::Double(_)) {
            let values = [
                f64::NAN,
                f64::NEG_INFINITY,
                -0.001,
                0.0,
                9.5,
                11.995,
                12.0,
                10.125,
                150.02,
                150.025,
                1e300,
            ];
            let odd = [3, 12][usize::from(rng.random_range(0..4) == 0)];
            row = change(rng, row, &name, odd, &values, Value::Double);
        }
    }
    row
}

/// Checks a batch against the reference; says how many rows stay.
fn check(table: SilverTable, rows: &[Row], cleaned: &Cleaned) -> usize {
    let mut kept = Vec::new();
    let mut quarantined = Vec::new();
    let mut counts = Counts {
        input: rows.len() as u64,
        ..Counts::default()
    };
    for (place, row) in rows.iter().enumerate() {
        match reference::judge(table, row) {
            Outcome::Dropped(rule) => *counts.dropped.entry(rule).or_default() += 1,
            Outcome::Quarantined(rule) => {
                *counts.quarantined.entry(rule).or_default() += 1;
                quarantined.push((place, rule));
            }
            Outcome::Kept(silver) => {
                let defaults: &[&str] = match table {
                    SilverTable::Trades => &["price", "quantity"],
                    SilverTable::OrderbookSnapshots => &[],
                    SilverTable::MarketData => &["volume"],
                };
                for name in defaults.iter().filter(|name| row.get_double(name).is_none()) {
                    *counts.defaulted.entry(name).or_default() += 1;
                }
                kept.push(silver);
            }
        }
    }
    let found: Vec<_> = cleaned
        .quarantined
        .iter()
        .map(|found| (found.row, found.rule))
        .collect();
    assert_eq!(found, quarantined);
    assert_eq!(cleaned.counts, counts);
    assert_eq!(rows_of(&cleaned.rows), kept);
    let keys: Vec<KeyHash> = kept.iter().map(|row| reference::key(table, row)).collect();
    assert_eq!(cleaned.keys, keys);
    let order = |row: &Row| Order {
        event_us: row.get_time("event_timestamp").unwrap_or(i64::MIN),
        incarnation: 0,
        partition: 3,
        offset: match row.0["kafka_offset"] {
            Value::Long(offset) => offset,
            ref other => panic!("{other:?}"),
        },
    };
    assert_eq!(cleaned.orders, kept.iter().map(order).collect::<Vec<_>>());
    kept.len()
}

#[test]
fn cleaning_is_what_the_reference_says_in_whatever_batches() {
    for (table, seed) in SilverTable::ALL.into_iter().zip(51..) {
        let mut rng = StdRng::seed_from_u64(seed);
        let rows: Vec<Row> = (0..ROWS as i64)
            .map(|offset| random_row(table, &mut rng, offset))
            .collect();
        let bronze = batch(table, &rows);
        let whole = clean(table, &Rules::default(), &Waivers::none(), &bronze).unwrap();
        let kept = check(table, &rows, &whole);
        assert!((ROWS / 4..ROWS * 4 / 5).contains(&kept), "{table:?}: {kept}");
        let mut sum = Counts::default();
        let (mut start, mut rows_kept) = (0, 0);
        while start < ROWS {
            let length = rng.random_range(0..200).min(ROWS - start);
            let part = clean(table, &Rules::default(), &Waivers::none(), &bronze.slice(start, length)).unwrap();
            check(table, &rows[start..start + length], &part);
            assert_eq!(part.rows, whole.rows.slice(rows_kept, part.rows.num_rows()));
            rows_kept += part.rows.num_rows();
            sum.add(&part.counts);
            start += length;
        }
        assert_eq!((rows_kept, &sum), (kept, &whole.counts));
        for (place, row) in rows.iter().take(500).enumerate() {
            let alone = clean(table, &Rules::default(), &Waivers::none(), &bronze.slice(place, 1)).unwrap();
            check(table, std::slice::from_ref(row), &alone);
        }
    }
}

/// Every rule is met, so that the comparison above says something of each.
#[test]
fn random_rows_meet_every_rule() {
    let met = |table: SilverTable| {
        let mut rng = StdRng::seed_from_u64(7);
        let rows: Vec<Row> = (0..ROWS as i64)
            .map(|offset| random_row(table, &mut rng, offset))
            .collect();
        let counts = clean(table, &Rules::default(), &Waivers::none(), &batch(table, &rows))
            .unwrap()
            .counts;
        let rules = counts.dropped.keys().chain(counts.quarantined.keys());
        let mut rules: Vec<&str> = rules.copied().collect();
        rules.sort_unstable();
        rules
    };
    let shared = [
        "after_record",
        "before_first_date",
        "foreign",
        "negative",
        "not_finite",
        "null_timestamp",
        "undecodable",
    ];
    let expect = |own: &[&'static str]| {
        let mut rules = [&shared, own].concat();
        rules.sort_unstable();
        rules
    };
    assert_eq!(met(SilverTable::Trades), expect(&["null_key", "unknown_side"]));
    assert_eq!(
        met(SilverTable::OrderbookSnapshots),
        expect(&["null_symbol", "stale", "crossed_book"])
    );
    assert_eq!(
        met(SilverTable::MarketData),
        expect(&["null_symbol", "null_price", "inconsistent_bar"])
    );
}

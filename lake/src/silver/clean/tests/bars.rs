//! Rules of market data.

use super::rows::{NOON_DATE, NOON_US, Value, bar};
use super::*;

const TABLE: SilverTable = SilverTable::MarketData;

fn quarantined(row: &Row, rule: &'static str) {
    assert_eq!(outcome(TABLE, row), Outcome::Quarantined(rule), "{row:?}");
}

#[test]
fn a_sound_bar_stays_as_it_is() {
    let expected = bar()
        .null("kafka_timestamp")
        .with("market_date", Value::Date(NOON_DATE));
    assert_eq!(kept(TABLE, &bar()), expected);
    // One price for all of them is a bar.
    let flat = bar().double("open", 9.0).double("high", 9.0).double("close", 9.0);
    assert!(matches!(outcome(TABLE, &flat), Outcome::Kept(_)));
}

#[test]
fn null_volume_is_0_and_counted() {
    let cleaned = clean(
        TABLE,
        &Rules::default(),
        &Waivers::none(),
        &batch(TABLE, &[bar().null("volume"), bar()]),
    )
    .unwrap();
    assert_eq!(cleaned.counts.defaulted, [("volume", 1)].into());
    assert_eq!(rows_of(&cleaned.rows)[0].get_double("volume"), Some(0.0));
}

#[test]
fn high_below_low_is_quarantined() {
    quarantined(&bar().double("high", 8.0), "inconsistent_bar");
    assert_eq!(
        reason(TABLE, &bar().double("high", 8.0)),
        "open 10 and close 11 are not within low 9 and high 8"
    );
}

#[test]
fn open_and_close_lie_within_low_and_high() {
    for name in ["open", "close"] {
        for outside in [8.99, 12.01] {
            quarantined(&bar().double(name, outside), "inconsistent_bar");
        }
        for edge in [9.0, 12.0] {
            assert!(matches!(outcome(TABLE, &bar().double(name, edge)), Outcome::Kept(_)));
        }
    }
}

#[test]
fn a_bar_has_all_four_prices_and_a_symbol() {
    for name in ["open", "high", "low", "close"] {
        quarantined(&bar().null(name), "null_price");
        assert_eq!(reason(TABLE, &bar().null(name)), format!("{name} is null"));
    }
    quarantined(&bar().null("symbol"), "null_symbol");
    quarantined(&bar().text("symbol", " "), "null_symbol");
    assert_eq!(
        kept(TABLE, &bar().text("symbol", "aapl ")).get_text("symbol"),
        Some("aapl ")
    );
}

#[test]
fn numbers_of_bars_are_finite_and_not_negative() {
    for name in ["open", "high", "low", "close", "volume"] {
        quarantined(&bar().double(name, f64::NAN), "not_finite");
        quarantined(&bar().double(name, -1.0), "negative");
    }
}

#[test]
fn a_bar_s_time_is_its_begin() {
    quarantined(&bar().null("interval_start"), "null_timestamp");
    quarantined(&bar().time("interval_start", 0), "before_first_date");
    quarantined(&bar().time("kafka_timestamp", NOON_US - 86_400_000_001), "after_record");
    assert!(matches!(
        outcome(TABLE, &bar().null("interval_end").null("event_timestamp")),
        Outcome::Kept(_)
    ));
}

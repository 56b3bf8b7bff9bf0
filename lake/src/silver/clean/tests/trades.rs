//! Rules of trades, and those that all tables share.

use super::rows::{NOON_DATE, NOON_US, Value, trade};
use super::*;

const TABLE: SilverTable = SilverTable::Trades;
const DAY_US: i64 = 86_400_000_000;
/// 2024-01-01 in New York begins.
const FIRST_US: i64 = 1_704_085_200_000_000;

fn dropped(row: &Row, rule: &'static str) {
    assert_eq!(outcome(TABLE, row), Outcome::Dropped(rule));
}

fn quarantined(row: &Row, rule: &'static str) {
    assert_eq!(outcome(TABLE, row), Outcome::Quarantined(rule));
}

#[test]
fn a_sound_trade_stays_as_it_is() {
    let expected = trade()
        .null("kafka_timestamp")
        .with("trade_date", Value::Date(NOON_DATE))
        .with("needs_review", Value::Bool(false));
    assert_eq!(kept(TABLE, &trade()), expected);
}

#[test]
fn a_trade_without_an_id_is_dropped_and_counted() {
    let rows = [trade(), trade().null("trade_id"), trade().text("trade_id", "")];
    let cleaned = clean(TABLE, &Rules::default(), &Waivers::none(), &batch(TABLE, &rows)).unwrap();
    assert_eq!(cleaned.rows.num_rows(), 1);
    let counts = Counts {
        input: 3,
        dropped: [("null_key", 2)].into(),
        ..Counts::default()
    };
    assert_eq!(cleaned.counts, counts);
    // An id is not trimmed: what names a trade is its owner's affair.
    assert_eq!(
        kept(TABLE, &trade().text("trade_id", " ")).get_text("trade_id"),
        Some(" ")
    );
}

#[test]
fn symbols_are_trimmed_and_in_upper_case() {
    for (received, symbol) in [
        (" aapl\t", "AAPL"),
        ("brk.b", "BRK.B"),
        ("MSFT", "MSFT"),
        ("straße", "STRASSE"),
    ] {
        let kept = kept(TABLE, &trade().text("symbol", received));
        assert_eq!(kept.get_text("symbol"), Some(symbol));
        assert_eq!(kept.0["needs_review"], Value::Bool(false));
    }
}

#[test]
fn a_trade_without_symbol_or_price_needs_review() {
    for blank in [
        trade().null("symbol"),
        trade().text("symbol", ""),
        trade().text("symbol", "  "),
    ] {
        let kept = kept(TABLE, &blank);
        assert_eq!(
            (kept.get_text("symbol"), kept.get_text("review_reason")),
            (None, Some("null_symbol"))
        );
        assert_eq!(kept.0["needs_review"], Value::Bool(true));
    }
    let priceless = kept(TABLE, &trade().null("price"));
    assert_eq!(
        (priceless.get_double("price"), priceless.get_text("review_reason")),
        (Some(0.0), Some("null_price"))
    );
    assert_eq!(priceless.0["needs_review"], Value::Bool(true));
    let neither = kept(TABLE, &trade().null("price").null("symbol"));
    assert_eq!(neither.get_text("review_reason"), Some("null_price, null_symbol"));
    // A price of 0 is one.
    assert_eq!(
        kept(TABLE, &trade().double("price", 0.0)).0["needs_review"],
        Value::Bool(false)
    );
}

#[test]
fn nulls_that_became_0_are_counted_where_the_row_stays() {
    let rows = [
        trade().null("quantity"),
        trade().null("quantity").null("price"),
        trade().null("quantity").null("trade_id"),
        trade().null("price").text("side", "HOLD"),
        trade(),
    ];
    let cleaned = clean(TABLE, &Rules::default(), &Waivers::none(), &batch(TABLE, &rows)).unwrap();
    assert_eq!(cleaned.counts.defaulted, [("quantity", 2), ("price", 1)].into());
    assert_eq!(rows_of(&cleaned.rows)[0].get_double("quantity"), Some(0.0));
}

#[test]
fn sides_are_buy_and_sell_in_any_case() {
    for (received, side) in [("SELL", "SELL"), ("buy", "BUY"), (" Sell ", "SELL")] {
        assert_eq!(
            kept(TABLE, &trade().text("side", received)).get_text("side"),
            Some(side)
        );
    }
    for unknown in ["HOLD", "", "BUYS", "B"] {
        quarantined(&trade().text("side", unknown), "unknown_side");
    }
    quarantined(&trade().null("side"), "unknown_side");
    assert_eq!(reason(TABLE, &trade().null("side")), "side is null");
    let long = format!("HO\nLD{}", "x".repeat(100));
    assert_eq!(
        reason(TABLE, &trade().text("side", &long)),
        format!("side is `HO LD{}`", "x".repeat(35))
    );
}

#[test]
fn a_trade_s_own_time_is_there_not_too_early_and_not_after_its_record() {
    quarantined(&trade().null("trade_timestamp"), "null_timestamp");
    let at = |time_us: i64| {
        trade()
            .time("trade_timestamp", time_us)
            .time("kafka_timestamp", FIRST_US)
    };
    quarantined(&at(FIRST_US - 1), "before_first_date");
    assert_eq!(kept(TABLE, &at(FIRST_US)).0["trade_date"], Value::Date(19_723));
    assert_eq!(
        reason(TABLE, &at(FIRST_US - 1)),
        "trade_timestamp 2024-01-01 04:59:59.999999 UTC is before the first date of the table"
    );
    assert_eq!(kept(TABLE, &at(FIRST_US + DAY_US)).0["trade_date"], Value::Date(19_724));
    quarantined(&at(FIRST_US + DAY_US + 1), "after_record");
    quarantined(&at(i64::MAX), "after_record");
    quarantined(&at(i64::MIN), "before_first_date");
    // Where the record has no time, nothing is compared, least of all with the clock.
    assert!(matches!(
        outcome(TABLE, &at(NOON_US * 2).null("kafka_timestamp")),
        Outcome::Kept(_)
    ));
}

#[test]
fn the_date_is_new_york_s() {
    // 2025-03-09, of 23 hours: it begins at 5 and the day after at 4 o'clock UTC.
    let date = |time_us: i64| kept(TABLE, &trade().time("trade_timestamp", time_us)).0["trade_date"].clone();
    assert_eq!(date(1_741_496_400_000_000 - 1), Value::Date(20_155));
    assert_eq!(date(1_741_496_400_000_000), Value::Date(20_156));
    assert_eq!(date(1_741_579_200_000_000 - 1), Value::Date(20_156));
    assert_eq!(date(1_741_579_200_000_000), Value::Date(20_157));
}

#[test]
fn numbers_are_finite_and_not_negative() {
    for name in ["price", "quantity"] {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            quarantined(&trade().double(name, value), "not_finite");
        }
        quarantined(&trade().double(name, -0.01), "negative");
    }
    assert_eq!(reason(TABLE, &trade().double("price", f64::NAN)), "price is NaN");
    assert_eq!(reason(TABLE, &trade().double("quantity", -5.0)), "quantity is -5");
    // The rule that is asked first decides.
    quarantined(
        &trade().double("price", -1.0).double("quantity", f64::NAN),
        "not_finite",
    );
}

#[test]
fn rows_of_nobody_and_undecodable_ones_are_not_consumed() {
    for name in ["topic_incarnation", "kafka_partition", "kafka_offset"] {
        dropped(&trade().null(name).text("decode_error", "tombstone"), "foreign");
    }
    dropped(
        &trade().null("trade_id").text("decode_error", "tombstone"),
        "undecodable",
    );
}

#[test]
fn the_first_rule_that_holds_decides() {
    let mut row = trade()
        .null("trade_id")
        .null("trade_timestamp")
        .double("price", -1.0)
        .double("quantity", f64::NAN)
        .null("side")
        .null("symbol");
    dropped(&row, "null_key");
    row = row.text("trade_id", "T001");
    quarantined(&row, "null_timestamp");
    row = row.time("trade_timestamp", 0);
    quarantined(&row, "before_first_date");
    row = row.time("trade_timestamp", NOON_US);
    quarantined(&row, "not_finite");
    row = row.double("quantity", 1.0);
    quarantined(&row, "negative");
    row = row.double("price", 1.0);
    quarantined(&row, "unknown_side");
    row = row.text("side", "SELL");
    assert_eq!(kept(TABLE, &row).get_text("review_reason"), Some("null_symbol"));
}

#[test]
fn keys_and_orders_are_those_of_the_rows_that_stay() {
    let rows = [
        trade().null("trade_id"),
        trade().text("trade_id", "T002").null("event_timestamp"),
        trade().text("side", "?"),
        trade(),
    ];
    let cleaned = clean(TABLE, &Rules::default(), &Waivers::none(), &batch(TABLE, &rows)).unwrap();
    assert_eq!(cleaned.keys, [KeyHash::of(b"T002"), KeyHash::of(b"T001")]);
    let order = |event_us| Order {
        event_us,
        incarnation: 0,
        partition: 3,
        offset: 77,
    };
    assert_eq!(cleaned.orders, [order(i64::MIN), order(NOON_US + 1)]);
    assert_eq!(
        cleaned.quarantined.iter().map(|found| found.row).collect::<Vec<_>>(),
        [2]
    );
}

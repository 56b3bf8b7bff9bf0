//! Rules of order books.

use super::rows::{NOON_DATE, NOON_US, Value, book};
use super::*;

const TABLE: SilverTable = SilverTable::OrderbookSnapshots;

fn quoted(bid: f64, ask: f64) -> Row {
    book().double("best_bid", bid).double("best_ask", ask)
}

#[test]
fn a_sound_book_stays_as_it_is() {
    let expected = book()
        .null("kafka_timestamp")
        .double("spread", 0.02)
        .with("snapshot_date", Value::Date(NOON_DATE));
    assert_eq!(kept(TABLE, &book()), expected);
}

#[test]
fn crossed_and_locked_books_are_dropped_after_rounding() {
    for (bid, ask) in [
        (10.02, 10.01),
        (10.0, 10.0),
        (10.001, 10.004),
        (10.006, 10.01),
        (0.0, 0.0),
    ] {
        assert_eq!(
            outcome(TABLE, &quoted(bid, ask)),
            Outcome::Dropped("crossed_book"),
            "{bid} {ask}"
        );
    }
    // Crossed as received, and not by a whole cent: the same book.
    assert_eq!(
        outcome(TABLE, &quoted(10.004, 10.001)),
        Outcome::Dropped("crossed_book")
    );
    let kept = kept(TABLE, &quoted(10.004, 10.006));
    assert_eq!(
        (kept.get_double("best_bid"), kept.get_double("best_ask")),
        (Some(10.0), Some(10.01))
    );
    assert_eq!(kept.get_double("spread"), Some(0.01));
}

#[test]
fn prices_of_levels_are_rounded_and_sizes_are_not() {
    let received = vec![
        Some((Some(10.006), Some(1.005))),
        None,
        Some((None, None)),
        Some((Some(0.125), Some(7.0))),
    ];
    let rounded = vec![
        Some((Some(10.01), Some(1.005))),
        None,
        Some((None, None)),
        Some((Some(0.12), Some(7.0))),
    ];
    let kept = kept(
        TABLE,
        &book()
            .with("bids", Value::Levels(received))
            .with("asks", Value::Levels(vec![])),
    );
    assert_eq!(kept.0["bids"], Value::Levels(rounded));
    assert_eq!(kept.0["asks"], Value::Levels(vec![]));
}

#[test]
fn decimals_are_as_the_rules_say() {
    let rules = Rules {
        price_decimals: 3,
        ..Rules::default()
    };
    let cleaned = clean(
        TABLE,
        &rules,
        &Waivers::none(),
        &batch(TABLE, &[quoted(10.0014, 10.0038)]),
    )
    .unwrap();
    let kept = rows_of(&cleaned.rows).remove(0);
    assert_eq!(
        (kept.get_double("best_bid"), kept.get_double("best_ask")),
        (Some(10.001), Some(10.004))
    );
    assert_eq!(kept.get_double("spread"), Some(0.003));
}

#[test]
fn a_book_of_one_side_or_none_stays() {
    let one_sided = kept(TABLE, &book().null("best_bid").null("bid_size").null("bids"));
    assert_eq!(
        (one_sided.get_double("best_ask"), one_sided.get_double("spread")),
        (Some(150.03), None)
    );
    assert_eq!(one_sided.get_levels("bids"), None);
    assert_eq!(
        kept(TABLE, &book().null("best_bid").null("best_ask")).get_double("spread"),
        None
    );
}

#[test]
fn a_book_without_a_symbol_is_dropped() {
    for row in [book().null("symbol"), book().text("symbol", " ")] {
        assert_eq!(
            outcome(TABLE, &row.double("best_bid", -1.0)),
            Outcome::Dropped("null_symbol")
        );
    }
    assert_eq!(
        kept(TABLE, &book().text("symbol", "aapl")).get_text("symbol"),
        Some("aapl")
    );
}

#[test]
fn a_stale_book_is_dropped() {
    let aged = |age_us: i64| book().time("event_timestamp", NOON_US + age_us);
    assert_eq!(outcome(TABLE, &aged(300_000_001)), Outcome::Dropped("stale"));
    assert!(matches!(outcome(TABLE, &aged(300_000_000)), Outcome::Kept(_)));
    assert!(matches!(outcome(TABLE, &aged(-300_000_001)), Outcome::Kept(_)));
    assert!(matches!(
        outcome(TABLE, &book().null("event_timestamp")),
        Outcome::Kept(_)
    ));
    assert_eq!(
        outcome(TABLE, &aged(400_000_000).double("best_bid", 151.0)),
        Outcome::Dropped("stale")
    );
}

#[test]
fn numbers_of_books_and_levels_are_finite_and_not_negative() {
    for name in ["best_bid", "best_ask", "bid_size", "ask_size"] {
        assert_eq!(
            outcome(TABLE, &book().double(name, f64::NAN)),
            Outcome::Quarantined("not_finite")
        );
        assert_eq!(
            outcome(TABLE, &book().double(name, -1.0)),
            Outcome::Quarantined("negative")
        );
    }
    for name in ["bids", "asks"] {
        let with = |price, size| book().with(name, Value::Levels(vec![None, Some((Some(price), Some(size)))]));
        assert_eq!(
            outcome(TABLE, &with(f64::INFINITY, 1.0)),
            Outcome::Quarantined("not_finite")
        );
        assert_eq!(outcome(TABLE, &with(1.0, -0.5)), Outcome::Quarantined("negative"));
        assert_eq!(
            reason(TABLE, &with(1.0, -0.5)),
            format!("size of level 2 of {name} is -0.5")
        );
        // A number of a level, too, is looked at before what is crossed is dropped.
        let crossed = with(1.0, -0.5).double("best_bid", 151.0);
        assert_eq!(outcome(TABLE, &crossed), Outcome::Quarantined("negative"));
    }
}

#[test]
fn a_book_s_time_is_that_of_its_snapshot() {
    assert_eq!(
        outcome(TABLE, &book().null("snapshot_timestamp")),
        Outcome::Quarantined("null_timestamp")
    );
    assert_eq!(
        outcome(TABLE, &book().time("snapshot_timestamp", 0)),
        Outcome::Quarantined("before_first_date")
    );
    let ahead = book().time("kafka_timestamp", NOON_US - 86_400_000_001);
    assert_eq!(outcome(TABLE, &ahead), Outcome::Quarantined("after_record"));
}

#[test]
fn the_key_is_symbol_and_snapshot() {
    let rows = [
        book(),
        book().text("symbol", "A"),
        book().time("event_timestamp", NOON_US + 9),
    ];
    let cleaned = clean(TABLE, &Rules::default(), &Waivers::none(), &batch(TABLE, &rows)).unwrap();
    let key = |symbol: &str| KeyHash::of_text_at(symbol, NOON_US, &mut Vec::new());
    assert_eq!(cleaned.keys, [key("AAPL"), key("A"), key("AAPL")]);
    assert!(cleaned.orders[2] > cleaned.orders[0]);
}

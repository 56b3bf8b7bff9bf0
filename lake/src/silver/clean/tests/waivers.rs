//! Rules that were waived for a record.

use super::rows::{NOON_US, Value, bar, book, trade};
use super::*;

const DAY_US: i64 = 86_400_000_000;

/// What becomes of the row although `rule` is waived for it; of a kept one `None`.
fn despite(table: SilverTable, rule: &str, row: &Row) -> Option<&'static str> {
    let row = row
        .clone()
        .with("topic_incarnation", Value::Int(1))
        .with("kafka_partition", Value::Int(2))
        .with("kafka_offset", Value::Long(3));
    let cleaned = |coordinates| {
        let waivers = Waivers::new([(coordinates, rule.to_owned())], 1);
        clean(
            table,
            &Rules::default(),
            &waivers,
            &batch(table, std::slice::from_ref(&row)),
        )
        .unwrap()
    };
    // Of another record it says nothing.
    assert_eq!(cleaned((1, 2, 4)).quarantined.len(), 1, "{rule}");
    cleaned((1, 2, 3)).quarantined.first().map(|found| found.rule)
}

#[test]
fn a_row_is_kept_as_it_was_received() {
    let trades = SilverTable::Trades;
    assert_eq!(despite(trades, "negative", &trade().double("price", -1.5)), None);
    assert_eq!(despite(trades, "unknown_side", &trade().text("side", " Hold ")), None);
    let ahead = trade().time("kafka_timestamp", NOON_US - 2 * DAY_US);
    assert_eq!(despite(trades, "after_record", &ahead), None);
    let book = book().double("bid_size", -1.0);
    assert_eq!(despite(SilverTable::OrderbookSnapshots, "negative", &book), None);
    let bar = bar().double("high", 8.0);
    assert_eq!(despite(SilverTable::MarketData, "inconsistent_bar", &bar), None);
    let hold = trade().text("side", " Hold ").with("kafka_offset", Value::Long(3));
    let bronze = batch(
        trades,
        &[
            hold.clone(),
            trade().text("side", "sell"),
            hold.with("kafka_offset", Value::Long(4)),
        ],
    );
    let Value::Int(incarnation) = trade().0["topic_incarnation"] else {
        panic!()
    };
    let Value::Int(partition) = trade().0["kafka_partition"] else {
        panic!()
    };
    let waivers = Waivers::new([((incarnation, partition, 3), "unknown_side".to_owned())], 1);
    let cleaned = clean(trades, &Rules::default(), &waivers, &bronze).unwrap();
    let sides: Vec<_> = rows_of(&cleaned.rows)
        .iter()
        .map(|row| row.get_text("side").map(str::to_owned))
        .collect();
    assert_eq!(sides, [Some(" Hold ".to_owned()), Some("SELL".to_owned())]);
    assert_eq!(cleaned.counts.quarantined, [("unknown_side", 1)].into());
}

#[test]
fn every_other_rule_holds_and_some_cannot_be_waived() {
    let table = SilverTable::Trades;
    let both = trade().double("price", -1.5).text("side", "hold");
    assert_eq!(despite(table, "negative", &both), Some("unknown_side"));
    for (rule, row) in [
        ("null_timestamp", trade().null("trade_timestamp")),
        ("before_first_date", trade().time("trade_timestamp", 0)),
        ("not_finite", trade().double("price", f64::NAN)),
        ("unknown_side", trade().null("side")),
        ("after_record", trade().time("trade_timestamp", i64::MAX)),
    ] {
        assert_eq!(despite(table, rule, &row), Some(rule));
    }
    assert_eq!(
        despite(SilverTable::MarketData, "null_price", &bar().null("open")),
        Some("null_price")
    );
}

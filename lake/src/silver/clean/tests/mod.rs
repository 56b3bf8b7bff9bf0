//! Every rule by example, and the whole against a slow reference.

mod bars;
mod books;
mod property;
mod reference;
mod rows;
mod trades;
mod types;
mod waivers;

use super::*;
use rows::{Row, batch, rows_of};

/// What became of a row, as a test says it.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Kept(Row),
    Dropped(&'static str),
    Quarantined(&'static str),
}

/// Cleans one row by the default rules; of a kept one says the row, and checks that the counts add up.
fn outcome(table: SilverTable, row: &Row) -> Outcome {
    let cleaned = clean(
        table,
        &Rules::default(),
        &Waivers::none(),
        &batch(table, std::slice::from_ref(row)),
    )
    .unwrap();
    let lost: u64 = cleaned
        .counts
        .dropped
        .values()
        .chain(cleaned.counts.quarantined.values())
        .sum();
    assert_eq!(cleaned.counts.input, 1);
    assert_eq!(cleaned.rows.num_rows() as u64 + lost, 1);
    if let Some(quarantined) = cleaned.quarantined.first() {
        return Outcome::Quarantined(quarantined.rule);
    }
    match cleaned.counts.dropped.keys().next() {
        Some(rule) => Outcome::Dropped(rule),
        None => Outcome::Kept(rows_of(&cleaned.rows).remove(0)),
    }
}

/// The kept row.
fn kept(table: SilverTable, row: &Row) -> Row {
    match outcome(table, row) {
        Outcome::Kept(row) => row,
        other => panic!("{other:?}"),
    }
}

/// Why a row was set aside.
fn reason(table: SilverTable, row: &Row) -> String {
    let cleaned = clean(
        table,
        &Rules::default(),
        &Waivers::none(),
        &batch(table, std::slice::from_ref(row)),
    )
    .unwrap();
    cleaned.quarantined[0].reason.clone()
}

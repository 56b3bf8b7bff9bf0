//! What becomes of each row of a batch. Rules are asked one after another over all rows; the first that holds for a row decides.

use std::collections::BTreeMap;

use arrow_array::{ArrayRef, BooleanArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::ArrowError;
use arrow_select::filter::FilterBuilder;

use super::waivers::Waived;
use super::{Counts, Quarantined};

pub(super) struct Verdicts {
    /// Whether no rule has held so far.
    kept: Vec<bool>,
    lost: usize,
    pub(super) counts: Counts,
    quarantined: Vec<Quarantined>,
    waived: Waived,
}

impl Verdicts {
    pub(super) fn new(rows: usize, waived: Waived) -> Self {
        Self {
            kept: vec![true; rows],
            lost: 0,
            counts: Counts {
                input: rows as u64,
                ..Counts::default()
            },
            quarantined: Vec::new(),
            waived,
        }
    }

    /// Drops the rows of which the rule holds.
    pub(super) fn drop_where(&mut self, rule: &'static str, holds: impl Fn(usize) -> bool) {
        let mut count = 0;
        for (row, kept) in self.kept.iter_mut().enumerate() {
            if *kept && holds(row) {
                *kept = false;
                count += 1;
            }
        }
        self.lost += count;
        add(&mut self.counts.dropped, rule, count);
    }

    /// Sets aside the rows of which the rule holds, whatever was decided: of which no valid row would be left.
    pub(super) fn quarantine_always(
        &mut self,
        rule: &'static str,
        holds: impl Fn(usize) -> bool,
        reason: impl Fn(usize) -> String,
    ) {
        self.set_aside(rule, |_, row| holds(row).then_some(row), reason);
    }

    /// Sets aside the rows of which the rule holds, unless it is waived for them.
    pub(super) fn quarantine_where(
        &mut self,
        rule: &'static str,
        holds: impl Fn(usize) -> bool,
        reason: impl Fn(usize) -> String,
    ) {
        self.quarantine_found(rule, |row| holds(row).then_some(row), reason);
    }

    /// Sets aside the rows in which the rule finds something, unless it is waived for them; `reason` says what.
    pub(super) fn quarantine_found<F>(
        &mut self,
        rule: &'static str,
        find: impl Fn(usize) -> Option<F>,
        reason: impl Fn(F) -> String,
    ) {
        self.set_aside(rule, |waived, row| find(row).filter(|_| !waived.of(row, rule)), reason);
    }

    fn set_aside<F>(
        &mut self,
        rule: &'static str,
        find: impl Fn(&Waived, usize) -> Option<F>,
        reason: impl Fn(F) -> String,
    ) {
        let before = self.quarantined.len();
        for (row, kept) in self.kept.iter_mut().enumerate().filter(|(_, kept)| **kept) {
            if let Some(found) = find(&self.waived, row) {
                *kept = false;
                let reason = reason(found);
                self.quarantined.push(Quarantined { row, rule, reason });
            }
        }
        let count = self.quarantined.len() - before;
        self.lost += count;
        add(&mut self.counts.quarantined, rule, count);
    }

    /// How many of `nulls` are in rows that are kept.
    pub(super) fn count_kept(&self, nulls: Option<&NullBuffer>) -> u64 {
        let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) else {
            return 0;
        };
        let kept = self.kept.iter().zip(nulls);
        kept.filter(|(kept, is_valid)| **kept && !is_valid).count() as u64
    }

    /// Of columns as long as the batch the rows that are kept.
    pub(super) fn select(&self, columns: Vec<ArrayRef>) -> Result<Vec<ArrayRef>, ArrowError> {
        if self.lost == 0 {
            return Ok(columns);
        }
        let mask = BooleanArray::new(BooleanBuffer::from(self.kept.as_slice()), None);
        let filter = FilterBuilder::new(&mask).optimize().build();
        columns.iter().map(|column| filter.filter(column)).collect()
    }

    /// The counts, and what was set aside, in order of rows.
    pub(super) fn into_outcome(mut self) -> (Counts, Vec<Quarantined>) {
        self.quarantined.sort_unstable_by_key(|quarantined| quarantined.row);
        (self.counts, self.quarantined)
    }
}

fn add(counts: &mut BTreeMap<&'static str, u64>, rule: &'static str, count: usize) {
    if count > 0 {
        *counts.entry(rule).or_default() += count as u64;
    }
}

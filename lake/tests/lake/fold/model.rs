//! What silver must be, computed in the plainest way from records and decisions. It asks nothing of the code under test.

use std::collections::{BTreeMap, HashSet};

use crate::raw_trades::{DATE, NOON_US, Record};

pub const DAY_US: i64 = 86_400_000_000;

/// Key, partition, offset, price, side, day and event time.
pub type Row = (String, i32, i64, String, String, i32, Option<i64>);

/// The record is never a row.
const NO_KEY: &str = "null_key";

#[derive(Default)]
pub struct Model {
    pub records: Vec<Record>,
    /// Replayed: partition, offset and the rule that is waived.
    pub replayed: HashSet<(i32, i64, String)>,
    /// Decisions made, drops included.
    pub decisions: u64,
}

impl Model {
    /// The rule that keeps the record out of silver.
    fn out(&self, record: &Record) -> Option<&'static str> {
        let waived = |rule: &str| {
            self.replayed
                .contains(&(record.partition, record.offset, rule.to_owned()))
        };
        let price = record.price.unwrap();
        if record.id.is_none() {
            Some(NO_KEY)
        } else if price.is_nan() {
            Some("not_finite")
        } else if price < 0.0 && !waived("negative") {
            Some("negative")
        } else if record.side.is_none() || (record.side == Some("short") && !waived("unknown_side")) {
            Some("unknown_side")
        } else {
            None
        }
    }

    fn is_replayed(&self, record: &Record) -> bool {
        let mut all = self.replayed.iter();
        all.any(|(partition, offset, _)| (*partition, *offset) == (record.partition, record.offset))
    }

    /// The table when it has merged all below `next` and applied all decisions: of each key the last writer.
    pub fn fold(&self, next: &BTreeMap<i32, i64>) -> Vec<Row> {
        let mut last: BTreeMap<&str, &Record> = BTreeMap::new();
        for record in &self.records {
            let is_below = record.offset < *next.get(&record.partition).unwrap_or(&0);
            // A decision brings its record in even where its range was recorded and not yet merged.
            if !(is_below || self.is_replayed(record)) || self.out(record).is_some() {
                continue;
            }
            let key = record.id.as_deref().unwrap();
            let order = |record: &Record| (record.event_us, record.partition, record.offset);
            if last.get(key).is_none_or(|known| order(known) < order(record)) {
                last.insert(key, record);
            }
        }
        let row = |(key, record): (&str, &Record)| {
            (
                key.to_owned(),
                record.partition,
                record.offset,
                record.price.unwrap().to_string(),
                match record.side.unwrap() {
                    "buy" => "BUY".to_owned(),
                    other => other.to_owned(),
                },
                DATE - ((NOON_US - record.trade_us) / DAY_US) as i32,
                record.event_us,
            )
        };
        last.into_iter().map(row).collect()
    }

    /// What is set aside once all is merged and decided: partition, offset, rule.
    pub fn aside(&self) -> Vec<(i32, i64, String)> {
        let out = |record: &Record| Some((record.partition, record.offset, self.out(record)?.to_owned()));
        let mut aside: Vec<_> = self.records.iter().filter_map(out).collect();
        aside.retain(|(_, _, rule)| rule != NO_KEY);
        aside.sort();
        aside
    }
}

//! `ops.quarantine` under crashes, other cuts, decisions and rebuilds: each row is in it once, and what is decided comes to the same.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_core::quarantine::{Outcome, RecordRequest};
use tapehouse_lake::Lake;
use tapehouse_lake::commit::CommitOutcome;
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::silver::clean::{Coordinates, Waivers};
use tapehouse_lake::silver::quarantine::{
    Entry, NewDecision, NotRecorded, Quarantine, RecordId, RecordRows, Standing, Verdict, begin_generation, decide,
    decisions, record, standings,
};
use uuid::Uuid;

use crate::place::{Kind, Place};
use crate::support::{python, run_readers};

const TABLE: SilverTable = SilverTable::Trades;
const PARTITIONS: i32 = 2;

/// The rules that hold for a record, in the order in which they are asked. Most have none.
fn rules((_, partition, offset): Coordinates) -> &'static [&'static str] {
    match (offset * 7 + i64::from(partition)) % 11 {
        0 => &["negative"],
        1 => &["negative", "unknown_side"],
        2 => &["not_finite"],
        _ => &[],
    }
}

/// The rule that sets the record aside.
fn judged(record: Coordinates, waivers: &Waivers) -> Option<&'static str> {
    rules(record).iter().copied().find(|rule| !waivers.waives(record, rule))
}

/// Silver as it would be, with what its state records.
#[derive(Clone, Default)]
struct Silver {
    rows: BTreeSet<Coordinates>,
    next: BTreeMap<i32, i64>,
    decisions: u64,
    generation: u64,
}

struct World {
    lake: Lake,
    rng: StdRng,
    silver: Silver,
    /// Records of each partition in bronze.
    bronze: i64,
}

impl World {
    fn entry(record: Coordinates, rule: &str, after_decision: Option<u64>) -> Entry {
        Entry {
            id: RecordId {
                table: TABLE,
                coordinates: record,
            },
            bronze_table: "bronze.raw_trades".to_owned(),
            rule: rule.to_owned(),
            rule_version: 1,
            reason: format!("{rule} holds"),
            row_json: r#"{"price":"NaN"}"#.to_owned(),
            after_decision,
        }
    }

    async fn record(&self, known: u64, of: Outcome, entries: Vec<Entry>) -> CommitOutcome<NotRecorded> {
        let rows = RecordRows {
            commit_id: Uuid::new_v4(),
            owner: "cluster-1".to_owned(),
            table: TABLE,
            request: RecordRequest {
                generation: self.silver.generation,
                known,
                of,
            },
            entries,
        };
        record(&self.lake, &rows).await.unwrap()
    }

    /// Merges a chunk, cut anywhere, knowing all decisions or those of a moment ago; may end before silver's own commit.
    async fn chunk(&mut self, waivers: &Waivers) {
        let (mut next, mut rows, mut entries) = (self.silver.clone(), Vec::new(), Vec::new());
        let mut ranges = Ranges::default();
        for partition in 0..PARTITIONS {
            let start = *self.silver.next.get(&partition).unwrap_or(&0);
            let end = (start + self.rng.random_range(0..30)).min(self.bronze);
            if start < end {
                ranges.0.insert(partition, OffsetRange::new(start, end));
                next.next.insert(partition, end);
                rows.extend((start..end).map(|offset| (0, partition, offset)));
            }
        }
        for row in rows {
            match judged(row, waivers) {
                Some(rule) => entries.push(Self::entry(row, rule, None)),
                None => {
                    next.rows.insert(row);
                }
            }
        }
        let outcome = self
            .record(waivers.known(), Outcome::Ranges([(0, ranges)].into()), entries)
            .await;
        if matches!(outcome, CommitOutcome::Done(NotRecorded::Outdated { .. })) {
            return;
        }
        self.end(next);
    }

    /// Applies what is decided; may end before silver's own commit.
    async fn apply(&mut self) {
        let Some(quarantine) = Quarantine::load(&self.lake).await.unwrap() else {
            return;
        };
        let all = quarantine.decisions(&self.lake, TABLE).await.unwrap();
        let mut next = self.silver.clone();
        let mut outcomes = BTreeMap::new();
        for decision in all
            .all
            .iter()
            .filter(|decision| decision.number >= self.silver.decisions)
        {
            next.decisions = decision.number + 1;
            if decision.verdict == Verdict::Replay {
                outcomes.insert(decision.id.coordinates, decision.number);
            }
        }
        let mut entries = Vec::new();
        for (record, number) in outcomes {
            match judged(record, &all.waivers) {
                Some(rule) => entries.push(Self::entry(record, rule, Some(number))),
                None => {
                    next.rows.insert(record);
                }
            }
        }
        self.record(all.waivers.known(), Outcome::Decisions(next.decisions), entries)
            .await;
        self.end(next);
    }

    fn end(&mut self, next: Silver) {
        if self.rng.random_bool(0.7) {
            self.silver = next;
        }
    }

    /// Decides about some of the open rows.
    async fn decide(&mut self) {
        let Some(quarantine) = Quarantine::load(&self.lake).await.unwrap() else {
            return;
        };
        let entries = quarantine
            .entries(&self.lake, Some(TABLE), true, |_| true)
            .await
            .unwrap();
        let known = quarantine.decisions(&self.lake, TABLE).await.unwrap();
        let state = quarantine.of(TABLE).unwrap();
        let standings = standings(&entries, &known.all);
        let open = entries.into_iter().zip(standings);
        let open = open.filter(|(entry, standing)| *standing == Standing::Open && entry.rule != "not_finite");
        let chosen: Vec<Entry> = open
            .map(|(entry, _)| entry)
            .filter(|_| self.rng.random_bool(0.2))
            .collect();
        let new = NewDecision {
            owner: "cluster-1".to_owned(),
            table: TABLE,
            known: state.decisions,
            generation: state.generation,
            verdict: if self.rng.random_bool(0.7) {
                Verdict::Replay
            } else {
                Verdict::Drop
            },
            entries: chosen,
            decided_at_us: 0,
            decided_by: "test".to_owned(),
            note: None,
        };
        if new.entries.is_empty() {
            return;
        }
        assert!(decide(&self.lake, &new).await.unwrap().is_ok());
        // The same, decided on what was known before.
        assert!(decide(&self.lake, &new).await.unwrap().is_err());
    }

    /// Everything to its end, then what must be.
    async fn settle(&mut self) {
        while (0..PARTITIONS).any(|partition| self.silver.next.get(&partition) != Some(&self.bronze)) {
            let waivers = decisions(&self.lake, TABLE).await.unwrap();
            self.chunk(&waivers).await;
        }
        let known = decisions(&self.lake, TABLE).await.unwrap();
        while self.silver.decisions < known.known() {
            self.apply().await;
        }
        let quarantine = Quarantine::load(&self.lake).await.unwrap().unwrap();
        let found = quarantine.entries(&self.lake, None, false, |_| true).await.unwrap();
        let (mut rows, mut aside) = (BTreeSet::new(), BTreeSet::new());
        for record in (0..PARTITIONS).flat_map(|partition| (0..self.bronze).map(move |offset| (0, partition, offset))) {
            match judged(record, &known) {
                Some(rule) => aside.insert((record, rule.to_owned())),
                None => rows.insert(record),
            };
        }
        assert_eq!(self.silver.rows, rows);
        let all: Vec<(Coordinates, String)> = found
            .into_iter()
            .map(|entry| (entry.id.coordinates, entry.rule))
            .collect();
        let distinct: BTreeSet<_> = all.iter().cloned().collect();
        assert_eq!(distinct.len(), all.len(), "each once");
        let held: BTreeSet<_> = distinct
            .into_iter()
            .filter(|(record, rule)| !known.waives(*record, rule))
            .collect();
        assert_eq!(held, aside);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_cut_killed_decided_or_rebuilt_each_row_is_recorded_once() {
    let place = Place::new(Kind::Sqlite).await.unwrap();
    let lake = Lake::open(place.settings.clone()).await.unwrap();
    let mut world = World {
        lake,
        rng: StdRng::seed_from_u64(11),
        silver: Silver::default(),
        bronze: 0,
    };
    for round in 0..60 {
        world.bronze += world.rng.random_range(0..15);
        let waivers = decisions(&world.lake, TABLE).await.unwrap();
        if world.rng.random_bool(0.4) {
            world.decide().await;
        }
        world.chunk(&waivers).await;
        if world.rng.random_bool(0.4) {
            world.apply().await;
        }
        if round % 20 == 19 {
            world.settle().await;
            world.silver = Silver {
                generation: world.silver.generation + 1,
                ..Silver::default()
            };
            // The command says so at once, or ended before it did: then the first merge does.
            if world.rng.random_bool(0.5) {
                begin_generation(&world.lake, "cluster-1", TABLE, world.silver.generation)
                    .await
                    .unwrap();
            }
        }
    }
    world.settle().await;
    let known = decisions(&world.lake, TABLE).await.unwrap().known();
    assert!(known > 20, "{known} decisions");
    let Some(python) = python() else { return };
    let settings = &place.settings;
    let read = run_readers(
        &python,
        &[
            "read_quarantine",
            &settings.catalog.uri,
            &settings.warehouse,
            "ops.quarantine",
        ],
    );
    let quarantine = Quarantine::load(&world.lake).await.unwrap().unwrap();
    let rows = quarantine
        .entries(&world.lake, None, false, |_| true)
        .await
        .unwrap()
        .len();
    for engine in ["pyiceberg", "duckdb"] {
        assert_eq!(
            read[engine],
            serde_json::json!({"row": rows, "decision": known}),
            "{engine}: {read}"
        );
    }
    assert_ne!(read, Value::Null);
}

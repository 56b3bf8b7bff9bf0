//! Bronze, silver and the quarantine, and what may happen to them.

mod checks;
mod deciding;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use arrow_array::RecordBatch;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tapehouse_core::merge::{MergeRequest, MergeState};
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_core::quarantine::{Outcome, RecordRequest};
use tapehouse_lake::commit::{CommitOutcome, Reset};
use tapehouse_lake::index::IndexSettings;
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::silver::clean::{Cleaned, RULES_VERSION, Rules, Waivers, clean};
use tapehouse_lake::silver::merge::{KeyedRows, KeyedTable, Merger};
use tapehouse_lake::silver::quarantine::{
    Entry, NotRecorded, RecordRows, begin_generation, decisions, entries_of, record,
};
use tapehouse_lake::silver::source::BronzeRows;
use tapehouse_lake::{Lake, TableName};
use uuid::Uuid;

use super::Seen;
use super::model::{DAY_US, Model};
use crate::place::{Kind, Place};
use crate::raw_trades::{self, NOON_US, Record};
use crate::silver_merge::compactions::Compactions;

const TABLE: SilverTable = SilverTable::Trades;
const PARTITIONS: i32 = 2;
const OWNER: &str = "cluster-1";

pub struct World {
    place: Place,
    lake: Lake,
    bronze: TableName,
    index: tempfile::TempDir,
    merger: Option<Merger>,
    compactions: Compactions,
    model: Model,
    next: BTreeMap<i32, i64>,
    /// Decisions as some moments ago: merging may not have heard of the newest.
    known: Waivers,
    seed: u64,
    pub rng: StdRng,
    pub step: usize,
    pub seen: Seen,
}

impl World {
    pub async fn new(seed: u64) -> Self {
        let place = Place::new(Kind::Sqlite).await.unwrap();
        let lake = Lake::open(place.settings.clone()).await.unwrap();
        let bronze = raw_trades::create(&lake).await;
        let mut world = Self {
            place,
            lake,
            bronze,
            index: tempfile::tempdir().unwrap(),
            merger: None,
            compactions: Compactions::default(),
            model: Model::default(),
            next: (0..PARTITIONS).map(|partition| (partition, 0)).collect(),
            known: Waivers::none(),
            seed,
            rng: StdRng::seed_from_u64(seed),
            step: 0,
            seen: Seen::default(),
        };
        world.open().await;
        world
    }

    async fn open(&mut self) {
        self.merger = None;
        self.compactions.pending = None;
        self.lake = Lake::open(self.place.settings.clone()).await.unwrap();
        let state = MergeState::new(OWNER, self.bronze.to_string(), RULES_VERSION);
        let index = IndexSettings {
            // Few, so that keys are found in runs too.
            entries_in_memory: 20,
            shards: 2,
            ..IndexSettings::new(self.index.path().join("trades"))
        };
        let merger = Merger::open(&self.lake, &KeyedTable::of(TABLE), &state, index).await;
        self.merger = Some(merger.unwrap());
    }

    fn merger(&self) -> &Merger {
        self.merger.as_ref().unwrap()
    }

    /// Silver's cursor.
    fn cursor(&self) -> BTreeMap<i32, i64> {
        let next = self.merger().state().next.get(&0).cloned().unwrap_or_default();
        (0..PARTITIONS).map(|at| (at, *next.get(&at).unwrap_or(&0))).collect()
    }

    fn record(&mut self, partition: i32, offset: i64) -> Record {
        if self.rng.random_bool(0.15) && !self.model.records.is_empty() {
            // Sent again.
            let again = self.rng.random_range(0..self.model.records.len());
            let again = self.model.records[again].clone();
            return Record {
                partition,
                offset,
                ..again
            };
        }
        Record {
            partition,
            offset,
            id: (!self.rng.random_bool(0.04)).then(|| format!("T{}", self.rng.random_range(0..40))),
            price: Some(match self.rng.random_range(0..20) {
                0 => f64::NAN,
                1..4 => -1.5,
                _ => f64::from(self.rng.random_range(1..1000)) / 4.0,
            }),
            side: match self.rng.random_range(0..20) {
                0 => None,
                1..4 => Some("short"),
                _ => Some("buy"),
            },
            trade_us: NOON_US - self.rng.random_range(0..3) * DAY_US,
            event_us: (!self.rng.random_bool(0.05)).then(|| NOON_US + self.rng.random_range(0..12)),
        }
    }

    /// Bronze commits.
    pub async fn ingest(&mut self) {
        let (mut records, mut ranges) = (Vec::new(), Vec::new());
        for partition in 0..PARTITIONS {
            let start = self.next[&partition];
            let mut end = start;
            for _ in 0..self.rng.random_range(1..25) {
                // Some offsets are control records.
                end += self.rng.random_range(1..3);
                let record = self.record(partition, end - 1);
                records.push(record.clone());
                self.model.records.push(record);
            }
            self.next.insert(partition, end);
            ranges.push((partition, start, end));
        }
        raw_trades::append(&self.lake, &self.bronze, &records, &ranges).await;
    }

    /// Rows of bronze, cut anywhere, in any order of the cuts.
    async fn read(&mut self, ranges: Ranges) -> Vec<RecordBatch> {
        let bronze = self.lake.load(&self.bronze).await.unwrap().unwrap();
        let wanted = [(0, ranges)].into();
        let mut rows = BronzeRows::of(&self.lake, &bronze, TABLE.source_columns(), wanted)
            .await
            .unwrap();
        let mut batches = Vec::new();
        while let Some(batch) = rows.next().await.unwrap() {
            let cut = self.rng.random_range(0..=batch.num_rows());
            batches.push(batch.slice(cut, batch.num_rows() - cut));
            batches.push(batch.slice(0, cut));
        }
        batches
    }

    /// Records rows set aside, before silver's own commit; whether merging may go on.
    async fn record_aside(&mut self, known: u64, of: Outcome, entries: Vec<Entry>) -> bool {
        let rows = RecordRows {
            commit_id: Uuid::new_v4(),
            owner: OWNER.to_owned(),
            table: TABLE,
            request: RecordRequest {
                generation: self.merger().state().generation,
                known,
                of,
            },
            entries,
        };
        match record(&self.lake, &rows).await.unwrap() {
            CommitOutcome::Committed(_) | CommitOutcome::Done(NotRecorded::Nothing) => true,
            CommitOutcome::Done(NotRecorded::Outdated { .. }) => {
                self.seen.count("outdated");
                false
            }
            CommitOutcome::Done(other) => panic!("{other:?}"),
        }
    }

    /// Cleans, records what is set aside and merges; may end on the way. Whether silver has it.
    async fn merge(
        &mut self,
        bronze: Vec<RecordBatch>,
        waivers: &Waivers,
        ranges: Ranges,
        decided: Range<u64>,
        after: &HashMap<(i32, i32, i64), u64>,
    ) -> bool {
        let (mut cleaned, mut entries): (Vec<Cleaned>, Vec<Entry>) = Default::default();
        for rows in bronze {
            let of_rows = clean(TABLE, &Rules::default(), waivers, &rows).unwrap();
            let about = |record| after.get(&record).copied();
            entries.extend(entries_of(TABLE, "bronze.raw_trades", &rows, &of_rows.quarantined, about).unwrap());
            cleaned.push(of_rows);
        }
        let of = match decided.is_empty() {
            true => Outcome::Ranges([(0, ranges.clone())].into()),
            false => Outcome::Decisions(decided.end),
        };
        if !self.record_aside(waivers.known(), of, entries).await {
            return false;
        }
        let end = self.rng.random_range(0..10);
        if end == 0 {
            self.seen.count("crash before silver");
            self.open().await;
            return false;
        }
        let merger = self.merger.as_mut().unwrap();
        let rows: Vec<KeyedRows<'_>> = cleaned
            .iter()
            .map(|cleaned| KeyedRows {
                rows: &cleaned.rows,
                keys: &cleaned.keys,
                orders: &cleaned.orders,
            })
            .collect();
        let plan = merger.plan(&rows).unwrap();
        let encoded = merger.encode(&plan, &rows).unwrap();
        let request = MergeRequest {
            owner: OWNER.to_owned(),
            source: self.bronze.to_string(),
            rules: RULES_VERSION,
            ranges: if decided.is_empty() {
                [(0, ranges)].into()
            } else {
                BTreeMap::new()
            },
            decisions: decided,
        };
        let staged = merger.stage(plan, encoded, request, BTreeMap::new()).await.unwrap();
        let committed = merger.commit(&staged).await.unwrap();
        match committed {
            Some(committed) if end > 1 => merger.follow(&staged, &committed).unwrap(),
            Some(_) => {
                self.seen.count("crash after silver");
                self.open().await;
            }
            None => {
                self.open().await;
                return false;
            }
        }
        true
    }

    async fn merge_ranges(&mut self, waivers: &Waivers, ranges: Ranges) -> bool {
        let rows = self.read(ranges.clone()).await;
        self.merge(rows, waivers, ranges, 0..0, &HashMap::new()).await
    }

    /// The next chunk, cut anywhere, by decisions of now or of a while ago.
    pub async fn merge_some(&mut self) {
        if self.rng.random_bool(0.6) {
            self.known = decisions(&self.lake, TABLE).await.unwrap();
        }
        let mut ranges = Ranges::default();
        for (partition, start) in self.cursor() {
            let end = (start + self.rng.random_range(0..40)).min(self.next[&partition]);
            if start < end {
                ranges.0.insert(partition, OffsetRange::new(start, end));
            }
        }
        if !ranges.0.is_empty() {
            self.seen.count("chunk");
            self.merge_ranges(&self.known.clone(), ranges).await;
        }
    }

    /// Ranges that are merged already: nothing comes of them.
    pub async fn replay_merged(&mut self) {
        let mut ranges = Ranges::default();
        for (partition, end) in self.cursor() {
            if end > 0 {
                let start = self.rng.random_range(0..end);
                ranges.0.insert(partition, OffsetRange::new(start, end));
            }
        }
        if !ranges.0.is_empty() {
            self.seen.count("replayed range");
            let waivers = decisions(&self.lake, TABLE).await.unwrap();
            assert!(!self.merge_ranges(&waivers, ranges).await, "merged twice");
        }
    }

    pub async fn restart(&mut self) {
        self.merger = None;
        if self.rng.random_bool(0.5) {
            self.seen.count("index lost");
            std::fs::remove_dir_all(self.index.path().join("trades")).unwrap();
        }
        self.open().await;
    }

    /// Compacts between merges, as a turn comes.
    pub async fn compact(&mut self) {
        let before = (self.compactions.committed, self.compactions.with_late_deletes);
        self.compactions.turn(self.merger.as_mut().unwrap(), self.step).await;
        if self.compactions.committed > before.0 {
            self.seen.count("compacted");
        }
        if self.compactions.with_late_deletes > before.1 {
            self.seen.count("late deletes");
        }
    }

    pub async fn maybe_rebuild(&mut self) {
        if self.rng.random_bool(0.5) {
            return;
        }
        let reset = Reset {
            owner: OWNER.to_owned(),
            source: self.bronze.to_string(),
            rules: RULES_VERSION,
            reason: "test".to_owned(),
        };
        let silver = TABLE.name().parse().unwrap();
        self.lake.reset_merged(&silver, &reset).await.unwrap();
        self.open().await;
        // The command says so at once, or ended before it did: then the first merge does.
        if self.rng.random_bool(0.5) {
            let generation = self.merger().state().generation;
            begin_generation(&self.lake, OWNER, TABLE, generation).await.unwrap();
        }
        self.seen.count("rebuilt");
    }
}

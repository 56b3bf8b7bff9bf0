//! How far each silver table is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tapehouse_core::freshness::{DelayQuantiles, ProducedAt};

use crate::progress::TopicState;

/// Progress of one silver table.
#[derive(Clone, Debug, Default)]
pub struct SilverProgress {
    /// The table.
    pub table: String,
    /// The bronze table that it is made from.
    pub source: String,
    /// Whether it is derived from another silver table, a day at a time, and not merged from bronze: then of `rows` all are 0 but those
    /// written.
    pub is_derived: bool,
    /// What the merge is doing.
    pub state: TopicState,
    /// Rows by what became of them, over this process.
    pub rows: SilverRows,
    /// Commits of this process.
    pub commits: u64,
    /// Live rows of the table.
    pub table_rows: u64,
    /// Time of the last commit, milliseconds since 1970-01-01 UTC.
    pub last_commit_ms: Option<i64>,
    /// Produce to visible, over this process.
    pub freshness: DelayQuantiles,
}

/// What became of rows of bronze: input = written + deduplicated + dropped + quarantined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SilverRows {
    /// Rows read from bronze.
    pub input: u64,
    /// Written: new keys, and later events of known ones.
    pub written: u64,
    /// Lost to a later event of their key.
    pub deduplicated: u64,
    /// Dropped by rule.
    pub dropped: u64,
    /// Kept out of the table by rule.
    pub quarantined: u64,
}

impl SilverRows {
    fn add(&mut self, other: &Self) {
        self.input += other.input;
        self.written += other.written;
        self.deduplicated += other.deduplicated;
        self.dropped += other.dropped;
        self.quarantined += other.quarantined;
    }
}

/// Shared between the actor and whoever asks.
#[derive(Clone, Debug)]
pub(crate) struct SilverCell(Arc<Mutex<SilverProgress>>);

impl SilverCell {
    pub(crate) fn new(table: &str, source: &str) -> Self {
        Self(Arc::new(Mutex::new(SilverProgress {
            table: table.to_owned(),
            source: source.to_owned(),
            ..SilverProgress::default()
        })))
    }

    /// The cell of a table that is derived from another silver table.
    pub(crate) fn derived_from(table: &str, source: &str) -> Self {
        let cell = Self::new(table, source);
        cell.lock().is_derived = true;
        cell
    }

    fn lock(&self) -> MutexGuard<'_, SilverProgress> {
        // Every update is a plain assignment, so that a panic between two of them leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn snapshot(&self) -> SilverProgress {
        self.lock().clone()
    }

    pub(crate) fn set_state(&self, state: TopicState) {
        self.lock().state = state;
    }

    pub(crate) fn set_table_rows(&self, rows: u64) {
        self.lock().table_rows = rows;
    }

    /// Counts a commit; of a derived table nothing was `produced`.
    pub(crate) fn committed(&self, rows: &SilverRows, at_ms: i64, produced: &ProducedAt) {
        let mut progress = self.lock();
        progress.rows.add(rows);
        progress.commits += 1;
        progress.last_commit_ms = Some(at_ms);
        for (delay_ms, records) in produced.delays_ms(at_ms) {
            progress.freshness.add(delay_ms, records);
        }
    }
}

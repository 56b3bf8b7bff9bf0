//! One shard of an index: the keys whose hash falls to it. Shards know nothing of each other, so that cores share no state.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::{Path, PathBuf};

use super::merge::merge;
use super::run::{Found, Run, Wanted};
use super::run_file::EXTENSION;
use super::writer::RunWriter;
use super::{Entry, IndexError, KeyHash, Location, Order};

/// More runs than this are merged into one, whatever their sizes.
const MOST_RUNS: usize = 48;
/// While nothing can be written, so many times the entries that would be are kept in memory.
const MOST_OVERDUE: usize = 8;

/// How a shard is kept.
#[derive(Clone, Debug)]
pub(super) struct ShardSettings {
    pub(super) folder: PathBuf,
    /// Which one it is: its files are named after it.
    pub(super) number: usize,
    /// Entries in memory before they are written as a run.
    pub(super) entries_in_memory: usize,
    /// So many runs of one size become one.
    pub(super) fan_in: usize,
    pub(super) filter_bits_per_key: usize,
}

impl ShardSettings {
    pub(super) fn path(&self, run: u64) -> PathBuf {
        self.folder.join(format!("{:03}-{run:08}.{EXTENSION}", self.number))
    }
}

/// Hashes are uniform already.
#[derive(Default)]
struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, value: u128) {
        // The low half chose the shard.
        self.0 = (value >> 64) as u64;
    }
}

/// A shard.
pub(super) struct Shard {
    settings: ShardSettings,
    recent: HashMap<KeyHash, (Order, Location), BuildHasherDefault<Unhashed>>,
    /// Newest first.
    runs: Vec<Run>,
    next_run: u64,
    is_behind: bool,
}

impl Shard {
    /// A shard of `runs`, newest first, whose files have numbers below `next_run`.
    pub(super) fn new(settings: ShardSettings, runs: Vec<Run>, next_run: u64) -> Self {
        Self {
            settings,
            recent: HashMap::default(),
            runs,
            next_run,
            is_behind: false,
        }
    }

    /// What is known of the keys in `open`; of keys that are not known, nothing.
    pub(super) fn lookup(&self, mut open: Vec<Wanted>) -> Result<Found, IndexError> {
        self.check()?;
        let mut found = Found::new();
        open.retain(|&Wanted { key, place }| match self.recent.get(&key) {
            Some(&(order, location)) => {
                found.push((place, Entry { key, order, location }));
                false
            }
            None => true,
        });
        // Keys in order walk through filters and blocks in order.
        open.sort_unstable_by_key(|wanted| wanted.key);
        for run in &self.runs {
            run.lookup(&mut open, &mut found)?;
        }
        Ok(found)
    }

    /// Takes the entries in, of which each replaces what was known of its key, and writes a run when there are many.
    ///
    /// After an error the entries are known all the same, but for [`IndexError::Behind`].
    pub(super) fn record(&mut self, entries: Vec<Entry>) -> Result<(), IndexError> {
        self.check()?;
        let limit = self.settings.entries_in_memory.max(1);
        if self.recent.len() / MOST_OVERDUE >= limit
            && let Err(error) = self.flush()
        {
            self.is_behind = true;
            tracing::error!(folder = %self.settings.folder.display(), %error, "a key index that cannot be written is given up");
            return Err(IndexError::Behind);
        }
        self.recent.reserve(entries.len());
        for entry in entries {
            self.recent.insert(entry.key, (entry.order, entry.location));
        }
        match self.recent.len() >= limit {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn check(&self) -> Result<(), IndexError> {
        match self.is_behind {
            true => Err(IndexError::Behind),
            false => Ok(()),
        }
    }

    /// Writes what is in memory as a run. After an error it still is in memory.
    fn flush(&mut self) -> Result<(), IndexError> {
        let entry = |(&key, &(order, location)): (&KeyHash, &(Order, Location))| Entry { key, order, location };
        let mut entries: Vec<Entry> = self.recent.iter().map(entry).collect();
        entries.sort_unstable_by_key(|entry| entry.key);
        let mut writer = self.writer(entries.len() as u64)?;
        for entry in &entries {
            writer.push(entry)?;
        }
        self.runs.insert(0, writer.finish()?);
        self.recent.clear();
        self.recent.shrink_to(2 * self.settings.entries_in_memory);
        Ok(())
    }

    /// How many entries a merge that is due would read; `None` while none is.
    pub(super) fn merge_cost(&self) -> Option<u64> {
        let due = self.due()?;
        Some(self.runs[..due].iter().map(Run::len).sum())
    }

    /// Merges the runs that are due into one, moving entries to where `relocate` says that their rows are by now. After an
    /// error all is as before.
    pub(super) fn merge_due(&mut self, relocate: &dyn Fn(Location) -> Location) -> Result<(), IndexError> {
        match self.due() {
            Some(due) => self.merge_newest(due, relocate),
            None => Ok(()),
        }
    }

    /// Moves all entries to where `relocate` says that their rows are by now. After an error some are where they were.
    pub(super) fn relocate(&mut self, relocate: &dyn Fn(Location) -> Location) -> Result<(), IndexError> {
        self.check()?;
        for (_, location) in self.recent.values_mut() {
            *location = relocate(*location);
        }
        match self.runs.len() {
            0 => Ok(()),
            all => self.merge_newest(all, relocate),
        }
    }

    fn merge_newest(&mut self, due: usize, relocate: &dyn Fn(Location) -> Location) -> Result<(), IndexError> {
        let cost = self.runs[..due].iter().map(Run::len).sum();
        let mut writer = self.writer(cost)?;
        merge(&self.runs[..due], |of_one_key| {
            // The newest one holds. It may not be dropped: an older run could know the key too, and its entry would come back.
            let [newest, ..] = *of_one_key else { return Ok(()) };
            writer.push(&Entry {
                location: relocate(newest.location),
                ..newest
            })
        })?;
        self.runs.splice(..due, [writer.finish()?]);
        Ok(())
    }

    /// How many of the newest runs are to be merged: as soon as there are enough of one size, those and all smaller ones before
    /// and among them. Of several such beginnings the longest, so that no entry is merged twice in a row.
    fn due(&self) -> Option<usize> {
        if self.runs.len() > MOST_RUNS {
            return Some(self.runs.len());
        }
        let fan_in = self.settings.fan_in.max(2);
        let (mut largest, mut of_largest, mut due) = (0, 0, None);
        for (at, run) in self.runs.iter().enumerate() {
            let tier = self.tier(run);
            match tier.cmp(&largest) {
                Ordering::Greater => (largest, of_largest) = (tier, 1),
                Ordering::Equal => of_largest += 1,
                Ordering::Less => {}
            }
            if of_largest >= fan_in {
                due = Some(at + 1);
            }
        }
        due
    }

    /// The power of the fan-in that a run is as large as, in runs just written. Twice, so that it rounds: `fan_in` runs that
    /// have some keys in common still make one of the next tier.
    fn tier(&self, run: &Run) -> u32 {
        let unit = self.settings.entries_in_memory.max(1) as u64;
        (2 * run.len() / unit).max(1).ilog(self.settings.fan_in.max(2) as u64)
    }

    fn writer(&mut self, keys: u64) -> Result<RunWriter, IndexError> {
        self.next_run += 1;
        let path = self.settings.path(self.next_run);
        RunWriter::create(path, keys, self.settings.filter_bits_per_key)
    }

    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    pub(super) fn entries(&self) -> u64 {
        self.recent.len() as u64 + self.runs.iter().map(Run::len).sum::<u64>()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let slot = size_of::<(KeyHash, (Order, Location))>() + 1;
        // The capacity is 7/8 of the slots.
        self.recent.capacity() * slot * 8 / 7 + self.runs.iter().map(Run::memory_bytes).sum::<usize>()
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.runs.iter().map(Run::disk_bytes).sum()
    }
}

/// Removes the runs that another process has left in `folder`.
pub(super) fn remove_runs(folder: &Path) -> Result<(), IndexError> {
    let failed = IndexError::io("emptying", folder);
    for file in std::fs::read_dir(folder).map_err(&failed)? {
        let path = file.map_err(&failed)?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            std::fs::remove_file(&path).map_err(&failed)?;
        }
    }
    Ok(())
}

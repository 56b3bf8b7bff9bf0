//! The index as a whole: shards, and threads over them.

use super::parallel::in_parallel;
use super::run::Wanted;
use super::shard::{Shard, remove_runs};
use super::{Entry, IndexError, IndexSettings, KeyHash, KeyIndexBuilder, Location};

/// Below so many keys threads cost more than they save.
const KEYS_FOR_THREADS: usize = 8192;
/// Entries that one call of `record` merges at most, if more than one merge is due: the rest waits for the next call, so that a
/// commit never waits until every shard has merged.
const MERGE_BUDGET: u64 = 1 << 20;
/// The same as a multiple of what is recorded: more than the number of tiers, so that merging keeps up.
const MERGE_BUDGET_PER_ENTRY: u64 = 16;

/// Where the live row of each key of a table is. Its calls read and write files: not for the threads of a runtime.
pub struct KeyIndex {
    settings: IndexSettings,
    shards: Vec<Shard>,
}

impl std::fmt::Debug for KeyIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyIndex")
            .field("settings", &self.settings)
            .field("entries", &self.entries())
            .field("runs", &self.runs())
            .finish()
    }
}

impl KeyIndex {
    /// An empty index. Runs that are in its folder are removed.
    ///
    /// # Errors
    /// When the folder cannot be made or emptied.
    pub fn create(settings: IndexSettings) -> Result<Self, IndexError> {
        empty_folder(&settings)?;
        let shards = settings
            .of_shards()
            .map(|shard| Shard::new(shard, Vec::new(), 0))
            .collect();
        Ok(Self { settings, shards })
    }

    /// An index of `entries`, which are in no order. Runs that are in its folder are removed.
    ///
    /// # Errors
    /// When a run cannot be written or read.
    pub fn build(settings: IndexSettings, entries: impl Iterator<Item = Entry>) -> Result<Self, IndexError> {
        let mut builder = KeyIndexBuilder::create(settings)?;
        for entry in entries {
            builder.push(entry)?;
        }
        Ok(builder.finish()?.index)
    }

    pub(super) fn of_shards(settings: IndexSettings, shards: Vec<Shard>) -> Self {
        Self { settings, shards }
    }

    /// What is known of each of `keys`, in their order. They may be in any order, and the same one more than once.
    ///
    /// # Errors
    /// When a run cannot be read, or the index is damaged or behind.
    pub fn lookup(&self, keys: &[KeyHash]) -> Result<Vec<Option<Entry>>, IndexError> {
        let room = keys.len() / self.shards.len() * 5 / 4;
        let mut wanted: Vec<Vec<Wanted>> = self.shards.iter().map(|_| Vec::with_capacity(room)).collect();
        for (place, &key) in keys.iter().enumerate() {
            wanted[shard_of(key, self.shards.len())].push(Wanted { key, place });
        }
        let work = self
            .shards
            .iter()
            .zip(wanted)
            .filter(|(_, wanted)| !wanted.is_empty())
            .collect();
        let found = in_parallel(self.threads_for(keys.len()), work, |(shard, wanted)| {
            shard.lookup(wanted)
        });
        let mut answers = vec![None; keys.len()];
        for found in found {
            for (place, entry) in found? {
                answers[place] = Some(entry);
            }
        }
        Ok(answers)
    }

    /// Records where keys are now; what was known of them before is replaced, and of two entries of one key the later one
    /// in `entries` holds. `relocate` says where a row is by now, for those entries that are merged on this occasion: of the
    /// others a lookup still says where they were.
    ///
    /// # Errors
    /// When a run cannot be written or read. After [`IndexError::Io`] all entries are known, and the next call tries again
    /// to write them; after the others the index must be built anew.
    pub fn record(
        &mut self,
        entries: Vec<Entry>,
        relocate: &(dyn Fn(Location) -> Location + Sync),
    ) -> Result<(), IndexError> {
        let count = entries.len();
        let room = count / self.shards.len() * 5 / 4;
        let mut parts: Vec<Vec<Entry>> = self.shards.iter().map(|_| Vec::with_capacity(room)).collect();
        for entry in entries {
            parts[shard_of(entry.key, self.shards.len())].push(entry);
        }
        let threads = self.threads_for(count);
        let work = self.shards.iter_mut().zip(parts).collect();
        let recorded = in_parallel(threads, work, |(shard, part)| shard.record(part));
        let merged = self.merge(count as u64, relocate);
        worst(recorded.into_iter().chain(merged))
    }

    /// Merges as many of the shards that need it as `count` new entries may be kept waiting for.
    fn merge(&mut self, count: u64, relocate: &(dyn Fn(Location) -> Location + Sync)) -> Vec<Result<(), IndexError>> {
        let mut budget = MERGE_BUDGET.max(count * MERGE_BUDGET_PER_ENTRY);
        let mut due: Vec<(u64, &mut Shard)> = self
            .shards
            .iter_mut()
            .filter_map(|shard| Some((shard.merge_cost()?, shard)))
            .collect();
        due.sort_by_key(|(_, shard)| std::cmp::Reverse(shard.runs()));
        let mut chosen = Vec::new();
        for (cost, shard) in due {
            if chosen.is_empty() || cost <= budget {
                budget = budget.saturating_sub(cost);
                chosen.push(shard);
            }
        }
        in_parallel(self.settings.threads, chosen, |shard| shard.merge_due(relocate))
    }

    /// Moves all entries of one shard to where `relocate` says that their rows are by now, so that it need never be asked again of
    /// these places. Reads and writes the whole shard.
    ///
    /// # Errors
    /// As [`Self::record`].
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn relocate(&mut self, shard: usize, relocate: &dyn Fn(Location) -> Location) -> Result<(), IndexError> {
        self.shards[shard].relocate(relocate)
    }

    /// Shards, numbered from 0.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    fn threads_for(&self, keys: usize) -> usize {
        match keys >= KEYS_FOR_THREADS {
            true => self.settings.threads,
            false => 1,
        }
    }

    /// Entries, those that newer ones have replaced included.
    pub fn entries(&self) -> u64 {
        self.shards.iter().map(Shard::entries).sum()
    }

    /// Runs of all shards, each of which is an open file.
    pub fn runs(&self) -> usize {
        self.shards.iter().map(Shard::runs).sum()
    }

    /// Memory held: new entries, filters, and the first hash of each block. What the page cache holds of the runs is not in it.
    pub fn memory_bytes(&self) -> usize {
        self.shards.iter().map(Shard::memory_bytes).sum()
    }

    /// Bytes of the runs.
    pub fn disk_bytes(&self) -> u64 {
        self.shards.iter().map(Shard::disk_bytes).sum()
    }
}

pub(super) fn empty_folder(settings: &IndexSettings) -> Result<(), IndexError> {
    std::fs::create_dir_all(&settings.folder).map_err(IndexError::io("making", &settings.folder))?;
    remove_runs(&settings.folder)
}

/// By the lowest 32 bits: filters and the order of a run go by the others.
pub(super) fn shard_of(key: KeyHash, shards: usize) -> usize {
    let low = key.0 as u32;
    ((u64::from(low) * shards as u64) >> 32) as usize
}

/// Of several errors the one that weighs most.
pub(super) fn worst(outcomes: impl IntoIterator<Item = Result<(), IndexError>>) -> Result<(), IndexError> {
    let errors = outcomes.into_iter().filter_map(Result::err);
    match errors.min_by_key(|error| matches!(error, IndexError::Io { .. })) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

//! Building an index from a table's rows: sorted pieces on disk, merged.

use super::key_index::{KeyIndex, empty_folder, shard_of, worst};
use super::merge::merge;
use super::parallel::in_parallel;
use super::run::Run;
use super::shard::{Shard, ShardSettings};
use super::writer::RunWriter;
use super::{Entry, IndexError, IndexSettings};

/// Pieces of a shard before they are merged: each is an open file.
const MOST_PIECES: usize = 16;

/// Takes the live rows of a table, in any order, in bounded memory.
pub struct KeyIndexBuilder {
    settings: IndexSettings,
    parts: Vec<Part>,
    held: usize,
}

/// What has been built.
#[derive(Debug)]
pub struct Built {
    /// The index. Of a key that came more than once it knows the entry with the latest order.
    pub index: KeyIndex,
    /// Entries that lost to another of the same key. More than none: the table holds a key more than once.
    pub repeated: u64,
}

impl std::fmt::Debug for KeyIndexBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pieces: usize = self.parts.iter().map(|part| part.pieces.len()).sum();
        f.debug_struct("KeyIndexBuilder")
            .field("settings", &self.settings)
            .field("held", &self.held)
            .field("pieces", &pieces)
            .finish()
    }
}

impl KeyIndexBuilder {
    /// Begins an index. Runs that are in its folder are removed.
    ///
    /// # Errors
    /// When the folder cannot be made or emptied.
    pub fn create(settings: IndexSettings) -> Result<Self, IndexError> {
        empty_folder(&settings)?;
        let part = |settings| Part {
            settings,
            held: Vec::new(),
            pieces: Vec::new(),
            next_run: 0,
            repeated: 0,
        };
        let parts = settings.of_shards().map(part).collect();
        Ok(Self {
            settings,
            parts,
            held: 0,
        })
    }

    /// Adds a live row.
    ///
    /// # Errors
    /// When a piece cannot be written; the builder is of no more use then.
    pub fn push(&mut self, entry: Entry) -> Result<(), IndexError> {
        let part = shard_of(entry.key, self.parts.len());
        self.parts[part].held.push(entry);
        self.held += 1;
        match self.held >= self.settings.entries_in_memory_while_built.max(1) {
            true => self.spill(),
            false => Ok(()),
        }
    }

    fn spill(&mut self) -> Result<(), IndexError> {
        self.held = 0;
        let parts = self.parts.iter_mut().collect();
        worst(in_parallel(self.settings.threads, parts, Part::spill))
    }

    /// The index of all that was added.
    ///
    /// # Errors
    /// When a run cannot be written or read.
    pub fn finish(self) -> Result<Built, IndexError> {
        let shards = in_parallel(self.settings.threads, self.parts, Part::finish);
        let mut shards: Vec<(usize, Shard, u64)> = shards.into_iter().collect::<Result<_, _>>()?;
        shards.sort_by_key(|(number, _, _)| *number);
        Ok(Built {
            repeated: shards.iter().map(|(_, _, repeated)| repeated).sum(),
            index: KeyIndex::of_shards(self.settings, shards.into_iter().map(|(_, shard, _)| shard).collect()),
        })
    }
}

/// A shard to be.
struct Part {
    settings: ShardSettings,
    held: Vec<Entry>,
    pieces: Vec<Run>,
    next_run: u64,
    repeated: u64,
}

impl Part {
    fn spill(&mut self) -> Result<(), IndexError> {
        self.held
            .sort_unstable_by(|left, right| left.key.cmp(&right.key).then(right.order.cmp(&left.order)));
        let before = self.held.len();
        self.held.dedup_by_key(|entry| entry.key);
        self.repeated += (before - self.held.len()) as u64;
        // Nobody looks anything up in a piece.
        let mut writer = self.writer(self.held.len() as u64, 0)?;
        for entry in &self.held {
            writer.push(entry)?;
        }
        self.pieces.push(writer.finish()?);
        self.held.clear();
        if self.pieces.len() >= MOST_PIECES {
            let merged = self.merge(0)?;
            self.pieces = vec![merged];
        }
        Ok(())
    }

    /// The number of the shard, the shard, and how many entries lost.
    fn finish(mut self) -> Result<(usize, Shard, u64), IndexError> {
        if !self.held.is_empty() {
            self.spill()?;
        }
        self.held = Vec::new();
        let mut runs = Vec::new();
        if !self.pieces.is_empty() {
            runs.push(self.merge(self.settings.filter_bits_per_key)?);
        }
        Ok((
            self.settings.number,
            Shard::new(self.settings, runs, self.next_run),
            self.repeated,
        ))
    }

    fn merge(&mut self, filter_bits_per_key: usize) -> Result<Run, IndexError> {
        let mut writer = self.writer(self.pieces.iter().map(Run::len).sum(), filter_bits_per_key)?;
        let mut repeated = 0;
        merge(&self.pieces, |of_one_key| {
            repeated += of_one_key.len() as u64 - 1;
            match of_one_key.iter().max_by_key(|entry| entry.order) {
                Some(latest) => writer.push(latest),
                None => Ok(()),
            }
        })?;
        self.repeated += repeated;
        writer.finish()
    }

    fn writer(&mut self, keys: u64, filter_bits_per_key: usize) -> Result<RunWriter, IndexError> {
        self.next_run += 1;
        RunWriter::create(self.settings.path(self.next_run), keys, filter_bits_per_key)
    }
}

//! An immutable run: entries sorted by hash, in blocks that are checked when they are read.

use super::block::{self, BLOCK_BYTES};
use super::run_file::RunFile;
use super::scan::Scan;
use super::{Entry, IndexError, KeyFilter, KeyHash};

/// A run. Its file is removed with it.
#[derive(Debug)]
pub(super) struct Run {
    file: RunFile,
    entries: u64,
    /// The high 64 bits of the first hash of each block.
    firsts: Vec<u64>,
    filter: KeyFilter,
}

/// A key that is looked up, and its place in the question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) key: KeyHash,
    pub(super) place: usize,
}

/// What was found, with the place in the question.
pub(super) type Found = Vec<(usize, Entry)>;

impl Run {
    pub(super) fn new(file: RunFile, entries: u64, firsts: Vec<u64>, filter: KeyFilter) -> Self {
        Self {
            file,
            entries,
            firsts,
            filter,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.entries
    }

    pub(super) fn file(&self) -> &RunFile {
        &self.file
    }

    pub(super) fn blocks(&self) -> usize {
        self.firsts.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.filter.memory_bytes() + self.firsts.capacity() * size_of::<u64>()
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.firsts.len() as u64 * BLOCK_BYTES as u64
    }

    /// Looks `open` up, best in order of their hashes; what is found goes over to `found`.
    pub(super) fn lookup(&self, open: &mut Vec<Wanted>, found: &mut Found) -> Result<(), IndexError> {
        let mut last = LastBlock::default();
        let mut outcome = Ok(());
        open.retain(|wanted| {
            if outcome.is_err() || !self.filter.may_contain(wanted.key) {
                return true;
            }
            match self.find(wanted.key, &mut last) {
                Ok(Some(entry)) => {
                    found.push((wanted.place, entry));
                    false
                }
                Ok(None) => true,
                Err(error) => {
                    outcome = Err(error);
                    true
                }
            }
        });
        outcome
    }

    fn find(&self, key: KeyHash, last: &mut LastBlock) -> Result<Option<Entry>, IndexError> {
        // The last block that begins at or before the key; of blocks that begin with the same high half, each may hold it, and
        // so may the one before them.
        let end = self.firsts.partition_point(|first| *first <= high(key));
        for number in (0..end).rev() {
            if let Some(entry) = last.read(self, number)?.find(key) {
                return Ok(Some(entry));
            }
            if self.firsts[number] != high(key) {
                break;
            }
        }
        Ok(None)
    }

    /// All entries, in order.
    pub(super) fn scan(&self) -> Scan<'_> {
        Scan::of(self)
    }
}

/// The block that was read last: keys in order often want the same one again.
#[derive(Default)]
struct LastBlock {
    number: Option<usize>,
    count: usize,
    bytes: Vec<u8>,
}

impl LastBlock {
    fn read(&mut self, run: &Run, number: usize) -> Result<&Self, IndexError> {
        if self.number != Some(number) {
            self.number = None;
            self.bytes.resize(BLOCK_BYTES, 0);
            run.file.read_at(&mut self.bytes, (number * BLOCK_BYTES) as u64)?;
            let entries = block::entries(&self.bytes, number as u64).ok_or_else(|| run.file.damaged())?;
            self.count = entries.len();
            self.number = Some(number);
        }
        Ok(self)
    }

    fn find(&self, key: KeyHash) -> Option<Entry> {
        let entries = self.bytes[..self.count * Entry::BYTES]
            .as_chunks::<{ Entry::BYTES }>()
            .0;
        let at = entries.binary_search_by_key(&key, Entry::key_of).ok()?;
        Some(Entry::from_bytes(&entries[at]))
    }
}

/// The half of a hash that is kept in memory of each block.
pub(super) fn high(key: KeyHash) -> u64 {
    (key.0 >> 64) as u64
}

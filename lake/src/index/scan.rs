//! Reading a run from end to end.

use super::block::{self, BLOCK_BYTES, ENTRIES_PER_BLOCK};
use super::run::Run;
use super::{Entry, IndexError};

/// Blocks read at once.
const SCAN_BLOCKS: usize = 32;

/// Reads a run from end to end.
pub(super) struct Scan<'a> {
    run: &'a Run,
    bytes: Vec<u8>,
    /// The blocks that were read last, their next entry at the end.
    entries: Vec<Entry>,
    next_block: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn of(run: &'a Run) -> Self {
        Self {
            run,
            bytes: Vec::new(),
            entries: Vec::new(),
            next_block: 0,
        }
    }

    /// The next entry; `None` at the end.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>, IndexError> {
        if self.entries.is_empty() && self.next_block < self.run.blocks() {
            self.fill()?;
        }
        Ok(self.entries.pop())
    }

    fn fill(&mut self) -> Result<(), IndexError> {
        let blocks = (self.run.blocks() - self.next_block).min(SCAN_BLOCKS);
        self.bytes.resize(blocks * BLOCK_BYTES, 0);
        let file = self.run.file();
        file.read_at(&mut self.bytes, (self.next_block * BLOCK_BYTES) as u64)?;
        self.entries.reserve(blocks * ENTRIES_PER_BLOCK);
        for (at, bytes) in self.bytes.chunks(BLOCK_BYTES).enumerate().rev() {
            let number = (self.next_block + at) as u64;
            let entries = block::entries(bytes, number).ok_or_else(|| file.damaged())?;
            self.entries.extend(entries.iter().rev().map(Entry::from_bytes));
        }
        self.next_block += blocks;
        Ok(())
    }
}

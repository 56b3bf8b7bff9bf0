//! Writing a run.

use std::path::PathBuf;

use super::block::{BLOCK_BYTES, ENTRIES_PER_BLOCK, seal};
use super::run::{Run, high};
use super::run_file::RunFile;
use super::{Entry, IndexError, KeyFilter};

/// Blocks written at once.
const BUFFER_BLOCKS: usize = 32;

/// Takes entries in ascending order of their hashes, no hash twice.
pub(super) struct RunWriter {
    file: RunFile,
    /// Whole blocks, and the open one behind them.
    buffer: Vec<u8>,
    /// Where the open block begins in the buffer.
    open_at: usize,
    written_bytes: u64,
    entries: u64,
    firsts: Vec<u64>,
    filter: KeyFilter,
}

impl RunWriter {
    /// A run of at most `keys` entries at `path`, where no file is.
    pub(super) fn create(path: PathBuf, keys: u64, filter_bits_per_key: usize) -> Result<Self, IndexError> {
        let keys = usize::try_from(keys).unwrap_or(usize::MAX);
        Ok(Self {
            file: RunFile::create(path)?,
            buffer: Vec::with_capacity(BUFFER_BLOCKS * BLOCK_BYTES),
            open_at: 0,
            written_bytes: 0,
            entries: 0,
            firsts: Vec::with_capacity(keys.div_ceil(ENTRIES_PER_BLOCK)),
            filter: KeyFilter::for_keys(keys, filter_bits_per_key),
        })
    }

    /// Adds an entry behind those before.
    pub(super) fn push(&mut self, entry: &Entry) -> Result<(), IndexError> {
        if self.buffer.len() == self.open_at {
            self.firsts.push(high(entry.key));
        }
        self.buffer.extend_from_slice(&entry.to_bytes());
        self.filter.insert(entry.key);
        self.entries += 1;
        match self.buffer.len() - self.open_at == ENTRIES_PER_BLOCK * Entry::BYTES {
            true => self.close_block(),
            false => Ok(()),
        }
    }

    fn close_block(&mut self) -> Result<(), IndexError> {
        seal(&mut self.buffer, self.open_at, self.firsts.len() as u64 - 1);
        self.open_at = self.buffer.len();
        match self.buffer.len() >= BUFFER_BLOCKS * BLOCK_BYTES {
            true => self.write(),
            false => Ok(()),
        }
    }

    fn write(&mut self) -> Result<(), IndexError> {
        self.file.write_at(&self.buffer, self.written_bytes)?;
        self.written_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        self.open_at = 0;
        Ok(())
    }

    /// Closes the run. It is not flushed to the disk: after a crash of the machine the index is built anew.
    pub(super) fn finish(mut self) -> Result<Run, IndexError> {
        if self.buffer.len() > self.open_at {
            self.close_block()?;
        }
        self.write()?;
        self.firsts.shrink_to_fit();
        self.filter.fold_to(usize::try_from(self.entries).unwrap_or(usize::MAX));
        Ok(Run::new(self.file, self.entries, self.firsts, self.filter))
    }
}

//! A block of a run: 4 KiB with up to 85 entries, their number, and a checksum over both and the block's place in the run.

use xxhash_rust::xxh3::xxh3_64;

use super::Entry;

pub(super) const BLOCK_BYTES: usize = 4096;
const COUNT_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 8;
const CHECKSUM_AT: usize = BLOCK_BYTES - CHECKSUM_BYTES;
const COUNT_AT: usize = CHECKSUM_AT - COUNT_BYTES;
pub(super) const ENTRIES_PER_BLOCK: usize = COUNT_AT / Entry::BYTES;

pub(super) type EntryBytes = [u8; Entry::BYTES];

/// Completes block `number`, whose entries are all that `buffer` holds from `start` on.
pub(super) fn seal(buffer: &mut Vec<u8>, start: usize, number: u64) {
    let count = (buffer.len() - start) / Entry::BYTES;
    buffer.resize(start + COUNT_AT, 0);
    buffer.extend_from_slice(&(count as u64).to_be_bytes());
    let checksum = xxh3_64(&buffer[start..]) ^ number;
    buffer.extend_from_slice(&checksum.to_be_bytes());
}

/// The entries of `block`, which was read as block `number`; `None` when it is not what was written there.
pub(super) fn entries(block: &[u8], number: u64) -> Option<&[EntryBytes]> {
    let (content, checksum) = block.split_last_chunk::<CHECKSUM_BYTES>()?;
    if xxh3_64(content) ^ number != u64::from_be_bytes(*checksum) {
        return None;
    }
    let (entries, count) = content.split_last_chunk::<COUNT_BYTES>()?;
    let count = usize::try_from(u64::from_be_bytes(*count)).ok()?;
    entries.as_chunks::<{ Entry::BYTES }>().0.get(..count)
}

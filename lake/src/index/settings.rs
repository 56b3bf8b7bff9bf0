//! How an index is kept.

use std::path::PathBuf;

use super::shard::ShardSettings;

/// How an index is kept. The defaults suit some 10 to 100 million keys.
#[derive(Clone, Debug)]
pub struct IndexSettings {
    /// Folder of its runs, which is made where it is missing; no other index may have it.
    pub folder: PathBuf,
    /// Parts that are looked up and merged by themselves. A merge takes as long as one part is large.
    pub shards: usize,
    /// Threads that a large batch is spread over, the caller's among them.
    pub threads: usize,
    /// Entries in memory, of all shards together, before they are written; some 100 bytes each.
    pub entries_in_memory: usize,
    /// So many runs of one size become one: few make lookups fast, many make merges cheap.
    pub fan_in: usize,
    /// Bits of filter for each key. With 10, one key of a hundred that a run does not hold costs a read.
    pub filter_bits_per_key: usize,
    /// Entries in memory, of all shards together, while an index is built from a table; 48 bytes each.
    pub entries_in_memory_while_built: usize,
}

impl IndexSettings {
    /// The defaults, in `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            shards: 16,
            threads: std::thread::available_parallelism().map_or(1, usize::from).min(4),
            entries_in_memory: 1 << 18,
            fan_in: 4,
            filter_bits_per_key: 10,
            entries_in_memory_while_built: 1 << 21,
        }
    }

    pub(super) fn of_shards(&self) -> impl Iterator<Item = ShardSettings> {
        let shards = self.shards.max(1);
        (0..shards).map(move |number| ShardSettings {
            folder: self.folder.clone(),
            number,
            entries_in_memory: self.entries_in_memory.div_ceil(shards),
            fan_in: self.fan_in,
            filter_bits_per_key: self.filter_bits_per_key,
        })
    }
}

//! A split-block Bloom filter (Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters, 2007; the blocks are those
//! of Apache Parquet): one cache line a lookup.

use super::KeyHash;

const WORDS: usize = 8;
const BLOCK_BITS: usize = WORDS * u32::BITS as usize;
/// The number of blocks is a multiple of it, so that a filter can be folded so many times in two.
const ROUNDING: usize = 8;
/// Odd constants of Parquet's specification: each word of a block takes its bit by another multiplication.
const SALT: [u32; WORDS] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// Says of a key that it is certainly not there, or may be.
#[derive(Debug)]
pub struct KeyFilter {
    blocks: Vec<[u32; WORDS]>,
    bits_per_key: usize,
}

impl KeyFilter {
    /// For up to `keys` keys. With 10 bits for each a foreign key passes one time in some 100; with 0 every key passes.
    pub fn for_keys(keys: usize, bits_per_key: usize) -> Self {
        Self {
            blocks: vec![[0; WORDS]; blocks_for(keys, bits_per_key).next_multiple_of(ROUNDING)],
            bits_per_key,
        }
    }

    fn block_of(&self, key: KeyHash) -> usize {
        // By the high bits: keys that are looked up in order walk through the filter in order.
        let high = (key.0 >> 96) as u64;
        ((high * self.blocks.len() as u64) >> 32) as usize
    }

    fn mask(key: KeyHash) -> [u32; WORDS] {
        let hash = (key.0 >> 32) as u32;
        SALT.map(|salt| 1 << (hash.wrapping_mul(salt) >> 27))
    }

    /// Adds a key.
    pub fn insert(&mut self, key: KeyHash) {
        let block = self.block_of(key);
        if let Some(words) = self.blocks.get_mut(block) {
            for (word, bit) in words.iter_mut().zip(Self::mask(key)) {
                *word |= bit;
            }
        }
    }

    /// Whether the key may be there: true of each key that was added, and of few others.
    pub fn may_contain(&self, key: KeyHash) -> bool {
        match self.blocks.get(self.block_of(key)) {
            // All words, although the first often decides: a branch that cannot be foreseen costs more than they do.
            Some(words) => {
                words
                    .iter()
                    .zip(Self::mask(key))
                    .fold(0, |missing, (word, bit)| missing | (bit & !word))
                    == 0
            }
            None => true,
        }
    }

    /// Folds the filter in two while it is still large enough for the `keys` keys that were added. What it then says is what a
    /// filter says that was made with so many blocks.
    pub fn fold_to(&mut self, keys: usize) {
        let wanted = blocks_for(keys, self.bits_per_key).max(1);
        while self.blocks.len().is_multiple_of(2) && self.blocks.len() / 2 >= wanted {
            let half = self.blocks.len() / 2;
            for at in 0..half {
                let (left, right) = (self.blocks[2 * at], self.blocks[2 * at + 1]);
                self.blocks[at] = std::array::from_fn(|word| left[word] | right[word]);
            }
            self.blocks.truncate(half);
        }
        self.blocks.shrink_to_fit();
    }

    /// Memory held.
    pub fn memory_bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<[u32; WORDS]>()
    }
}

fn blocks_for(keys: usize, bits_per_key: usize) -> usize {
    keys.saturating_mul(bits_per_key).div_ceil(BLOCK_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u64 = 100_000;

    fn key(n: u64) -> KeyHash {
        KeyHash::of(&n.to_le_bytes())
    }

    fn filled(room: u64, bits_per_key: usize) -> KeyFilter {
        let mut filter = KeyFilter::for_keys(room as usize, bits_per_key);
        (0..KEYS).for_each(|n| filter.insert(key(n)));
        filter
    }

    fn passed(filter: &KeyFilter) -> usize {
        (KEYS..2 * KEYS).filter(|n| filter.may_contain(key(*n))).count()
    }

    #[test]
    fn every_key_is_found_and_few_others() {
        let filter = filled(KEYS, 10);
        assert!((0..KEYS).all(|n| filter.may_contain(key(n))));
        assert!(passed(&filter) < KEYS as usize / 50, "{} of {KEYS}", passed(&filter));
        assert!(filter.memory_bytes() <= KEYS as usize * 11 / 8);
    }

    #[test]
    fn a_folded_filter_says_what_a_small_one_says() {
        let mut filter = filled(4 * KEYS, 10);
        let before = filter.memory_bytes();
        filter.fold_to(KEYS as usize);
        assert!((0..KEYS).all(|n| filter.may_contain(key(n))));
        assert!(
            passed(&filter) > 0 && passed(&filter) < KEYS as usize / 50,
            "{} of {KEYS}",
            passed(&filter)
        );
        assert!(
            filter.memory_bytes() <= before / 3,
            "{} of {before}",
            filter.memory_bytes()
        );
    }

    #[test]
    fn without_bits_every_key_passes() {
        let filter = filled(KEYS, 0);
        assert_eq!(passed(&filter), KEYS as usize);
        assert_eq!(filter.memory_bytes(), 0);
    }
}

//! Which offsets of a partition have a row: a bitmap, so that ten million rows are checked in a megabyte.

use crate::offsets::Offset;

/// Longest span of offsets that one partition's bitmap may cover: 2^33 offsets are 1 GiB of bits.
pub const MAX_SPAN: u64 = 1 << 33;

/// A set of offsets of one partition, dense from its first offset.
#[derive(Clone, Debug, Default)]
pub struct OffsetSet {
    first: Offset,
    words: Vec<u64>,
    len: u64,
}

/// What [`OffsetSet::insert`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The offset was not yet there.
    New,
    /// The offset was there already: the record is doubled.
    Duplicate,
    /// The offset lies before the first or too far behind it to be kept.
    OutOfSpan,
}

impl OffsetSet {
    /// An empty set that can hold offsets from `first` on.
    pub fn starting_at(first: Offset) -> Self {
        Self {
            first,
            words: Vec::new(),
            len: 0,
        }
    }

    /// Adds `offset`.
    pub fn insert(&mut self, offset: Offset) -> Inserted {
        let Some(index) = self.index(offset) else {
            return Inserted::OutOfSpan;
        };
        let (word, bit) = (index / 64, 1u64 << (index % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if self.words[word] & bit != 0 {
            return Inserted::Duplicate;
        }
        self.words[word] |= bit;
        self.len += 1;
        Inserted::New
    }

    /// Whether `offset` is in the set.
    pub fn contains(&self, offset: Offset) -> bool {
        self.index(offset).is_some_and(|index| {
            self.words
                .get(index / 64)
                .is_some_and(|word| word & (1 << (index % 64)) != 0)
        })
    }

    /// Number of offsets in the set.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Offsets that are in `self` and not in `other`, in order, at most `limit` of them, and how many there are in all.
    pub fn missing_in(&self, other: &Self, limit: usize) -> (Vec<Offset>, u64) {
        let (mut found, mut count) = (Vec::new(), 0);
        for (position, word) in self.words.iter().enumerate() {
            let mut rest = *word;
            while rest != 0 {
                let offset =
                    self.first + i64::try_from(position * 64).unwrap_or(i64::MAX) + i64::from(rest.trailing_zeros());
                rest &= rest - 1;
                if !other.contains(offset) {
                    count += 1;
                    if found.len() < limit {
                        found.push(offset);
                    }
                }
            }
        }
        (found, count)
    }

    fn index(&self, offset: Offset) -> Option<usize> {
        let index = u64::try_from(offset.checked_sub(self.first)?).ok()?;
        (index < MAX_SPAN).then(|| usize::try_from(index).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_duplicates_and_gaps() {
        let mut rows = OffsetSet::starting_at(100);
        for offset in [100, 101, 163, 164, 300] {
            assert_eq!(rows.insert(offset), Inserted::New);
        }
        assert_eq!(rows.insert(164), Inserted::Duplicate);
        assert_eq!(rows.insert(99), Inserted::OutOfSpan);
        assert_eq!(rows.insert(i64::MAX), Inserted::OutOfSpan);
        assert_eq!(rows.len(), 5);
        let mut kafka = OffsetSet::starting_at(0);
        for offset in [100, 101, 162, 163, 164, 300, 301] {
            kafka.insert(offset);
        }
        assert_eq!(kafka.missing_in(&rows, 1), (vec![162], 2));
        assert_eq!(rows.missing_in(&kafka, 10), (vec![], 0));
    }
}

//! I4: the live rows of a silver table beside the last-writer fold of its bronze table, one part of the keys at a time.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use crate::index::{KeyHash, Order};

/// Keys of one kind of difference that are remembered in a pass; further ones are not counted.
const MAX_DIFFERING_KEYS: usize = 500_000;
/// Differences of one kind that are named.
const MAX_EXAMPLES: usize = 10;

/// Keys are hashes already.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = u64::try_from(key & u128::from(u64::MAX)).unwrap_or_default();
    }
}

type ByKey<V> = HashMap<KeyHash, V, BuildHasherDefault<KeyHasher>>;

/// Which keys a pass is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub number: u64,
    pub of: u64,
}

impl Part {
    fn has(self, key: KeyHash) -> bool {
        // The upper half: the lower one finds the place in the map.
        let upper = key.0 >> 64;
        (upper * u128::from(self.of)) >> 64 == u128::from(self.number)
    }
}

/// What is wrong with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The fold has a row, silver has none.
    Missing,
    /// Silver has a row of a record that is not in the fold.
    Surplus,
    /// Bronze has a later row.
    OtherVersion,
    /// The row is of the right record, with other values.
    OtherContent,
    /// Silver has two rows.
    KeyTwice,
}

impl Kind {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Missing => "rows of bronze's fold are missing",
            Self::Surplus => "rows are surplus: of records that bronze's fold does not have",
            Self::OtherVersion => "rows are of an older version than bronze has",
            Self::OtherContent => "rows have other values than their record in bronze",
            Self::KeyTwice => "rows share their key with another row",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub key: KeyHash,
    /// The key, where a row with it was at hand.
    pub text: Option<String>,
    pub silver: Option<Order>,
    pub bronze: Option<Order>,
}

/// Differences of all passes by kind: how many, and the first of them.
#[derive(Debug, Default)]
pub(super) struct Differences {
    pub by_kind: BTreeMap<Kind, (u64, Vec<Difference>)>,
    /// Whether there were too many to count all.
    pub is_cut: bool,
}

impl Differences {
    fn add(&mut self, kind: Kind, difference: Difference) {
        let (count, examples) = self.by_kind.entry(kind).or_default();
        *count += 1;
        if examples.len() < MAX_EXAMPLES {
            examples.push(difference);
        }
    }

    /// The named ones.
    pub(super) fn examples(&mut self) -> impl Iterator<Item = &mut Difference> {
        self.by_kind.values_mut().flat_map(|(_, examples)| examples)
    }
}

/// A live row of silver.
struct Known {
    order: Order,
    content: u64,
    /// Bronze has the record that the row names.
    is_found: bool,
    /// With other values.
    differs: bool,
}

/// One pass: first all rows of silver, then all of bronze up to silver's cursor.
pub(super) struct Pass {
    part: Part,
    silver: ByKey<Known>,
    missing: ByKey<(Order, Option<String>)>,
    newer: ByKey<Order>,
    differences: Differences,
}

impl Pass {
    pub(super) fn new(part: Part) -> Self {
        Self {
            part,
            silver: ByKey::default(),
            missing: ByKey::default(),
            newer: ByKey::default(),
            differences: Differences::default(),
        }
    }

    /// A live row of silver.
    pub(super) fn silver(&mut self, key: KeyHash, order: Order, content: u64) {
        use std::collections::hash_map::Entry;
        if !self.part.has(key) {
            return;
        }
        let known = Known {
            order,
            content,
            is_found: false,
            differs: false,
        };
        match self.silver.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(known);
            }
            Entry::Occupied(mut occupied) => {
                let other = occupied.get().order;
                let difference = Difference {
                    key,
                    text: None,
                    silver: Some(order.min(other)),
                    bronze: None,
                };
                self.differences.add(Kind::KeyTwice, difference);
                if order > other {
                    occupied.insert(known);
                }
            }
        }
    }

    /// A row that cleaning has kept of bronze; `text` says its key.
    pub(super) fn bronze(&mut self, key: KeyHash, order: Order, content: u64, text: impl FnOnce() -> String) {
        if !self.part.has(key) {
            return;
        }
        let Some(known) = self.silver.get_mut(&key) else {
            self.missing(key, order, text);
            return;
        };
        let record = |order: &Order| (order.incarnation, order.partition, order.offset);
        if record(&known.order) == record(&order) {
            known.is_found = true;
            known.differs = known.content != content;
        } else if order > known.order {
            if self.newer.len() >= MAX_DIFFERING_KEYS && !self.newer.contains_key(&key) {
                self.differences.is_cut = true;
                return;
            }
            let newest = self.newer.entry(key).or_insert(order);
            *newest = order.max(*newest);
        }
    }

    fn missing(&mut self, key: KeyHash, order: Order, text: impl FnOnce() -> String) {
        if let Some((latest, _)) = self.missing.get_mut(&key) {
            *latest = order.max(*latest);
        } else if self.missing.len() < MAX_DIFFERING_KEYS {
            let text = (self.missing.len() < MAX_EXAMPLES).then(text);
            self.missing.insert(key, (order, text));
        } else {
            self.differences.is_cut = true;
        }
    }

    /// Adds what was found to `all`.
    pub(super) fn finish(mut self, all: &mut Differences) {
        for (key, known) in &self.silver {
            let newer = self.newer.get(key).copied();
            let kind = match newer {
                Some(_) => Kind::OtherVersion,
                None if !known.is_found => Kind::Surplus,
                None if known.differs => Kind::OtherContent,
                None => continue,
            };
            let difference = Difference {
                key: *key,
                text: None,
                silver: Some(known.order),
                bronze: newer,
            };
            self.differences.add(kind, difference);
        }
        // Those whose key can be said come first.
        let mut missing: Vec<_> = self.missing.into_iter().collect();
        missing.sort_unstable_by_key(|(_, (order, text))| (text.is_none(), *order));
        for (key, (order, text)) in missing {
            let difference = Difference {
                key,
                text,
                silver: None,
                bronze: Some(order),
            };
            self.differences.add(Kind::Missing, difference);
        }
        all.is_cut |= self.differences.is_cut;
        for (kind, (count, examples)) in self.differences.by_kind {
            let (counted, named) = all.by_kind.entry(kind).or_default();
            *counted += count;
            named.extend(examples);
            named.truncate(MAX_EXAMPLES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(event_us: i64, offset: i64) -> Order {
        Order {
            event_us,
            incarnation: 0,
            partition: 0,
            offset,
        }
    }

    fn key(number: u64) -> KeyHash {
        KeyHash::of(&number.to_be_bytes())
    }

    /// Key, order, content.
    type Row = (u64, Order, u64);

    /// The kinds that are found in `parts` passes.
    fn found(silver: &[Row], bronze: &[Row], parts: u64) -> Vec<(Kind, u64)> {
        let mut all = Differences::default();
        for number in 0..parts {
            let mut pass = Pass::new(Part { number, of: parts });
            silver
                .iter()
                .for_each(|(of, order, content)| pass.silver(key(*of), *order, *content));
            bronze
                .iter()
                .for_each(|(of, order, content)| pass.bronze(key(*of), *order, *content, || of.to_string()));
            pass.finish(&mut all);
        }
        all.by_kind
            .into_iter()
            .map(|(kind, (count, _))| (kind, count))
            .collect()
    }

    #[test]
    fn each_kind_of_difference_is_told_apart_in_any_number_of_passes() {
        let bronze = [
            (1, order(1, 0), 10),
            (1, order(2, 1), 11),
            (2, order(9, 2), 20),
            (2, order(8, 3), 21),
            (3, order(1, 4), 30),
            (3, order(1, 5), 31),
        ];
        let good = [(1, order(2, 1), 11), (2, order(9, 2), 20), (3, order(1, 5), 31)];
        for parts in [1, 2, 7] {
            let with = |change: &dyn Fn(&mut Vec<Row>)| {
                let mut rows = good.to_vec();
                change(&mut rows);
                found(&rows, &bronze, parts)
            };
            assert_eq!(with(&|_| {}), []);
            assert_eq!(with(&|rows| rows.truncate(2)), [(Kind::Missing, 1)]);
            assert_eq!(with(&|rows| rows.push((4, order(1, 9), 0))), [(Kind::Surplus, 1)]);
            assert_eq!(with(&|rows| rows[0] = (1, order(1, 0), 10)), [(Kind::OtherVersion, 1)]);
            assert_eq!(with(&|rows| rows[2] = (3, order(1, 4), 30)), [(Kind::OtherVersion, 1)]);
            assert_eq!(with(&|rows| rows[1].2 = 99), [(Kind::OtherContent, 1)]);
            // Another event time under the right coordinates.
            assert_eq!(with(&|rows| rows[1] = (2, order(10, 2), 77)), [(Kind::OtherContent, 1)]);
            assert_eq!(with(&|rows| rows.push((2, order(8, 3), 21))), [(Kind::KeyTwice, 1)]);
            assert_eq!(
                with(&|rows| rows.push((1, order(2, 6), 1))),
                [(Kind::Surplus, 1), (Kind::KeyTwice, 1)]
            );
        }
    }

    #[test]
    fn parts_share_the_keys_among_them() {
        for number in 0..1000 {
            let having = (0..3).filter(|part| Part { number: *part, of: 3 }.has(key(number)));
            assert_eq!(having.count(), 1);
        }
    }
}

//! What the index knows of a key.

use xxhash_rust::xxh3::xxh3_128;

/// Hash of a key's bytes. Two keys with one hash would be taken for one: with 10 billion keys the chance is 1 in 10^19.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u128);

impl KeyHash {
    /// The hash of a key of one column.
    pub fn of(key: &[u8]) -> Self {
        Self(xxh3_128(key))
    }

    /// The hash of a key of a text and an instant (microseconds since 1970-01-01 UTC): the text's length comes first, so that no
    /// two keys have the same bytes. `scratch` is overwritten; handed in again, it saves an allocation a key.
    pub fn of_text_at(text: &str, time_us: i64, scratch: &mut Vec<u8>) -> Self {
        scratch.clear();
        scratch.extend_from_slice(&(text.len() as u64).to_be_bytes());
        scratch.extend_from_slice(text.as_bytes());
        scratch.extend_from_slice(&time_us.to_be_bytes());
        Self::of(scratch)
    }
}

/// What decides between two rows of one key: the later event, then the later record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// Event time in microseconds since 1970-01-01 UTC.
    pub event_us: i64,
    /// Incarnation of the topic.
    pub incarnation: i32,
    /// Kafka partition.
    pub partition: i32,
    /// Kafka offset.
    pub offset: i64,
}

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Number of the data file, given by whoever keeps the list of them.
    pub file: u32,
    /// Row in the file, from 0.
    pub position: u32,
}

/// A key's live row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: KeyHash,
    /// How it compares with other rows of the key.
    pub order: Order,
    /// Where it is.
    pub location: Location,
}

impl Entry {
    /// Bytes of an entry in a run.
    pub(super) const BYTES: usize = 48;

    /// Big-endian, so that bytes sort as hashes do.
    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.key.0.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.order.event_us.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.order.offset.to_be_bytes());
        bytes[32..36].copy_from_slice(&self.order.incarnation.to_be_bytes());
        bytes[36..40].copy_from_slice(&self.order.partition.to_be_bytes());
        bytes[40..44].copy_from_slice(&self.location.file.to_be_bytes());
        bytes[44..].copy_from_slice(&self.location.position.to_be_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        fn field<const N: usize>(bytes: &[u8; Entry::BYTES], at: usize) -> [u8; N] {
            let mut field = [0; N];
            field.copy_from_slice(&bytes[at..at + N]);
            field
        }
        Self {
            key: Self::key_of(bytes),
            order: Order {
                event_us: i64::from_be_bytes(field(bytes, 16)),
                offset: i64::from_be_bytes(field(bytes, 24)),
                incarnation: i32::from_be_bytes(field(bytes, 32)),
                partition: i32::from_be_bytes(field(bytes, 36)),
            },
            location: Location {
                file: u32::from_be_bytes(field(bytes, 40)),
                position: u32::from_be_bytes(field(bytes, 44)),
            },
        }
    }

    pub(super) fn key_of(bytes: &[u8; Self::BYTES]) -> KeyHash {
        let mut key = [0; 16];
        key.copy_from_slice(&bytes[..16]);
        KeyHash(u128::from_be_bytes(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip_and_sort_by_hash() {
        let entry = |key: u128| Entry {
            key: KeyHash(key),
            order: Order {
                event_us: -5,
                incarnation: 2,
                partition: 3,
                offset: i64::MAX,
            },
            location: Location {
                file: 7,
                position: u32::MAX,
            },
        };
        let (low, high) = (entry(255), entry(256));
        assert!(low.to_bytes() < high.to_bytes());
        assert_eq!(Entry::from_bytes(&high.to_bytes()), high);
        assert_eq!(Entry::key_of(&low.to_bytes()), low.key);
    }

    #[test]
    fn later_events_win_then_later_records() {
        let order = |event_us, incarnation, partition, offset| Order {
            event_us,
            incarnation,
            partition,
            offset,
        };
        let ascending = [
            order(1, 9, 9, 9),
            order(2, 0, 5, 5),
            order(2, 0, 5, 6),
            order(2, 0, 6, 0),
            order(2, 1, 0, 0),
        ];
        assert!(ascending.is_sorted());
    }

    #[test]
    fn a_key_of_two_columns_is_its_bytes_and_nothing_of_the_one_before() {
        let mut scratch = Vec::new();
        let mut hash = |text: &str, time_us: i64| KeyHash::of_text_at(text, time_us, &mut scratch);
        let first = hash("AAPL", 258);
        assert_eq!(first, KeyHash::of(b"\0\0\0\0\0\0\0\x04AAPL\0\0\0\0\0\0\x01\x02"));
        assert_ne!(hash("AAP", 258), first);
        assert_ne!(hash("AAPL", 259), first);
        assert_ne!(hash("AAPL\0", 258), first);
        assert_eq!(hash("AAPL", 258), first);
    }
}

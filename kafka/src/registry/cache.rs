//! Two bounded memories: schemas by id, which never change, and ids that were found unknown, which may come to exist.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Schemas kept. A topic has tens in its life; the limit only guards against a stream of random ids.
const MAX_SCHEMAS: usize = 4_096;
/// Text of the schemas kept, in bytes: any one of them may be as long as an answer.
const MAX_SCHEMA_BYTES: usize = 64 << 20;
/// Unknown ids remembered.
const MAX_UNKNOWN: usize = 4_096;
/// An id found unknown is not asked for again more often than this.
pub(super) const UNKNOWN_RECHECK: Duration = Duration::from_secs(30);

/// A map that forgets its oldest entry when full.
#[derive(Debug)]
struct Bounded<V> {
    entries: HashMap<u32, V>,
    order: VecDeque<u32>,
    capacity: usize,
}

impl<V> Bounded<V> {
    fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            capacity,
        }
    }

    fn insert(&mut self, id: u32, value: V) {
        if self.entries.insert(id, value).is_some() {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    fn remove_oldest(&mut self) -> Option<V> {
        let oldest = self.order.pop_front()?;
        self.entries.remove(&oldest)
    }

    fn remove(&mut self, id: u32) {
        if self.entries.remove(&id).is_some() {
            self.order.retain(|other| *other != id);
        }
    }
}

/// The client's memory.
#[derive(Debug)]
pub(super) struct Caches {
    schemas: Bounded<Arc<str>>,
    unknown: Bounded<Instant>,
}

impl Caches {
    pub fn new() -> Self {
        Self {
            schemas: Bounded::new(MAX_SCHEMAS),
            unknown: Bounded::new(MAX_UNKNOWN),
        }
    }

    pub fn schema(&self, id: u32) -> Option<Arc<str>> {
        self.schemas.entries.get(&id).cloned()
    }

    pub fn put_schema(&mut self, id: u32, schema: Arc<str>) {
        self.unknown.remove(id);
        self.schemas.remove(id);
        while self.schema_bytes() + schema.len() > MAX_SCHEMA_BYTES && self.schemas.remove_oldest().is_some() {}
        self.schemas.insert(id, schema);
    }

    fn schema_bytes(&self) -> usize {
        self.schemas.entries.values().map(|schema| schema.len()).sum()
    }

    /// Time since the id was last found unknown, if it was.
    pub fn unknown_for(&self, id: u32, now: Instant) -> Option<Duration> {
        self.unknown
            .entries
            .get(&id)
            .map(|asked_at| now.saturating_duration_since(*asked_at))
    }

    pub fn put_unknown(&mut self, id: u32, now: Instant) {
        self.unknown.insert(id, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_makes_room() {
        let mut caches = Caches::new();
        let count = u32::try_from(MAX_SCHEMAS).unwrap();
        for id in 0..=count {
            caches.put_schema(id, Arc::from("{}"));
        }
        assert_eq!(caches.schemas.entries.len(), MAX_SCHEMAS);
        assert!(caches.schema(0).is_none());
        assert!(caches.schema(count).is_some());
    }

    #[test]
    fn long_schemas_make_room_for_each_other() {
        let mut caches = Caches::new();
        let long: Arc<str> = "x".repeat(MAX_SCHEMA_BYTES / 3).into();
        for id in 0..6 {
            caches.put_schema(id, Arc::clone(&long));
        }
        assert_eq!(caches.schemas.entries.len(), 3);
        assert!(caches.schema(2).is_none() && caches.schema(5).is_some());
        assert_eq!(caches.schemas.order, [3, 4, 5]);
    }

    #[test]
    fn an_id_that_came_to_exist_is_unknown_no_more() {
        let mut caches = Caches::new();
        let now = Instant::now();
        caches.put_unknown(7, now);
        assert_eq!(
            caches.unknown_for(7, now + Duration::from_secs(3)),
            Some(Duration::from_secs(3))
        );
        caches.put_schema(7, Arc::from("{}"));
        assert_eq!(caches.unknown_for(7, now), None);
        assert!(caches.unknown.order.is_empty());
    }
}

//! The node's memory: one budget, shared out by topic, and leases on what all topics share.
//!
//! Three kinds of memory grow with the load. Batches between poll thread and writer: bounded for each topic, at least one
//! batch. Decoding: bounded over all topics, because only so many jobs run. Open sets (files that are being encoded): bounded over all
//! topics; each takes a small lease when it begins and grows while there is room, so that a topic that is catching up may use
//! what others leave. Leases are given in the order in which they are asked for. Who holds one and waits for another waits in the
//! order batch, set, job; jobs end by themselves and sets are committed at their age, so that nobody waits for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const KIB: u64 = 1024;
const MIB: u64 = 1 << 20;

/// Resident set of a node that does nothing, measured: code, runtime, catalog, checkpoints.
const BASE_BYTES: u64 = 64 * MIB;
/// A topic without load, measured: its Kafka client, buffers, the metadata of a table with 300 snapshots.
const IDLE_TOPIC_BYTES: u64 = 2 * MIB;
/// One part in so many is left to the allocator: freed memory that it cannot give back yet.
const SLACK_PARTS: u64 = 8;
/// librdkafka's bookkeeping for small records costs twice their payload again.
const QUEUE_OVERHEAD: u64 = 3;
/// Bytes of a record in a batch beside key and payload: its coordinates.
const RECORD_BYTES: u64 = 28;
/// What decoding and encoding a batch take at their peak: times its bytes (columns that double as they grow, an open page and
/// its compressed copy), and for each record.
const DECODE_FACTOR: u64 = 6;
const DECODE_RECORD_BYTES: u64 = 256;
/// Batches that may wait between poll thread and writer, in bytes of a full one.
pub(crate) const BATCHES_IN_FLIGHT: usize = 3;
/// The smallest lease of an open set: encoders and compressors of some twenty columns, and a batch or two.
const SET_BYTES: u64 = 8 * MIB;
/// An open set grows by so much at least.
const GROWTH_BYTES: u64 = 4 * MIB;
/// Nobody has a larger budget.
const MAX_BUDGET_MIB: u64 = 1 << 20;
/// A batch is sealed at so many records at most, whatever their size.
const MAX_BATCH_RECORDS: u64 = 32_768;

/// The budget cannot hold so many topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{topics} topics need a memory budget of at least {needed_mib} MiB")]
pub struct BudgetTooSmall {
    /// Topics.
    pub topics: usize,
    /// The smallest budget that holds them, in MiB.
    pub needed_mib: u64,
}

/// How a budget is spent: limits of each topic and of what all share, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryPlan {
    /// Payload bytes that librdkafka may prefetch for a topic. More would not be faster: a queue that outgrows the
    /// processor's caches makes consuming slower.
    pub queue_bytes: u64,
    /// Bytes of one answer of a broker's, which come on top of the queue.
    pub fetch_bytes: u64,
    /// Payload and key bytes of one batch.
    pub batch_bytes: u64,
    /// Records of one batch.
    pub batch_records: usize,
    /// Decoding, all topics together.
    pub jobs_bytes: u64,
    /// Open sets, all topics together.
    pub sets_bytes: u64,
    /// What a growing set leaves for the others.
    pub reserve_bytes: u64,
}

impl MemoryPlan {
    /// Shares `budget_bytes` out to `topics` topics and `threads` threads of the CPU pool.
    ///
    /// # Errors
    /// [`BudgetTooSmall`] when not even the smallest shares fit.
    pub(crate) fn of(budget_bytes: u64, topics: usize, threads: usize) -> Result<Self, BudgetTooSmall> {
        let fits = |mib: &u64| Self::fit(mib * MIB, topics, threads).is_some();
        Self::fit(budget_bytes, topics, threads).ok_or_else(|| BudgetTooSmall {
            topics,
            needed_mib: (budget_bytes / MIB..MAX_BUDGET_MIB)
                .find(fits)
                .unwrap_or(MAX_BUDGET_MIB),
        })
    }

    fn fit(budget_bytes: u64, topics: usize, threads: usize) -> Option<Self> {
        let (topics, threads) = (topics.max(1) as u64, threads.max(1) as u64);
        let usable = budget_bytes - budget_bytes / SLACK_PARTS;
        let free = usable.saturating_sub(BASE_BYTES + topics * IDLE_TOPIC_BYTES);
        let share = free / topics;
        let queue_bytes = (share / 24).clamp(256 * KIB, 8 * MIB);
        let fetch_bytes = queue_bytes / 2;
        let batch_bytes = (share / 48).clamp(128 * KIB, 4 * MIB);
        let batch_records = (batch_bytes / 48).clamp(1024, MAX_BATCH_RECORDS);
        let full_batch = batch_bytes + batch_records * RECORD_BYTES;
        // One that is being filled, one that is being decoded, and those between.
        let batches = (BATCHES_IN_FLIGHT as u64 + 2) * full_batch;
        let jobs_bytes = threads * job_bytes(batch_bytes, batch_records);
        let fixed = topics * ((queue_bytes + fetch_bytes) * QUEUE_OVERHEAD + batches) + jobs_bytes;
        let sets_bytes = free.saturating_sub(fixed);
        if sets_bytes < SET_BYTES {
            return None;
        }
        Some(Self {
            queue_bytes,
            fetch_bytes,
            batch_bytes,
            batch_records: usize::try_from(batch_records).unwrap_or(usize::MAX),
            jobs_bytes,
            sets_bytes,
            reserve_bytes: ((topics - 1) * SET_BYTES).min(sets_bytes / 2),
        })
    }

    /// Whether not every topic can have a set open while its last one is being written: then none may be held for long.
    pub(crate) fn is_scarce(&self, topics: usize) -> bool {
        self.sets_bytes < topics as u64 * 2 * SET_BYTES
    }
}

/// Bytes that decoding a batch takes at its peak.
fn job_bytes(bytes: u64, records: u64) -> u64 {
    bytes * DECODE_FACTOR + records * DECODE_RECORD_BYTES
}

/// A number of bytes that leases divide among them.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    // In KiB, because a permit is 32 bits wide.
    free: Arc<Semaphore>,
    total_kib: u32,
}

/// Part of a pool, given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease(OwnedSemaphorePermit);

fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX)
}

impl Pool {
    pub(crate) fn new(bytes: u64) -> Self {
        let total_kib = kib(bytes).max(1);
        Self {
            free: Arc::new(Semaphore::new(total_kib as usize)),
            total_kib,
        }
    }

    /// Waits for `bytes`, in turn. More than the pool holds takes all of it: what is larger than its share passes alone.
    pub(crate) async fn lease(&self, bytes: u64) -> Lease {
        let wanted = kib(bytes).min(self.total_kib);
        let permit = Arc::clone(&self.free).acquire_many_owned(wanted).await;
        Lease(permit.expect("the semaphore is never closed"))
    }

    /// From a thread of its own: waits for `bytes` at most `patience`.
    pub(crate) fn lease_within(&self, bytes: u64, patience: Duration) -> Option<Lease> {
        // As in `Mailbox::send_within`: finer than a batch takes to be encoded.
        const NAP: Duration = Duration::from_micros(500);
        let (started, wanted) = (Instant::now(), kib(bytes).min(self.total_kib));
        loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_many_owned(wanted) {
                return Some(Lease(permit));
            }
            if started.elapsed() >= patience {
                return None;
            }
            std::thread::sleep(NAP);
        }
    }

    /// Enlarges `lease` by `bytes`, if that leaves `reserve_bytes` for others, now.
    fn grow(&self, lease: &mut Lease, bytes: u64, reserve_bytes: u64) -> bool {
        let wanted = kib(bytes);
        let left = u64::try_from(self.free.available_permits()).unwrap_or(u64::MAX);
        if left < u64::from(wanted) + u64::from(kib(reserve_bytes)) {
            return false;
        }
        match Arc::clone(&self.free).try_acquire_many_owned(wanted) {
            Ok(more) => {
                lease.0.merge(more);
                true
            }
            Err(_) => false,
        }
    }
}

impl Lease {
    /// Bytes held.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.num_permits() as u64 * KIB
    }

    /// Gives back what is more than `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let excess = self.0.num_permits().saturating_sub(kib(bytes) as usize);
        drop(self.0.split(excess));
    }
}

/// What all topics of a node share.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) plan: MemoryPlan,
    jobs: Pool,
    sets: Pool,
}

impl Memory {
    pub(crate) fn new(plan: MemoryPlan) -> Self {
        Self {
            jobs: Pool::new(plan.jobs_bytes),
            sets: Pool::new(plan.sets_bytes),
            plan,
        }
    }

    /// The lease of a decoding job for a batch of so many bytes and records.
    pub(crate) async fn job(&self, bytes: usize, records: usize) -> Lease {
        self.jobs.lease(job_bytes(bytes as u64, records as u64)).await
    }

    /// The first lease of an open set whose empty files take `floor_bytes`.
    pub(crate) async fn set(&self, floor_bytes: u64) -> Lease {
        let bytes = SET_BYTES.max(floor_bytes + 4 * self.plan.batch_bytes);
        self.sets.lease(bytes).await
    }

    /// Whether a set that holds `held_bytes` on `lease` can take another batch like its last one; enlarges the lease where
    /// it has to.
    pub(crate) fn has_room(&self, lease: &mut Lease, held_bytes: u64, last_batch_bytes: u64) -> bool {
        let wanted = held_bytes + self.plan.batch_bytes.max(last_batch_bytes);
        match wanted.checked_sub(lease.bytes()) {
            None | Some(0) => true,
            Some(missing) => self
                .sets
                .grow(lease, missing.max(GROWTH_BYTES), self.plan.reserve_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a plan may take when every limit is reached.
    fn worst(plan: &MemoryPlan, topics: u64) -> u64 {
        let batch = plan.batch_bytes + plan.batch_records as u64 * RECORD_BYTES;
        let each = IDLE_TOPIC_BYTES + (plan.queue_bytes + plan.fetch_bytes) * QUEUE_OVERHEAD + 5 * batch;
        BASE_BYTES + topics * each + plan.jobs_bytes + plan.sets_bytes
    }

    #[test]
    fn shares_multiplied_never_exceed_the_budget() {
        for budget_mib in [64, 96, 128, 256, 512, 1024, 8192] {
            for topics in [1, 2, 3, 10, 50, 200, 1000] {
                match MemoryPlan::of(budget_mib * MIB, topics, 2) {
                    Ok(plan) => assert!(
                        worst(&plan, topics as u64) <= budget_mib * MIB * 7 / 8 + 1,
                        "{budget_mib} {topics} {plan:?}"
                    ),
                    Err(error) => {
                        assert!(error.needed_mib > budget_mib, "{error}");
                        MemoryPlan::of(error.needed_mib * MIB, topics, 2).unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn the_default_holds_three_topics_and_half_a_gigabyte_fifty() {
        let three = MemoryPlan::of(256 * MIB, 3, 2).unwrap();
        assert!(!three.is_scarce(3) && three.batch_records > 20_000, "{three:?}");
        assert!(MemoryPlan::of(512 * MIB, 50, 2).unwrap().is_scarce(50));
        assert!(MemoryPlan::of(128 * MIB, 3, 2).is_ok());
        assert!(MemoryPlan::of(128 * MIB, 50, 2).is_err());
    }

    #[tokio::test]
    async fn sets_grow_while_others_have_their_reserve() {
        let plan = MemoryPlan {
            sets_bytes: 32 * MIB,
            reserve_bytes: 8 * MIB,
            ..MemoryPlan::of(256 * MIB, 3, 2).unwrap()
        };
        let memory = Memory::new(plan);
        let mut one = memory.set(0).await;
        assert_eq!(one.bytes(), SET_BYTES);
        let mut held = 0;
        while memory.has_room(&mut one, held, 0) {
            held += MIB;
        }
        assert_eq!(one.bytes(), 24 * MIB);
        let two = memory.set(0).await;
        assert!(memory.sets.lease_within(1, Duration::ZERO).is_none());
        one.shrink_to(MIB);
        assert_eq!(one.bytes(), MIB);
        drop(two);
        assert_eq!(memory.sets.free.available_permits() as u64 * KIB, 31 * MIB);
    }

    #[tokio::test]
    async fn what_is_larger_than_the_pool_passes_alone() {
        let pool = Pool::new(MIB);
        let small = pool.lease(1).await;
        assert!(pool.lease_within(100 * MIB, Duration::from_millis(2)).is_none());
        drop(small);
        assert_eq!(pool.lease(100 * MIB).await.bytes(), MIB);
    }
}

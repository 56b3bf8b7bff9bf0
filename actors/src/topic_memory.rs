//! One topic's part of the node's memory: leases for its batches and open sets, and the account that the metrics show.

use std::time::Instant;

use prometheus::{Counter, IntGauge};
use tapehouse_kafka::raw_batch::RawBatch;
use tapehouse_lake::bronze::BronzeLayout;
use tapehouse_lake::files::{EncodedFile, FileEncoder};

use crate::bronze::OpenSet;
use crate::memory::{Lease, Memory};
use crate::metrics::Metrics;

/// A topic's view of the node's memory.
#[derive(Debug)]
pub(crate) struct TopicMemory {
    memory: Memory,
    batches: IntGauge,
    open_set: IntGauge,
    staged: IntGauge,
    waited_seconds: Counter,
}

impl TopicMemory {
    /// The account of `topic` starts at nothing: what a generation before it held is gone.
    pub(crate) fn of(memory: &Memory, metrics: &Metrics, topic: &str) -> Self {
        let gauge = |kind: &str| {
            let gauge = metrics.memory.with_label_values(&[topic, kind]);
            gauge.set(0);
            gauge
        };
        Self {
            memory: memory.clone(),
            batches: gauge("batches"),
            open_set: gauge("open_set"),
            staged: gauge("staged"),
            waited_seconds: metrics.memory_wait.with_label_values(&[topic]),
        }
    }

    /// Waits until `batch` may be decoded into `open`: for the set's lease if it has none yet, then for a job's.
    pub(crate) async fn admit(&self, open: &mut OpenSet, batch: &RawBatch, layout: &BronzeLayout) -> Lease {
        let asked = Instant::now();
        if open.lease.is_none() {
            open.lease = Some(self.memory.set(FileEncoder::floor_bytes(layout.file()) as u64).await);
            open.since = Instant::now();
        }
        let job = self.memory.job(batch.size_bytes(), batch.len()).await;
        self.waited_seconds.inc_by(asked.elapsed().as_secs_f64());
        job
    }

    /// Whether `open` can take another batch; enlarges its lease where it has to.
    pub(crate) fn has_room(&self, open: &mut OpenSet) -> bool {
        let held_bytes = open.memory_bytes();
        let last_batch_bytes = open.last_batch_bytes;
        let Some(lease) = &mut open.lease else { return true };
        self.memory.has_room(lease, held_bytes, last_batch_bytes)
    }

    /// A batch of `batch_bytes` has gone into `open`.
    pub(crate) fn absorbed(&self, batch_bytes: u64, open: &OpenSet) {
        self.batches.sub(signed(batch_bytes));
        self.open_set.set(signed(open.memory_bytes()));
    }

    /// The open set was cut: for the account of what is being written.
    pub(crate) fn cut(&self) -> IntGauge {
        self.open_set.set(0);
        self.staged.clone()
    }
}

/// Encoded files until they are written.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: u64,
    account: IntGauge,
    _lease: Option<Lease>,
}

impl Held {
    /// Keeps of the set's `lease` what its files take.
    pub(crate) fn of(files: &[EncodedFile], mut lease: Option<Lease>, account: IntGauge) -> Self {
        let bytes = files.iter().map(EncodedFile::size_bytes).sum();
        if let Some(lease) = &mut lease {
            lease.shrink_to(bytes);
        }
        account.add(signed(bytes));
        Self {
            bytes,
            account,
            _lease: lease,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.sub(signed(self.bytes));
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

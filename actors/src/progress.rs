//! How far each topic is, for `status`, progress bars and tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tapehouse_core::freshness::DelayQuantiles;
use tapehouse_core::offsets::{Offset, PartitionId};
use tokio::sync::watch;

use crate::failure::{ErrorCode, TopicStopped};
use crate::silver::progress::SilverProgress;

/// A node's topics.
#[derive(Clone, Debug, Default)]
pub struct NodeProgress {
    /// One entry a topic, in the order of the settings.
    pub topics: Vec<TopicProgress>,
    /// One entry a silver table, in the order of the settings.
    pub silver: Vec<SilverProgress>,
}

/// What a topic's pipeline is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TopicState {
    /// Reading the table's truth, assigning partitions.
    #[default]
    Starting,
    /// Records flow.
    Running,
    /// Everything visible is committed; nothing new comes.
    Idle,
    /// It failed and will try again.
    Retrying {
        /// Stable code of what failed.
        code: ErrorCode,
        /// What failed.
        error: String,
        /// Failures in a row.
        attempt: u32,
    },
    /// It waits for an operator.
    Stopped(TopicStopped),
}

/// Progress of one topic.
#[derive(Clone, Debug, Default)]
pub struct TopicProgress {
    /// Kafka topic.
    pub topic: String,
    /// Bronze table.
    pub table: String,
    /// What the pipeline is doing.
    pub state: TopicState,
    /// Rows committed by this process, undecodable ones included.
    pub rows_committed: u64,
    /// Undecodable rows among them.
    pub undecodable: u64,
    /// Commits of this process.
    pub commits: u64,
    /// Partitions, ordered.
    pub partitions: Vec<PartitionProgress>,
    /// Time of the last commit, milliseconds since 1970-01-01 UTC.
    pub last_commit_ms: Option<i64>,
    /// Produce to visible, over this process.
    pub freshness: DelayQuantiles,
    /// What failed last and was not followed by a commit yet: a pipeline that tries again seems to run in between.
    pub trouble: Option<Trouble>,
    /// Since when the pipeline waits for memory, milliseconds since 1970-01-01 UTC; `None` while it does not.
    pub waits_for_memory_since_ms: Option<i64>,
}

/// A failure that has not healed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Stable code of what failed.
    pub code: ErrorCode,
    /// What failed.
    pub error: String,
    /// Failures in a row.
    pub attempt: u32,
}

/// Progress of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionProgress {
    /// The partition.
    pub partition: PartitionId,
    /// Next offset that the table records.
    pub next_offset: Offset,
    /// End of the log when last asked.
    pub high_watermark: Option<Offset>,
    /// Why the partition is not read, if it waits for an operator.
    pub stopped: Option<PartitionStopped>,
}

/// Why a partition waits for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStopped {
    /// Stable code.
    pub code: ErrorCode,
    /// Cause and way out.
    pub message: String,
}

/// Shared between a topic's actors and whoever asks.
#[derive(Clone, Debug)]
pub(crate) struct ProgressCell {
    inner: Arc<Mutex<Inner>>,
    caught_up: watch::Sender<CaughtUp>,
}

/// Whether all that was visible at the start is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum CaughtUp {
    #[default]
    No,
    Yes,
    Never(TopicStopped),
}

#[derive(Debug, Default)]
struct Inner {
    progress: TopicProgress,
    next: BTreeMap<PartitionId, Offset>,
    high: BTreeMap<PartitionId, Offset>,
    stopped: BTreeMap<PartitionId, PartitionStopped>,
    /// Ends of the log when the process first saw the topic; `None` before.
    targets: Option<BTreeMap<PartitionId, Offset>>,
}

impl Inner {
    /// What it means that everything that is read is committed.
    fn caught_up(&self) -> CaughtUp {
        match self.stopped.values().next() {
            None => CaughtUp::Yes,
            Some(stopped) => CaughtUp::Never(TopicStopped {
                topic: self.progress.topic.clone(),
                code: stopped.code,
                message: stopped.message.clone(),
            }),
        }
    }
}

impl ProgressCell {
    pub(crate) fn new(topic: &str, table: &str) -> Self {
        let progress = TopicProgress {
            topic: topic.to_owned(),
            table: table.to_owned(),
            ..TopicProgress::default()
        };
        Self {
            inner: Arc::new(Mutex::new(Inner {
                progress,
                ..Inner::default()
            })),
            caught_up: watch::Sender::new(CaughtUp::No),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every update is a plain assignment, so that a panic between two of them leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn snapshot(&self) -> TopicProgress {
        let inner = self.lock();
        let mut progress = inner.progress.clone();
        progress.partitions = inner
            .next
            .iter()
            .map(|(&partition, &next_offset)| PartitionProgress {
                partition,
                next_offset,
                high_watermark: inner.high.get(&partition).map(|high| (*high).max(next_offset)),
                stopped: inner.stopped.get(&partition).cloned(),
            })
            .collect();
        progress
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<CaughtUp> {
        self.caught_up.subscribe()
    }

    /// Records the ends of the log; the first call also fixes what has to be committed to be caught up.
    pub(crate) fn set_high(&self, high: BTreeMap<PartitionId, Offset>) {
        let mut inner = self.lock();
        inner.targets.get_or_insert_with(|| high.clone());
        inner.high = high;
        drop(inner);
        self.check_caught_up();
    }

    /// Sets the offsets that the table records.
    pub(crate) fn set_next(&self, next: BTreeMap<PartitionId, Offset>) {
        self.lock().next = next;
    }

    /// Sets which partitions are not read; returns which were not before.
    pub(crate) fn set_stopped_partitions(
        &self,
        stopped: BTreeMap<PartitionId, PartitionStopped>,
    ) -> BTreeMap<PartitionId, PartitionStopped> {
        std::mem::replace(&mut self.lock().stopped, stopped)
    }

    /// Partitions that wait for an operator.
    pub(crate) fn stopped_partitions(&self) -> Vec<PartitionId> {
        self.lock().stopped.keys().copied().collect()
    }

    pub(crate) fn set_state(&self, state: TopicState) {
        if let TopicState::Stopped(stopped) = &state {
            self.caught_up.send_replace(CaughtUp::Never(stopped.clone()));
        }
        let mut inner = self.lock();
        if let TopicState::Retrying { code, error, attempt } = &state {
            inner.progress.trouble = Some(Trouble {
                code,
                error: error.clone(),
                attempt: *attempt,
            });
        }
        if state == TopicState::Starting {
            // Whoever waited is gone.
            inner.progress.waits_for_memory_since_ms = None;
        }
        inner.progress.state = state;
    }

    /// Says whether the pipeline waits for memory.
    pub(crate) fn set_memory_wait(&self, since_ms: Option<i64>) {
        self.lock().progress.waits_for_memory_since_ms = since_ms;
    }

    /// Counts a commit.
    pub(crate) fn committed(&self, rows: u64, undecodable: u64, at_ms: i64, delays: impl Iterator<Item = (u64, u64)>) {
        let mut inner = self.lock();
        inner.progress.rows_committed += rows;
        inner.progress.undecodable += undecodable;
        inner.progress.commits += 1;
        inner.progress.last_commit_ms = Some(at_ms);
        inner.progress.trouble = None;
        for (delay_ms, records) in delays {
            inner.progress.freshness.add(delay_ms, records);
        }
    }

    /// Everything that was polled is committed, and Kafka had nothing more.
    pub(crate) fn reached_the_end(&self) {
        let mut inner = self.lock();
        inner.progress.state = TopicState::Idle;
        inner.progress.trouble = None;
        let caught_up = inner.caught_up();
        drop(inner);
        self.caught_up.send_replace(caught_up);
    }

    /// Whether the table has passed the ends of the log as they were at the start.
    pub(crate) fn check_caught_up(&self) {
        let inner = self.lock();
        let Some(targets) = &inner.targets else { return };
        let passed =
            |(partition, target): (&PartitionId, &Offset)| inner.next.get(partition).copied().unwrap_or(0) >= *target;
        let is_read = |(partition, _): &(&PartitionId, &Offset)| !inner.stopped.contains_key(partition);
        if targets.iter().filter(is_read).all(passed) {
            let caught_up = inner.caught_up();
            drop(inner);
            self.caught_up.send_replace(caught_up);
        }
    }
}

//! IngestActor: the poll thread of one topic. Polls one consumer, seals batches, hands them to the bronze writer.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tapehouse_core::lost::LostOffset;
use tapehouse_core::offsets::{Offset, OffsetRange, PartitionId};
use tapehouse_kafka::KafkaSettings;
use tapehouse_kafka::consumer::{ConsumerError, ReaderOptions, StartOffsets, TopicReader};
use tapehouse_kafka::raw_batch::RawBatch;
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::mailbox::{Closed, Mailbox, NotSent};
use crate::memory::{Lease, Pool};
use crate::metrics::Metrics;
use crate::pool::{JobPanicked, panic_text};
use crate::progress::{PartitionStopped, ProgressCell, TopicState};

/// Longest wait for an answer of Kafka's.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait of a look-up while records flow: the poll thread does nothing else meanwhile.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the thread looks at its commands while nothing comes.
const TURN: Duration = Duration::from_millis(100);
/// How often partitions and ends of the log are looked up: new partitions are found well within 30 s.
const LOOK_UP_EVERY: Duration = Duration::from_secs(10);
/// Without an answer of Kafka's for so long, the consumer is given up for a new one. librdkafka reconnects by itself, but a client
/// was seen that did not find back to its broker for minutes, while new ones did.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(30);
/// With a full mailbox for so long, fetching is paused.
const PAUSE_AFTER: Duration = Duration::from_secs(1);
/// Group offsets that may wait; they are informational, so what finds no room is dropped.
const GROUP_OFFSETS_KEPT: usize = 8;

/// What the poll thread needs.
pub(crate) struct IngestOptions {
    pub(crate) kafka: KafkaSettings,
    pub(crate) topic: String,
    pub(crate) reader: ReaderOptions,
    /// Offsets that the table records.
    pub(crate) recorded: BTreeMap<PartitionId, Offset>,
    pub(crate) start: StartOffsets,
    pub(crate) progress: ProgressCell,
    pub(crate) metrics: Metrics,
    /// Memory for batches on their way to the writer.
    pub(crate) room: Pool,
}

/// A batch on its way to the writer, with the memory that it takes.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) raw: RawBatch,
    pub(crate) lease: Lease,
}

/// Offsets that the table records now: the one thing that a poll thread is told, besides to stop.
type GroupOffsets = BTreeMap<PartitionId, Offset>;

/// Commands to a poll thread.
#[derive(Clone)]
pub(crate) struct IngestHandle {
    stop: Arc<AtomicBool>,
    group_offsets: SyncSender<GroupOffsets>,
}

impl IngestHandle {
    /// Asks the thread to end; it does so within [`TURN`], or the time of one call to Kafka.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Passes committed offsets on to the consumer group, for lag tools.
    pub(crate) fn commit_group(&self, next: GroupOffsets) {
        let _ = self.group_offsets.try_send(next);
    }
}

/// Starts the thread. Its end, also by a panic, arrives at the receiver.
pub(crate) fn spawn(
    options: IngestOptions,
    batches: Mailbox<Batch>,
) -> std::io::Result<(IngestHandle, oneshot::Receiver<Result<(), Failure>>)> {
    let (group_offsets, receiver) = sync_channel(GROUP_OFFSETS_KEPT);
    let handle = IngestHandle {
        stop: Arc::default(),
        group_offsets,
    };
    let stop = Arc::clone(&handle.stop);
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new()
        .name(format!("poll-{}", options.topic))
        .spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| PollThread::run(options, batches, &receiver, &stop)))
                .unwrap_or_else(|panic| Err(JobPanicked(panic_text(panic.as_ref())).into()));
            // The supervisor is gone only when the process ends.
            let _ = ended.send(outcome);
        })?;
    Ok((handle, end))
}

struct PollThread<'c> {
    options: IngestOptions,
    reader: TopicReader,
    batches: Mailbox<Batch>,
    group_offsets: &'c Receiver<GroupOffsets>,
    stop: &'c AtomicBool,
    looked_up_at: Instant,
    /// When Kafka answered last, or sent records.
    heard_at: Instant,
    /// Partitions that are not read: Kafka does not have their next offset.
    lost: Vec<LostOffset>,
}

/// Whether the thread goes on.
enum Turn {
    GoOn,
    Stop,
}

impl<'c> PollThread<'c> {
    fn run(
        options: IngestOptions,
        batches: Mailbox<Batch>,
        group_offsets: &'c Receiver<GroupOffsets>,
        stop: &'c AtomicBool,
    ) -> Result<(), Failure> {
        let mut reader = TopicReader::open(&options.kafka, &options.topic, options.reader.clone())?;
        let logs = reader.log_ends(KAFKA_TIMEOUT)?;
        let next = starting_offsets(&reader, &logs, &options)?;
        let lost = reader.assign(&next, &logs)?;
        options.progress.set_next(next);
        stop_partitions(&options, &lost);
        let mut thread = Self {
            options,
            reader,
            batches,
            group_offsets,
            stop,
            looked_up_at: Instant::now(),
            heard_at: Instant::now(),
            lost,
        };
        thread.publish_ends(&logs);
        thread.options.progress.set_state(TopicState::Running);
        loop {
            if let Turn::Stop = thread.obey() {
                return Ok(());
            }
            if let Some(batch) = thread.reader.next_batch(Instant::now() + TURN)? {
                if let Turn::Stop = thread.hand_over(batch)? {
                    return Ok(());
                }
                thread.heard_at = Instant::now();
            }
            if thread.looked_up_at.elapsed() >= LOOK_UP_EVERY {
                thread.look_up()?;
            }
        }
    }

    fn obey(&self) -> Turn {
        while let Ok(next) = self.group_offsets.try_recv() {
            self.reader.commit_group_offsets(&next);
        }
        if self.stop.load(Ordering::Relaxed) {
            Turn::Stop
        } else {
            Turn::GoOn
        }
    }

    /// Waits for room downstream. librdkafka's bounded queue holds the broker back meanwhile; when it takes long, fetching
    /// is paused, so that nothing is fetched that will be thrown away.
    fn hand_over(&mut self, raw: RawBatch) -> Result<Turn, Failure> {
        let (metrics, topic) = (&self.options.metrics, self.options.topic.as_str());
        let size_bytes = raw.size_bytes() as u64;
        metrics.bytes.with_label_values(&[topic]).inc_by(size_bytes);
        let held = metrics.memory.with_label_values(&[topic, "batches"]);
        let mut paused = false;
        let lease = loop {
            match self.options.room.lease_within(size_bytes, PAUSE_AFTER) {
                Some(lease) => break lease,
                None => {
                    if let Turn::Stop = self.hold_back(&mut paused)? {
                        return Ok(Turn::Stop);
                    }
                }
            }
        };
        held.add(i64::try_from(size_bytes).unwrap_or(i64::MAX));
        let mut batch = Batch { raw, lease };
        loop {
            match self.batches.send_within(batch, PAUSE_AFTER) {
                Ok(()) => break,
                Err(NotSent::Closed) => return Err(Closed.into()),
                Err(NotSent::Full(back)) => batch = back,
            }
            if let Turn::Stop = self.hold_back(&mut paused)? {
                return Ok(Turn::Stop);
            }
        }
        if paused {
            self.reader.resume()?;
        }
        Ok(Turn::GoOn)
    }

    /// Pauses fetching while there is no room downstream.
    fn hold_back(&self, paused: &mut bool) -> Result<Turn, Failure> {
        if !*paused {
            self.reader.pause()?;
            *paused = true;
        }
        Ok(self.obey())
    }

    /// Looks for new partitions and the ends of the log. Kafka being away for a while is no reason to give up.
    fn look_up(&mut self) -> Result<(), Failure> {
        self.looked_up_at = Instant::now();
        match self.reader.log_ends(LOOK_UP_TIMEOUT) {
            Ok(logs) if logs.len() > self.reader.next_offsets().len() + self.lost.len() => Err(Failure::NewPartitions),
            Ok(logs) => {
                self.heard_at = Instant::now();
                self.publish_ends(&logs);
                Ok(())
            }
            Err(error @ ConsumerError::TopicAbsent(_)) => Err(error.into()),
            Err(error) if self.heard_at.elapsed() >= GIVEN_UP_AFTER => Err(error.into()),
            Err(error) => {
                tracing::debug!(topic = self.options.topic, %error, "ends of the log are unknown for now");
                Ok(())
            }
        }
    }

    fn publish_ends(&self, logs: &BTreeMap<PartitionId, OffsetRange>) {
        let next = self.reader.next_offsets();
        for (partition, log) in logs {
            let lag = self
                .options
                .metrics
                .lag
                .with_label_values(&[&self.options.topic, &partition.to_string()]);
            lag.set((log.end - next.get(partition).copied().unwrap_or(log.start)).max(0));
        }
        self.options
            .progress
            .set_high(logs.iter().map(|(partition, log)| (*partition, log.end)).collect());
    }
}

/// Says which partitions are not read, where that is news, and forgets those that are read again.
fn stop_partitions(options: &IngestOptions, lost: &[LostOffset]) {
    let topic = &options.topic;
    let stopped: BTreeMap<_, _> = lost
        .iter()
        .map(|lost| {
            let (code, message) = (lost.code(), lost.explain(topic));
            (lost.partition, PartitionStopped { code, message })
        })
        .collect();
    let before = options.progress.set_stopped_partitions(stopped.clone());
    for (partition, stopped) in &stopped {
        let gauge = &options.metrics.partition_stopped;
        gauge
            .with_label_values(&[topic, &partition.to_string(), stopped.code])
            .set(1);
        if before.get(partition) != Some(stopped) {
            tracing::error!(
                topic,
                partition,
                code = stopped.code,
                error = stopped.message,
                "the partition has stopped and waits for an operator; the others go on"
            );
        }
    }
    for (partition, was) in before.iter().filter(|(partition, _)| !stopped.contains_key(partition)) {
        let labels = [topic.as_str(), &partition.to_string(), was.code];
        options.metrics.partition_stopped.with_label_values(&labels).set(0);
        tracing::info!(topic, partition, code = was.code, "the partition is read again");
    }
}

/// The recorded offsets, and for partitions that were never read where the configuration says.
fn starting_offsets(
    reader: &TopicReader,
    logs: &BTreeMap<PartitionId, OffsetRange>,
    options: &IngestOptions,
) -> Result<BTreeMap<PartitionId, Offset>, ConsumerError> {
    let mut next = BTreeMap::new();
    // Once anything was read, a partition that appears is read from its beginning, whatever the start policy says.
    let start = if options.recorded.is_empty() {
        options.start
    } else {
        StartOffsets::Earliest
    };
    for (&partition, &log) in logs {
        let offset = match options.recorded.get(&partition) {
            Some(&recorded) => recorded,
            None => reader.start_of(partition, log, start, KAFKA_TIMEOUT)?,
        };
        next.insert(partition, offset);
    }
    Ok(next)
}

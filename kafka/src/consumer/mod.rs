//! Reading one topic: manual assignment, positions, batches. All calls block; they belong on the topic's poll thread.

mod error;
mod log;
mod native;
mod options;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use tapehouse_core::clock::now_us;
use tapehouse_core::failpoint;
use tapehouse_core::lost::LostOffset;
use tapehouse_core::offsets::{Offset, OffsetRange, PartitionId, Ranges};

use crate::access::AccessError;
use crate::raw_batch::RawBatch;
use crate::{ForbiddenProperty, KafkaSettings};

pub use error::ConsumerError;
pub(crate) use error::LogContext;
use native::{ConsumerQueue, Polled, Record};
pub use options::{FIXED, ReaderOptions, StartOffsets, TUNED};

/// How often a poll that found nothing returns to look at its deadline.
const IDLE_POLL: Duration = Duration::from_millis(20);
/// After so many records the linger is checked against the clock.
const CLOCK_EVERY: usize = 256;

/// State of one assigned partition.
#[derive(Clone, Copy, Debug)]
struct Assigned {
    /// End of what was handed out: the start of the next range.
    expected: Offset,
    /// Whether the last that was heard of it is its end.
    at_end: bool,
}

/// Reads the assigned partitions of one topic in batches.
pub struct TopicReader {
    queue: ConsumerQueue<LogContext>,
    settings: KafkaSettings,
    topic: String,
    options: ReaderOptions,
    assigned: BTreeMap<PartitionId, Assigned>,
    batch: RawBatch,
    first_record_at: Option<Instant>,
    end_announced: bool,
    /// Partition of the last record, while nothing else was heard since.
    last_partition: Option<PartitionId>,
}

impl TopicReader {
    /// A reader of `topic` with nothing assigned. Does not wait for Kafka.
    ///
    /// # Errors
    /// When librdkafka rejects a property.
    pub fn open(settings: &KafkaSettings, topic: &str, options: ReaderOptions) -> Result<Self, ConsumerError> {
        let forbidden = |error: ForbiddenProperty| KafkaError::ClientCreation(error.to_string());
        settings.check().map_err(forbidden)?;
        let queue_kib = options.queue_bytes.div_ceil(1024).to_string();
        let (fetch, of_partition) = (options.fetch_bytes.to_string(), (options.fetch_bytes / 2).to_string());
        let mut base = TUNED.to_vec();
        base.push(("queued.max.messages.kbytes", &queue_kib));
        // The client never asks for less than the largest message that it might produce.
        base.push(("message.max.bytes", &of_partition));
        base.push(("fetch.max.bytes", &fetch));
        base.push(("fetch.message.max.bytes", &of_partition));
        base.push(("group.id", &options.group));
        let consumer: BaseConsumer<LogContext> = settings
            .client_config(&base, &options::fixed())
            .create_with_context(LogContext::default())?;
        let no_queue = KafkaError::ClientCreation("the consumer has no queue".into());
        Ok(Self {
            queue: ConsumerQueue::new(consumer).ok_or(no_queue)?,
            settings: settings.clone(),
            topic: topic.to_owned(),
            assigned: BTreeMap::new(),
            batch: RawBatch::with_capacity(options.max_records, options.max_bytes.min(1 << 20)),
            first_record_at: None,
            end_announced: false,
            last_partition: None,
            options,
        })
    }

    fn consumer(&self) -> &BaseConsumer<LogContext> {
        self.queue.consumer()
    }

    /// Assigns these partitions, each from its offset on, but for those whose log does not hold the offset: they are
    /// returned. `logs` is what [`Self::log_ends`] said of them. What was polled and not yet sealed is forgotten.
    ///
    /// # Errors
    /// What the client library answers.
    pub fn assign(
        &mut self,
        next: &BTreeMap<PartitionId, Offset>,
        logs: &BTreeMap<PartitionId, OffsetRange>,
    ) -> Result<Vec<LostOffset>, ConsumerError> {
        let lost = |(&partition, &expected)| {
            let log = logs.get(&partition).copied().unwrap_or(OffsetRange::new(0, 0));
            LostOffset::find(partition, expected, log)
        };
        let mut lost: Vec<LostOffset> = next.iter().filter_map(lost).collect();
        if failpoint::defence_is_off("lost_offsets") {
            lost.clear();
        }
        let is_held = |partition: &PartitionId| lost.iter().all(|lost| lost.partition != *partition);
        let mut list = TopicPartitionList::with_capacity(next.len());
        for (&partition, &expected) in next.iter().filter(|(partition, _)| is_held(partition)) {
            list.add_partition_offset(&self.topic, partition, KafkaOffset::Offset(expected))?;
        }
        self.consumer().assign(&list)?;
        self.assigned = next
            .iter()
            .filter(|(partition, _)| is_held(partition))
            .map(|(&partition, &expected)| {
                (
                    partition,
                    Assigned {
                        expected,
                        at_end: false,
                    },
                )
            })
            .collect();
        self.batch = RawBatch::with_capacity(self.options.max_records, self.options.max_bytes.min(1 << 20));
        self.first_record_at = None;
        self.end_announced = false;
        Ok(lost)
    }

    /// The next offset to be sealed, by partition.
    pub fn next_offsets(&self) -> BTreeMap<PartitionId, Offset> {
        self.assigned
            .iter()
            .map(|(&partition, state)| (partition, state.expected))
            .collect()
    }

    /// Polls until a batch is due or `deadline` has passed; `None` where there is nothing to hand out yet.
    ///
    /// A batch without records is handed out when all partitions have just been read to their end, or when only control
    /// records or aborted transactions moved the position.
    ///
    /// # Errors
    /// What the client library reports and cannot heal by itself. Broken connections are not among it.
    pub fn next_batch(&mut self, deadline: Instant) -> Result<Option<RawBatch>, ConsumerError> {
        loop {
            let wait = if self.batch.is_empty() {
                IDLE_POLL
            } else {
                self.until_due()
            };
            match self.drain(wait.min(deadline.saturating_duration_since(Instant::now())))? {
                Drained::Full => return self.seal().map(Some),
                Drained::Empty if !self.batch.is_empty() && self.until_due().is_zero() => return self.seal().map(Some),
                Drained::Empty if self.batch.is_empty() && !self.end_announced && self.all_at_end() => {
                    return self.seal().map(Some);
                }
                Drained::Empty if Instant::now() >= deadline => return Ok(None),
                Drained::Empty => {}
            }
        }
    }

    /// Takes what is queued; waits for the first record at most `wait`.
    fn drain(&mut self, wait: Duration) -> Result<Drained, ConsumerError> {
        let mut timeout = wait;
        let mut until_clock = CLOCK_EVERY;
        loop {
            let (batch, last, assigned) = (&mut self.batch, &mut self.last_partition, &mut self.assigned);
            let found = self.queue.poll(timeout, |polled| match polled {
                Polled::Nothing => Found::Nothing,
                Polled::Handled => Found::Other,
                Polled::Error(error) => Found::Error(error),
                Polled::End(partition) => {
                    *last = None;
                    if let Some(state) = assigned.get_mut(&partition) {
                        state.at_end = true;
                    }
                    Found::Other
                }
                Polled::Record(record) => {
                    if *last != Some(record.partition()) {
                        *last = Some(record.partition());
                        if let Some(state) = assigned.get_mut(&record.partition()) {
                            state.at_end = false;
                        }
                    }
                    push(batch, &record);
                    Found::Record
                }
            });
            match found {
                Found::Nothing => return Ok(Drained::Empty),
                Found::Record => {}
                Found::Other => continue,
                Found::Error(error) => {
                    self.classify(error)?;
                    continue;
                }
            }
            timeout = Duration::ZERO;
            self.end_announced = false;
            let first_at = *self.first_record_at.get_or_insert_with(Instant::now);
            if self.batch.len() >= self.options.max_records || self.batch.size_bytes() >= self.options.max_bytes {
                return Ok(Drained::Full);
            }
            until_clock -= 1;
            if until_clock == 0 {
                until_clock = CLOCK_EVERY;
                if first_at.elapsed() >= self.options.linger {
                    return Ok(Drained::Full);
                }
            }
        }
    }

    fn until_due(&self) -> Duration {
        self.first_record_at.map_or(self.options.linger, |at| {
            self.options.linger.saturating_sub(at.elapsed())
        })
    }

    fn all_at_end(&self) -> bool {
        self.assigned.values().all(|state| state.at_end)
    }

    /// Passes over what librdkafka heals by itself; finds out which partition lost its offset.
    fn classify(&self, error: KafkaError) -> Result<(), ConsumerError> {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable,
            ) => {
                tracing::debug!(topic = self.topic, %error, "Kafka is away; the client retries");
                Ok(())
            }
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                for (&partition, state) in &self.assigned {
                    let log = self.watermarks(partition, Duration::from_secs(5))?;
                    if let Some(lost) = LostOffset::find(partition, state.expected, log) {
                        let topic = self.topic.clone();
                        return Err(ConsumerError::OffsetLost { topic, lost });
                    }
                }
                Err(error.into())
            }
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Err(ConsumerError::TopicAbsent(self.topic.clone()))
            }
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
                // Group offsets are for lag tools: nothing depends on them.
                tracing::debug!(topic = self.topic, %error, "no permission for the consumer group");
                Ok(())
            }
            _ => Err(self.refused(error)),
        }
    }

    /// The error, or what Kafka said about it.
    fn refused(&self, error: KafkaError) -> ConsumerError {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
            return AccessError::Topic(self.topic.clone()).into();
        }
        match self.consumer().context().heard.recent() {
            Some(refusal) => refusal.into(),
            None => error.into(),
        }
    }

    /// Closes the open batch: its ranges end at the consumer's position, which also moves over control records.
    fn seal(&mut self) -> Result<RawBatch, ConsumerError> {
        let positions = self.consumer().position()?;
        let mut ranges = Ranges::default();
        for element in positions.elements_for_topic(&self.topic) {
            let (Some(state), KafkaOffset::Offset(position)) =
                (self.assigned.get_mut(&element.partition()), element.offset())
            else {
                continue;
            };
            if position > state.expected {
                let range = OffsetRange::new(state.expected, position);
                ranges.0.insert(element.partition(), range);
                state.expected = position;
            }
        }
        let room = RawBatch::with_capacity(self.batch.len().max(64), self.batch.size_bytes().max(4096));
        let mut batch = std::mem::replace(&mut self.batch, room);
        let at_end = self.all_at_end();
        self.first_record_at = None;
        self.end_announced = at_end;
        batch.seal(ranges, now_us(), at_end);
        Ok(batch)
    }

    /// Tells the consumer group how far the table is. For lag tools only; failures are logged and forgotten.
    pub fn commit_group_offsets(&self, next: &BTreeMap<PartitionId, Offset>) {
        let mut list = TopicPartitionList::with_capacity(next.len());
        for (&partition, &offset) in next {
            if list
                .add_partition_offset(&self.topic, partition, KafkaOffset::Offset(offset))
                .is_err()
            {
                return;
            }
        }
        if let Err(error) = self.consumer().commit(&list, CommitMode::Async) {
            tracing::debug!(topic = self.topic, %error, "group offsets were not committed");
        }
    }

    /// Stops fetching, while the thread goes on serving the client.
    ///
    /// # Errors
    /// What the client library answers.
    pub fn pause(&self) -> Result<(), ConsumerError> {
        Ok(self.consumer().pause(&self.consumer().assignment()?)?)
    }

    /// Fetches again after [`Self::pause`].
    ///
    /// # Errors
    /// What the client library answers.
    pub fn resume(&self) -> Result<(), ConsumerError> {
        Ok(self.consumer().resume(&self.consumer().assignment()?)?)
    }
}

enum Drained {
    /// The batch has reached a limit.
    Full,
    /// Nothing more is queued.
    Empty,
}

/// What a poll brought, once the record is in the batch.
enum Found {
    Nothing,
    Record,
    Other,
    Error(KafkaError),
}

fn push(batch: &mut RawBatch, record: &Record<'_>) {
    let coordinates = (record.partition(), record.offset());
    batch.push(
        coordinates,
        record.timestamp_ms(),
        record.key(),
        record.payload(),
        record.headers(),
    );
}

//! Producing: an idempotent producer with a bounded queue, and the paced generator run on top of it.

pub mod generate;
mod mix;
mod pacing;
mod topics;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};

use crate::access::{AccessError, Heard};
use crate::{ForbiddenProperty, KafkaSettings};

pub use pacing::Pacer;
pub use topics::ensure_topics;

/// Large batches after a short wait; a queue that holds a fraction of a second at full speed.
const TUNED: [(&str, &str); 7] = [
    ("linger.ms", "5"),
    ("batch.size", "1000000"),
    ("batch.num.messages", "20000"),
    ("queue.buffering.max.messages", "200000"),
    ("queue.buffering.max.kbytes", "65536"),
    ("message.timeout.ms", "60000"),
    ("reconnect.backoff.max.ms", "2000"),
];

/// Each record once and in order; the partition that every Kafka client would choose for the key; only failures are
/// reported one by one.
const FIXED: [(&str, &str); 3] = [
    ("enable.idempotence", "true"),
    ("partitioner", "murmur2_random"),
    ("delivery.report.only.error", "true"),
];

/// Pause when the queue is full.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(2);
/// A queue that takes nothing for so long means that the brokers are gone.
const STALL_LIMIT: Duration = Duration::from_secs(90);

/// Why records cannot be produced.
#[derive(Debug, thiserror::Error)]
pub enum ProducerError {
    /// A property that loads or runs code.
    #[error(transparent)]
    Forbidden(#[from] ForbiddenProperty),
    /// librdkafka refuses the properties.
    #[error("producer settings: {0}")]
    Settings(#[source] KafkaError),
    /// No broker answers.
    #[error("Kafka at {servers} cannot be reached: {cause}")]
    Unreachable {
        /// `bootstrap.servers`.
        servers: String,
        /// librdkafka's reason.
        #[source]
        cause: KafkaError,
    },
    /// Kafka is there and lets nobody in.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The topic cannot be created.
    #[error("topic `{topic}` cannot be created: {reason}")]
    Topic {
        /// The topic.
        topic: String,
        /// The broker's reason.
        reason: String,
    },
    /// librdkafka refuses a record for good (too large, fatal producer state).
    #[error("a record for `{topic}` cannot be sent: {cause}")]
    Send {
        /// The topic.
        topic: String,
        /// librdkafka's reason.
        #[source]
        cause: KafkaError,
    },
    /// The queue stayed full.
    #[error("the brokers took no record for {} s", STALL_LIMIT.as_secs())]
    Stalled,
    /// Records were queued and then not delivered.
    #[error("{failed} records were not delivered, the first because: {first}")]
    Undelivered {
        /// How many.
        failed: u64,
        /// The first reason.
        first: KafkaError,
    },
    /// Records were still queued when the time was over.
    #[error("{queued} records were still queued after {waited_ms} ms")]
    FlushTimeout {
        /// How many.
        queued: u64,
        /// How long was waited.
        waited_ms: u128,
    },
}

/// One record to send.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingRecord<'a> {
    /// Kafka topic.
    pub topic: &'a str,
    /// Key; its hash picks the partition, without it the partition is arbitrary.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Create time, milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// Counts failed deliveries; successful ones are not reported.
#[derive(Default)]
struct Deliveries {
    failed: AtomicU64,
    first: OnceLock<KafkaError>,
    heard: Heard,
}

#[derive(Clone, Default)]
struct Context(Arc<Deliveries>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.heard.note_log(facility, message);
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(facility, message, "librdkafka");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(facility, message, "librdkafka"),
            _ => tracing::debug!(facility, message, "librdkafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.heard.note(&error, reason);
        tracing::warn!(%error, reason, "producer");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, _)) = result {
            self.0.failed.fetch_add(1, Ordering::Relaxed);
            // Only the first is kept: what follows is its consequence as a rule.
            let _ = self.0.first.set(error.clone());
        }
    }
}

/// An idempotent producer. All calls block, at most as long as each says; keep it off async threads.
pub struct Producer {
    inner: BaseProducer<Context>,
    deliveries: Arc<Deliveries>,
}

impl Producer {
    /// Makes a producer; connecting happens in the background.
    ///
    /// # Errors
    /// [`ProducerError::Forbidden`] or [`ProducerError::Settings`].
    pub fn new(settings: &KafkaSettings) -> Result<Self, ProducerError> {
        settings.check()?;
        let context = Context::default();
        let deliveries = Arc::clone(&context.0);
        let config = settings.client_config(&TUNED, &FIXED);
        let inner = BaseProducer::from_config_and_context(&config, context).map_err(ProducerError::Settings)?;
        Ok(Self { inner, deliveries })
    }

    /// Queues records in order and waits while the queue is full. Returns how many were queued: all of them, unless
    /// `stop` was set while waiting.
    ///
    /// # Errors
    /// [`ProducerError::Send`] for a record that librdkafka refuses, [`ProducerError::Stalled`] after 90 s without room,
    /// [`ProducerError::Undelivered`] as soon as any earlier record is known to be lost.
    pub fn send_batch<'a>(
        &self,
        records: impl IntoIterator<Item = OutgoingRecord<'a>>,
        stop: Option<&AtomicBool>,
    ) -> Result<u64, ProducerError> {
        let mut queued = 0;
        for record in records {
            if !self.send(&record, stop)? {
                return Ok(queued);
            }
            queued += 1;
        }
        self.inner.poll(Duration::ZERO);
        self.check_deliveries()?;
        Ok(queued)
    }

    /// False if stopped while waiting for room.
    fn send(&self, record: &OutgoingRecord<'_>, stop: Option<&AtomicBool>) -> Result<bool, ProducerError> {
        let mut full_since = None;
        loop {
            let outgoing = BaseRecord::<[u8], [u8]> {
                topic: record.topic,
                partition: None,
                payload: record.value,
                key: record.key,
                timestamp: Some(record.timestamp_ms),
                headers: None,
                delivery_opaque: (),
            };
            match self.inner.send(outgoing) {
                Ok(()) => return Ok(true),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {}
                Err((cause, _)) => {
                    return Err(ProducerError::Send {
                        topic: record.topic.to_owned(),
                        cause,
                    });
                }
            }
            if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                return Ok(false);
            }
            if full_since.get_or_insert_with(Instant::now).elapsed() > STALL_LIMIT {
                return Err(ProducerError::Stalled);
            }
            self.inner.poll(QUEUE_FULL_PAUSE);
            self.check_deliveries()?;
        }
    }

    /// Waits until all that was queued is delivered.
    ///
    /// # Errors
    /// [`ProducerError::FlushTimeout`] if that takes longer than `timeout`; [`ProducerError::Undelivered`].
    pub fn flush(&self, timeout: Duration) -> Result<(), ProducerError> {
        let flushed = self.inner.flush(timeout);
        self.check_deliveries()?;
        flushed.map_err(|_| ProducerError::FlushTimeout {
            queued: self.queued(),
            waited_ms: timeout.as_millis(),
        })
    }

    /// Records queued or in flight.
    pub fn queued(&self) -> u64 {
        u64::try_from(self.inner.in_flight_count()).unwrap_or(0)
    }

    /// Records known to be lost.
    pub fn failed(&self) -> u64 {
        self.deliveries.failed.load(Ordering::Relaxed)
    }

    fn check_deliveries(&self) -> Result<(), ProducerError> {
        match self.deliveries.first.get() {
            Some(first) => Err(ProducerError::Undelivered {
                failed: self.failed(),
                first: first.clone(),
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;

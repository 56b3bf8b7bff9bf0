//! Looking at single offsets of a topic's log: for people who ask where a record is, not for what reads.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message as _, Offset as KafkaOffset, TopicPartitionList};
use tapehouse_core::offsets::{Offset, OffsetRange, PartitionId};

use crate::KafkaSettings;
use crate::access::AccessError;
use crate::consumer::{ConsumerError, LogContext};

/// Which records are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// Those that a node reads: of committed transactions, and outside of any.
    Visible,
    /// Also those of transactions that are open or were aborted.
    Everything,
}

/// A record of the log, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp, in milliseconds since 1970-01-01 UTC; `None` where it has none.
    pub timestamp_ms: Option<i64>,
}

/// A transaction that is open: what comes behind its first record is not visible, of others neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTransaction {
    /// Its first record: the end of what is visible (the last stable offset).
    pub first: Offset,
    /// End of what is stored.
    pub stored_end: Offset,
    /// Timestamp of its first record, in milliseconds since 1970-01-01 UTC; `None` where that could not be read.
    pub since_ms: Option<i64>,
}

/// A client that looks at one topic. Its calls block, also its drop.
pub struct LogLook {
    consumer: BaseConsumer<LogContext>,
    settings: KafkaSettings,
    topic: String,
}

impl LogLook {
    /// A look at `topic`. Does not wait for Kafka.
    ///
    /// # Errors
    /// When librdkafka rejects a property.
    pub fn open(settings: &KafkaSettings, topic: &str, sees: Sees) -> Result<Self, ConsumerError> {
        let base = [
            ("group.id", "tapehouse-look"),
            ("queued.max.messages.kbytes", "1024"),
            ("fetch.message.max.bytes", "65536"),
            ("fetch.wait.max.ms", "50"),
            // No protection, only a reason to fail: a single record may be as large as its topic permits.
            ("receive.message.max.bytes", "1073741824"),
            ("reconnect.backoff.max.ms", "2000"),
        ];
        let isolation = match sees {
            Sees::Visible => "read_committed",
            Sees::Everything => "read_uncommitted",
        };
        let fixed = [
            ("auto.offset.reset", "error"),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
            ("isolation.level", isolation),
        ];
        let consumer = settings
            .client_config(&base, &fixed)
            .create_with_context(LogContext::default())?;
        Ok(Self {
            consumer,
            settings: settings.clone(),
            topic: topic.to_owned(),
        })
    }

    /// Start and end of a partition's log, as far as this look sees.
    ///
    /// # Errors
    /// What kept the answer from coming within `timeout`.
    pub fn log(&self, partition: PartitionId, timeout: Duration) -> Result<OffsetRange, ConsumerError> {
        let heard = &self.consumer.context().heard;
        let fetch = |timeout| self.consumer.fetch_watermarks(&self.topic, partition, timeout);
        let asked = heard.ask(&self.settings, timeout, fetch, || {
            self.consumer.poll(Duration::ZERO);
        });
        let (low, high) = asked.map_err(|unanswered| self.denied(unanswered.into()))?;
        Ok(OffsetRange::new(low.max(0), high.max(low).max(0)))
    }

    /// The first record at `offset` or behind it; `None` where there is none up to the end of what is seen.
    ///
    /// # Errors
    /// What kept the answer from coming within `timeout`; an offset that the log does not have.
    pub fn first_from(
        &self,
        partition: PartitionId,
        offset: Offset,
        timeout: Duration,
    ) -> Result<Option<Stored>, ConsumerError> {
        let deadline = Instant::now() + timeout;
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.topic, partition, KafkaOffset::Offset(offset))?;
        self.consumer.assign(&list)?;
        let found = self.poll_until(partition, offset, deadline);
        self.consumer.unassign()?;
        found
    }

    fn poll_until(
        &self,
        partition: PartitionId,
        offset: Offset,
        deadline: Instant,
    ) -> Result<Option<Stored>, ConsumerError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.consumer.poll(left) {
                Some(Ok(record)) if record.partition() == partition && record.offset() >= offset => {
                    return Ok(Some(Stored {
                        offset: record.offset(),
                        timestamp_ms: record.timestamp().to_millis(),
                    }));
                }
                Some(Err(KafkaError::PartitionEOF(of))) if of == partition => return Ok(None),
                Some(Err(error)) if !heals(&error) => return Err(self.denied(error.into())),
                _ if left.is_zero() => {
                    return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut).into());
                }
                _ => {}
            }
        }
    }

    /// The transaction that keeps `visible` of a partition from going further, if one does. Only a look at everything knows.
    ///
    /// # Errors
    /// What kept the answer from coming within `timeout`.
    pub fn open_transaction(
        &self,
        partition: PartitionId,
        visible: OffsetRange,
        timeout: Duration,
    ) -> Result<Option<OpenTransaction>, ConsumerError> {
        let stored = self.log(partition, timeout)?;
        if stored.end <= visible.end {
            return Ok(None);
        }
        // That it cannot be read is no reason not to name it.
        let first = self.first_from(partition, visible.end, timeout).ok().flatten();
        Ok(Some(OpenTransaction {
            first: visible.end,
            stored_end: stored.end,
            since_ms: first.and_then(|record| record.timestamp_ms),
        }))
    }

    fn denied(&self, error: ConsumerError) -> ConsumerError {
        match &error {
            ConsumerError::Kafka(kafka)
                if kafka.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) =>
            {
                AccessError::Topic(self.topic.clone()).into()
            }
            _ => error,
        }
    }
}

/// Whether the brokers compact the topic, so that records vanish from its middle; `None` where they do not say within `timeout`.
pub async fn is_compacted(settings: &KafkaSettings, topic: &str, timeout: Duration) -> Option<bool> {
    let admin: AdminClient<DefaultClientContext> = settings.client_config(&[], &[]).create().ok()?;
    let options = AdminOptions::new().request_timeout(Some(timeout));
    let answer = admin
        .describe_configs([&ResourceSpecifier::Topic(topic)], &options)
        .await;
    // Ends librdkafka's threads, which may take a moment.
    let _ended = tokio::task::spawn_blocking(move || drop(admin)).await;
    let resource = answer.ok()?.into_iter().next()?.ok()?;
    let policy = resource.get("cleanup.policy")?.value.as_deref()?;
    Some(policy.contains("compact"))
}

/// What the client library tries again by itself.
fn heals(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::GroupAuthorizationFailed
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::EmbeddedBroker;

    #[test]
    fn an_empty_log_has_nothing_and_no_transaction() {
        let broker = EmbeddedBroker::start().unwrap();
        broker.create_topic("t", 1).unwrap();
        let settings = KafkaSettings::new(broker.bootstrap_servers());
        let look = LogLook::open(&settings, "t", Sees::Everything).unwrap();
        let (time, log) = (Duration::from_secs(10), OffsetRange::new(0, 0));
        assert_eq!(look.log(0, time).unwrap(), log);
        assert_eq!(look.first_from(0, 0, time).unwrap(), None);
        assert_eq!(look.open_transaction(0, log, time).unwrap(), None);
    }
}

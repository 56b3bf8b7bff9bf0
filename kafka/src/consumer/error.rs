//! Why a topic cannot be read, and where librdkafka's own log lines go.

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use tapehouse_core::offsets::{Offset, PartitionId};

/// Why a topic cannot be read now.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// The topic does not exist (yet).
    #[error("topic `{0}` does not exist")]
    TopicAbsent(String),
    /// Kafka no longer has the next offset: retention or a recreated topic took it.
    #[error("{topic}/{partition}: offset {expected} is gone, the log holds {low}..{high}")]
    OffsetLost {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
        /// The offset to be read next.
        expected: Offset,
        /// Low watermark of the log.
        low: Offset,
        /// High watermark of the log.
        high: Offset,
    },
    /// Any other answer of the client library.
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
}

impl ConsumerError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TopicAbsent(_) => "topic_absent",
            Self::OffsetLost { .. } => "offset_lost",
            Self::Kafka(_) => "kafka",
        }
    }
}

/// Routes librdkafka's own log lines into tracing.
pub(super) struct LogContext;

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "librdkafka", facility, "{message}");
            }
            _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for LogContext {}

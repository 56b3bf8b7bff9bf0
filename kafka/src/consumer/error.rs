//! Why a topic cannot be read, and where librdkafka's own log lines go.

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use tapehouse_core::lost::LostOffset;

use crate::access::{AccessError, Heard, Unanswered};

/// Why a topic cannot be read now.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// The topic does not exist (yet).
    #[error("topic `{0}` does not exist")]
    TopicAbsent(String),
    /// Kafka no longer has the next offset: retention, a truncated log or a recreated topic took it.
    #[error("{topic}: {}", lost.explain(topic))]
    OffsetLost {
        /// The topic.
        topic: String,
        /// What is lost.
        lost: LostOffset,
    },
    /// Kafka is there and lets nobody in.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Any other answer of the client library.
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
}

impl ConsumerError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TopicAbsent(_) => "topic_absent",
            Self::OffsetLost { lost, .. } => lost.code(),
            Self::Access(error) => error.code(),
            Self::Kafka(_) => "kafka",
        }
    }
}

impl From<Unanswered> for ConsumerError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Refused(refusal) => Self::Access(refusal),
            Unanswered::Kafka(error) => Self::Kafka(error),
        }
    }
}

/// Routes librdkafka's own log lines into tracing, and keeps what it hears of refusals.
#[derive(Default)]
pub(crate) struct LogContext {
    pub(crate) heard: Heard,
}

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.heard.note_log(facility, message);
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "librdkafka", facility, "{message}");
            }
            _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.heard.note(&error, reason);
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for LogContext {}

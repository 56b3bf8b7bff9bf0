//! Why a topic's pipeline ended, sorted by what helps: trying again, or an operator.

use tapehouse_core::append::RefuseReason;
use tapehouse_core::identity::IdentityMismatch;
use tapehouse_kafka::consumer::ConsumerError;
use tapehouse_kafka::registry::RegistryError;
use tapehouse_lake::bronze::SchemaProblem;
use tapehouse_lake::files::FileError;
use tapehouse_lake::{CommitError, LakeError, StateError};

use crate::mailbox::Closed;
use crate::pool::JobPanicked;

/// Failures in a row after which an alert is due (the bronze policy).
pub(crate) const ALERT_AT: u32 = 5;

/// Stable code of an error, as logs, metrics and the documentation name it.
pub type ErrorCode = &'static str;

/// A topic that has stopped and waits for an operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{topic}: [{code}] {message}")]
pub struct TopicStopped {
    /// The topic.
    pub topic: String,
    /// Stable code.
    pub code: ErrorCode,
    /// Cause and way out.
    pub message: String,
}

/// End of one generation of a topic's pipeline.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Kafka.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// Schema Registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// All schema ids of the first batch are unknown.
    #[error(
        "the registry knows none of the schema ids {0:?} that the first records name: it is probably not the registry \
         that the producers use"
    )]
    WrongRegistry(Vec<u32>),
    /// Catalog or warehouse.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The table's recorded offsets cannot be trusted.
    #[error(transparent)]
    State(#[from] StateError),
    /// A commit failed for good.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The table has moved on without this pipeline: it starts again from what the table records.
    #[error("the table refused the staged rows: {0}")]
    Refused(#[from] RefuseReason),
    /// The table belongs to somebody else.
    #[error("the table is written by cluster `{owner}`, this node is of cluster `{cluster}`")]
    ForeignOwner {
        /// Owner in the table's state.
        owner: String,
        /// This node's cluster.
        cluster: String,
    },
    /// Kafka has another topic under this name than the one that the table was filled from.
    #[error("topic {topic}: {mismatch}; `tapehouse offsets adopt-topic {topic}` goes on with what is there now")]
    OtherTopic {
        /// The topic.
        topic: String,
        /// What is another.
        mismatch: IdentityMismatch,
    },
    /// While records were read, the topic turned into another one: what was read is dropped, and the pipeline starts again.
    #[error("topic {topic} changed while it was read: {mismatch}")]
    TopicChanged {
        /// The topic.
        topic: String,
        /// What changed.
        mismatch: IdentityMismatch,
    },
    /// The table's schema.
    #[error(transparent)]
    Schema(#[from] SchemaProblem),
    /// A data file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A panic, caught at the boundary of a thread or job.
    #[error(transparent)]
    Panic(#[from] JobPanicked),
    /// An actor of the same pipeline has ended; its own failure says why.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// An operator has changed the recorded offsets: the pipeline starts again from them.
    #[error("the recorded offsets were changed by an operator")]
    StateChanged,
    /// The topic has more partitions than when the pipeline was built.
    #[error("the topic has new partitions")]
    NewPartitions,
}

impl Failure {
    /// Whether only an operator can help.
    pub(crate) fn stops_the_topic(&self) -> bool {
        match self {
            Self::OtherTopic { mismatch, .. } => !matches!(mismatch, IdentityMismatch::Unconfirmed { .. }),
            Self::WrongRegistry(_) | Self::State(_) | Self::ForeignOwner { .. } | Self::Schema(_) => true,
            Self::Refused(RefuseReason::OtherTopic { .. } | RefuseReason::OtherOwner { .. }) => true,
            Self::Lake(error) => !error.is_retryable(),
            Self::Commit(error) => !error.is_retryable(),
            _ => false,
        }
    }

    /// Stable code.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Consumer(error) => error.code(),
            Self::Registry(error) => error.code(),
            Self::WrongRegistry(_) => "wrong_registry",
            Self::Lake(error) => error.code(),
            Self::State(_) => "state_invalid",
            Self::Commit(error) => error.code(),
            Self::OtherTopic { mismatch, .. }
            | Self::TopicChanged { mismatch, .. }
            | Self::Refused(RefuseReason::OtherIdentity(mismatch)) => mismatch.code(),
            Self::Refused(RefuseReason::OtherOwner { .. }) => "foreign_owner",
            Self::Refused(_) => "refused",
            Self::ForeignOwner { .. } => "foreign_owner",
            Self::Schema(_) => "schema",
            Self::File(error) => error.code(),
            Self::Panic(_) => "panic",
            Self::Closed(_) => "pipeline_ended",
            Self::StateChanged => "state_changed",
            Self::NewPartitions => "new_partitions",
        }
    }
}

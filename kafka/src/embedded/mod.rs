//! Kafka and a Schema Registry inside this process, for `tapehouse demo` and for tests: the production path but for
//! the addresses.

mod broker;
mod registry;

pub use broker::EmbeddedBroker;
pub use registry::EmbeddedRegistry;

/// Why an embedded server does not start.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// librdkafka's mock cluster refused.
    #[error("embedded broker: {0}")]
    Broker(#[from] rdkafka::error::KafkaError),
    /// The client was made without its mock cluster.
    #[error("embedded broker: librdkafka made no mock cluster")]
    NoCluster,
    /// The registry's port cannot be bound.
    #[error("embedded registry: {0}")]
    Registry(#[from] std::io::Error),
}

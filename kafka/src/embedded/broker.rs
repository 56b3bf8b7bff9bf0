//! librdkafka's mock cluster as a broker on 127.0.0.1.

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer as _};

use super::EmbeddedError;

/// A one-broker Kafka in this process, with as many topics as are created by [`Self::create_topic`].
///
/// It keeps the newest 5 MiB of each partition, in memory, and only as long as this value lives: whoever produces must be
/// paced by whoever reads. It knows no SASL, no topic creation over the wire and no look-up by time. Dropping it waits for
/// librdkafka's threads.
pub struct EmbeddedBroker {
    /// Owns the cluster. A mock cluster of its own cannot change threads; one that belongs to a client can be reached
    /// from any, through the client.
    owner: BaseProducer,
    bootstrap_servers: String,
}

impl EmbeddedBroker {
    /// Starts the broker on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// [`EmbeddedError::Broker`] if librdkafka cannot start it.
    pub fn start() -> Result<Self, EmbeddedError> {
        let owner: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            // The owner itself talks to nobody; its log would only repeat that the bootstrap list is replaced.
            .set("log_level", "3")
            .create()?;
        let bootstrap_servers = cluster(&owner)?.bootstrap_servers();
        Ok(Self {
            owner,
            bootstrap_servers,
        })
    }

    /// `host:port`, for `bootstrap.servers`.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// [`EmbeddedError::Broker`] if it exists already.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), EmbeddedError> {
        Ok(cluster(&self.owner)?.create_topic(topic, partitions, 1)?)
    }
}

fn cluster(owner: &BaseProducer) -> Result<MockCluster<'_, DefaultProducerContext>, EmbeddedError> {
    owner.client().mock_cluster().ok_or(EmbeddedError::NoCluster)
}

impl std::fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedBroker")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .finish_non_exhaustive()
    }
}

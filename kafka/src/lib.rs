//! Kafka for Tapehouse: consumer, producer, Schema Registry client, Avro to Arrow, trade generator.

mod access;
pub mod consumer;
pub mod decode;
pub mod embedded;
pub mod generator;
pub mod identity;
pub mod look;
pub mod producer;
pub mod raw_batch;
pub mod registry;
pub mod replay;
mod settings;
mod tls_probe;

pub use access::AccessError;
pub use settings::{ForbiddenProperty, KafkaSettings};

//! Kafka for Tapehouse: consumer, producer, Schema Registry client, Avro to Arrow, trade generator.

pub mod embedded;
pub mod generator;
pub mod producer;
pub mod registry;

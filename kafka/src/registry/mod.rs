//! Client of a Confluent-compatible Schema Registry (Confluent, Apicurio's ccompat API, Redpanda, Karapace).
//!
//! Only what ingest and the generator need: a schema by its id, the latest schema of a subject, registering one.

mod cache;
mod client;
mod error;
mod settings;
mod wire;

pub use client::RegistryClient;
pub use error::RegistryError;
pub use settings::{RegistryAuth, RegistrySettings, Secret};

#[cfg(test)]
mod tests;

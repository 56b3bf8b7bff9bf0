//! `tapehouse demo`: Kafka, Schema Registry, generator and node in one process. The production path but for the addresses.

mod gold;
mod place;
mod queries;
mod screen;
mod stage;
mod summary;

pub use place::Place;
pub use screen::{Screen, introduction};
pub use stage::{Stage, StageOptions};
pub use summary::Summary;

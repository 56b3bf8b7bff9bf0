//! The chaos suite: real node processes over a real broker, killed, stopped and misled; judged by the oracles afterwards.
//!
//! The topics are filled once and shared by all cases. Each case has a lake of its own, so that it costs seconds. A case is
//! determined by its name and the suite's seed alone. Cases that take something away from all others are played at the end,
//! one after the other.

mod away;
mod case;
mod clock;
mod damaged;
mod disk;
mod foreign;
mod ground;
mod kills;
mod misled;
mod own;
mod performance;
mod plan;
mod source;
mod suite;

pub use case::{Act, Case, Departure, Meanwhile, Neighbour, Source, When};
pub use plan::{Plan, Selection};
pub use suite::{Options, Report, run};

//! The chaos suite: real node processes over a real broker, killed, stopped and misled; judged by the oracles afterwards.
//!
//! The topics are filled once and shared by all cases. Each case has a lake of its own, so that it costs seconds. A case is
//! determined by its name and the suite's seed alone.

mod case;
mod ground;
mod plan;
mod suite;

pub use case::{Act, Case, Source};
pub use plan::{Plan, Selection};
pub use suite::{Options, Report, run};

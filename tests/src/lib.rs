//! Harness of the integration tests and of the chaos suite: real servers, real node processes, oracles in Python.
//!
//! Nothing here uses a crate of the workspace: what is under test is asked from outside.

mod backend;
mod catalog_lock;
pub mod chaos;
mod disk;
mod error;
mod feed;
mod guardian;
mod node;
mod oracle;
mod run;
mod scratch;
mod servers;
mod service;
mod shared;
mod shifted_clock;
mod site;
mod tools;
mod wait;

pub use backend::{Backend, Footing};
pub use catalog_lock::CatalogLock;
pub use disk::{Disk, fill_disk, free_disk};
pub use error::Error;
pub use feed::{Feed, Sent};
pub use node::{Node, NodeOptions};
pub use oracle::{Judgement, Verdict};
pub use run::{Output, run};
pub use scratch::Scratch;
pub use servers::{Server, Servers};
pub use service::{Service, script};
pub use shared::{Access, Stack, stack, stack_alone, unless_missing};
pub use shifted_clock::ShiftedClock;
pub use site::{Progress, Site, Topic};
pub use tools::Tools;
pub use wait::{await_that, until};

//! Actors of Tapehouse: one file an actor.
//!
//! A topic's pipeline is `ingest` (a poll thread) -> `bronze_writer` -> `committer`; `supervisor` rebuilds it as a whole
//! from the table's truth whenever any of them fails. `silver_merge` keeps a silver table up with a bronze one,
//! `derived` one that is computed a day at a time, `positions` those that carry a state from day to day; `follow` is the loop of all. Actors are tasks with bounded mailboxes (see
//! `docs/adr/0001-actors-as-tasks.md`).

mod bronze;
mod bronze_writer;
mod checkpoint;
mod clock;
mod committer;
mod compaction;
mod derived;
mod failure;
mod follow;
mod ingest;
mod ledger;
mod mailbox;
mod memory;
mod metrics;
mod node;
mod pool;
mod positions;
mod progress;
mod recorded;
mod schedules;
mod settings;
mod silver;
mod silver_merge;
mod stager;
mod supervisor;
mod topic_memory;
mod undecodable;
mod watch;

pub use bronze::decode_rows;
pub use bronze::rows::RowSource;
pub use checkpoint::{Checkpoint, Checkpoints};
pub use clock::ClockWatch;
pub use failure::{ErrorCode, TopicStopped};
pub use ledger::{AskError, LedgerError, NewBackfill, RunLedger};
pub use memory::BudgetTooSmall;
pub use node::{NodeHandle, StartError, StopReport};
pub use progress::{NodeProgress, PartitionProgress, PartitionStopped, TopicProgress, TopicState, Trouble};
pub use schedules::{ScheduleStatus, Schedules};
pub use settings::{CommitPolicy, DerivedSettings, NodeSettings, SilverSettings, TopicSettings};
pub use silver::progress::{SilverProgress, SilverRows};

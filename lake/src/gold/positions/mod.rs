//! `gold.trader_performance` and `gold.portfolio_positions`: what each trader made of a day and holds at its end, from `silver.trades`.
//!
//! Unlike other gold tables a day of these hangs on all days before it: on what traders hold and at which cost. So days are computed in
//! their order, from what is carried, and a day that has changed has all later ones computed again; those whose rows come out as they
//! were keep their files. What is carried is kept on some days in `ops.position_state` ([`look`] says how it is known to be right), so that
//! a correction goes back to the latest of these and not to the first day.
//!
//! Numbers are fixed-point ([`tapehouse_core::position`]); trades are put in order before they are folded: the same trades give the same
//! rows to the bit.

mod desk;
mod layout;
mod look;
mod rows;
mod verify;
mod walk;

use std::sync::{Arc, Mutex};

pub use layout::PositionTable;
pub use look::PositionsLook;
pub use verify::{PositionsReport, verify_positions};
pub use walk::{Computed, Published};

use crate::lake::Lake;
use crate::name::TableName;
use desk::Desk;

/// Version of what is computed: a new one computes all days again.
pub const LOGIC_VERSION: u32 = 1;
/// Days of one commit at most: what bounds the memory of a pass, and what a crash costs.
pub const MAX_DAYS: usize = 20;

/// The tables and what they are derived from. Clones share what they remember.
#[derive(Clone, Debug)]
pub struct Positions {
    /// The lake.
    pub lake: Lake,
    /// The table of trades.
    pub trades: TableName,
    /// The tables, in the order of [`PositionTable::ALL`].
    pub tables: [TableName; 3],
    /// Cluster of Tapehouse that writes.
    pub owner: String,
    /// What is carried at the end of the last day but one: the last one is computed again and again while it goes on.
    cache: Arc<Mutex<Option<Remembered>>>,
}

/// What is carried at the end of a day.
#[derive(Clone, Debug)]
struct Remembered {
    /// Of this table of trades.
    trades: uuid::Uuid,
    day: i32,
    /// See [`PositionsLook`].
    carried: i64,
    desk: Desk,
}

impl Positions {
    /// The tables under their own names.
    pub fn new(lake: Lake, owner: impl Into<String>) -> Self {
        let ident = |name: &str| name.parse().expect("a name with its namespace");
        Self {
            lake,
            trades: ident("silver.trades"),
            tables: PositionTable::ALL.map(|table| ident(table.name())),
            owner: owner.into(),
            cache: Arc::default(),
        }
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Option<Remembered>> {
        // Whole at every moment: it is replaced by one assignment.
        self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

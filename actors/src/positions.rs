//! PositionsActor: keeps `gold.trader_performance` and `gold.portfolio_positions` up with `silver.trades`, and `ops.position_state` with them.
//!
//! As a DerivedActor, but that days are computed in their order: each hangs on all before it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tapehouse_core::clock::now_us;
use tapehouse_core::freshness::ProducedAt;
use tapehouse_core::watermark::Watermark;
use tapehouse_lake::gold::positions::{Computed, PositionTable, Positions, PositionsLook};
use tapehouse_lake::silver::SilverTable;
use tokio::runtime::Handle;

use crate::derived::TOGETHER;
use crate::derived::failure::DeriveFailure;
use crate::derived::open_day::OpenDay;
use crate::follow::{Cause, Follow, Follower, PassFailure as _, Published, blocking};
use crate::progress::TopicState;
use crate::silver::batch::summary_of;
use crate::silver::progress::{SilverCell, SilverRows};
use crate::supervisor::Shared;

/// The actor.
pub(crate) struct PositionsActor {
    shared: Shared,
    /// Remembers what is carried into the last day.
    positions: Positions,
    /// Of positions.
    follower: Follower,
    performance: SilverCell,
    open_day: OpenDay,
}

impl Follow for PositionsActor {
    type Failure = DeriveFailure;

    fn follower(&mut self) -> &mut Follower {
        &mut self.follower
    }

    /// Computes all days that are not as the trades are now, and all after them; the open day not more often than it may be.
    async fn pass(&mut self) -> Result<(), DeriveFailure> {
        let Some(mut look) = self.positions.look(now_us()).await? else {
            return Ok(());
        };
        for (table, progress) in [
            (PositionTable::Performance, &self.performance),
            (PositionTable::Positions, &self.follower.progress),
        ] {
            progress.set_table_rows(look.table(table).live_rows().unwrap_or(0));
        }
        self.open_day.ends_at(look.next_final_us());
        let may_compute_open = self.follower.is_asked() || self.open_day.may_be_computed(Instant::now());
        if !may_compute_open {
            let days = look.days().len();
            look.without_open_days();
            self.open_day.waits(look.days().len() < days);
        } else {
            self.open_day.waits(false);
        }
        while !look.days().is_empty() && !*self.shared.stopping.borrow() {
            self.follower.progress.set_state(TopicState::Running);
            let started = Instant::now();
            let computed;
            (look, computed) = self.compute(look).await?;
            let Some(computed) = computed else { break };
            self.commit(&computed, started).await?;
            if computed.days.iter().any(|day| look.open_days().contains(day)) {
                self.open_day.computed(started, Instant::now());
            }
        }
        Ok(())
    }

    async fn cause(&mut self) -> Cause {
        let touches = |watermark: &Watermark| {
            let has_days = watermark.touched.days().is_some_and(|days| !days.is_empty());
            has_days && watermark.table == SilverTable::Trades.name()
        };
        let due = self.open_day.due(now_us());
        self.follower.cause(TOGETHER, touches, due).await
    }
}

impl PositionsActor {
    pub(crate) fn new(
        shared: Shared,
        open_day_debounce: Duration,
        follower: Follower,
        performance: SilverCell,
    ) -> Self {
        let cluster = shared.settings.cluster.as_str();
        Self {
            positions: Positions::new(shared.lake.clone(), cluster),
            open_day: OpenDay::new(open_day_debounce),
            shared,
            follower,
            performance,
        }
    }

    /// Computes the next days.
    async fn compute(&self, look: PositionsLook) -> Result<(PositionsLook, Option<Computed>), DeriveFailure> {
        let (positions, summary) = (self.positions.clone(), summary_of(&self.shared));
        let job = move || {
            let mut look = look;
            let computed = Handle::current().block_on(positions.compute(&mut look, &summary));
            computed.map(|computed| (look, computed))
        };
        Ok(blocking(job).await??)
    }

    /// Commits what was computed, and tells.
    async fn commit(&self, computed: &Computed, started: Instant) -> Result<(), DeriveFailure> {
        let commit = || async { Ok(self.positions.commit(computed).await?) };
        let published = self.follower.until_certain(commit, DeriveFailure::may_repeat).await?;
        for done in published {
            let table = done.table.to_string();
            let progress = match PositionTable::named(&table) {
                Some(PositionTable::Performance) => &self.performance,
                Some(PositionTable::Positions) => &self.follower.progress,
                // What is carried is nobody's but the actor's.
                Some(PositionTable::State) | None => continue,
            };
            let published = Published {
                committed: &done.committed,
                started,
                table_rows: done.committed.table.live_rows().unwrap_or(0),
                rows: SilverRows {
                    written: done.rows,
                    ..SilverRows::default()
                },
                rules: &BTreeMap::new(),
                produced_at: &ProducedAt::default(),
                days: done.changed_days,
            };
            self.follower.published_of(&table, progress, published);
            tracing::debug!(
                node = self.shared.settings.node, run_id = %self.shared.run_id, actor = "positions", table,
                snapshot_id = done.committed.snapshot_id, days = computed.days.len(), rows = done.rows,
                ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), "computed");
        }
        Ok(())
    }
}

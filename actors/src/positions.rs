//! PositionsActor: keeps `gold.trader_performance` and `gold.portfolio_positions` up with `silver.trades`, and `ops.position_state` with them.
//!
//! As a DerivedActor, but that days are computed in their order: each hangs on all before it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tapehouse_core::clock::now_us;
use tapehouse_core::freshness::ProducedAt;
use tapehouse_core::ledger::{Outcome, Partition, Run, RunId, Trigger};
use tapehouse_core::watermark::Watermark;
use tapehouse_lake::gold::positions::{Computed, LOGIC_VERSION, MAX_DAYS, PositionTable, Positions, PositionsLook};
use tapehouse_lake::silver::SilverTable;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::derived::TOGETHER;
use crate::derived::failure::DeriveFailure;
use crate::derived::open_day::OpenDay;
use crate::derived::unit;
use crate::follow::{Cause, Follow, Follower, PassFailure as _, Published, blocking};
use crate::ledger::{DayWork, units};
use crate::progress::TopicState;
use crate::silver::batch::summary_of;
use crate::silver::progress::{SilverCell, SilverRows};
use crate::supervisor::Shared;

/// What is computed together.
const ASSETS: [PositionTable; 2] = [PositionTable::Performance, PositionTable::Positions];

/// The commits of a unit: snapshot and days with other rows than before, by table.
type Commits = BTreeMap<String, (i64, BTreeSet<i32>)>;

/// The actor.
pub(crate) struct PositionsActor {
    shared: Shared,
    /// Remembers what is carried into the last day.
    positions: Positions,
    /// Of positions.
    follower: Follower,
    performance: SilverCell,
    open_day: OpenDay,
    asked: watch::Receiver<u64>,
    looked_us: i64,
}

impl Follow for PositionsActor {
    type Failure = DeriveFailure;

    fn follower(&mut self) -> &mut Follower {
        &mut self.follower
    }

    /// Computes all days that are not as the trades are now, and all after them; the open day not more often than it may be.
    async fn pass(&mut self) -> Result<(), DeriveFailure> {
        self.asked.borrow_and_update();
        self.looked_us = now_us();
        let Some(mut look) = self.positions.look(self.looked_us).await? else {
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
        let runs = self.plan(&mut look).await?;
        for days in units(&runs, MAX_DAYS) {
            let runs: Vec<Run> = days.iter().flat_map(|day| runs[day].iter().cloned()).collect();
            let ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
            let is_stopping = *self.shared.stopping.borrow();
            // The next days hang on these.
            if is_stopping || !self.shared.ledger.begin(&ids, &self.shared.stopping).await {
                break;
            }
            self.follower.progress.set_state(TopicState::Running);
            let started = Instant::now();
            let open = look.open_days().clone();
            match self.unit(look, days.len(), started).await {
                Ok((next, commits)) => {
                    look = next;
                    let outcome = |run: &Run| {
                        let commit = commits.get(&run.asset);
                        Outcome {
                            snapshot: commit.map(|(snapshot, _)| *snapshot),
                            changed: commit.is_some_and(|(_, changed)| changed.contains(&run.day)),
                            provisional: open.contains(&run.day),
                        }
                    };
                    unit::succeeded(&self.shared, &runs, outcome).await;
                }
                Err(failure) => return unit::attempt_failed(&self.shared, &runs, days.len(), failure).await,
            }
            if days.iter().any(|day| open.contains(day)) {
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
        let open_day = self.open_day.due(now_us());
        let runs = self
            .shared
            .ledger
            .due(&ASSETS.map(PositionTable::name), &self.asked, self.looked_us);
        let due = async {
            tokio::select! {
                () = open_day => {}
                () = runs => {}
            }
        };
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
            asked: shared.ledger.subscribe_asked(),
            looked_us: 0,
            shared,
            follower,
            performance,
        }
    }

    /// The runs by day that may begin now, and `look` with these days alone: those that are dirty, and from the first on that an operator
    /// asked for; until the first that has to wait, for the others hang on it.
    async fn plan(&self, look: &mut PositionsLook) -> Result<BTreeMap<i32, Vec<Run>>, DeriveFailure> {
        let ledger = self.shared.ledger.clone();
        let sources = [SilverTable::Trades.name()];
        let dirty = look.days().first().copied();
        let asked = ledger.asked(&ASSETS.map(PositionTable::name), &sources);
        if let Some(first) = asked.first() {
            look.from_day(*first);
        }
        let trigger = |day: &i32| match dirty.is_some_and(|first| *day >= first) {
            true if look.final_days().contains(day) => Some(Trigger::Final),
            true => Some(Trigger::Inputs),
            false if asked.contains(day) => None,
            false => Some(Trigger::Operator),
        };
        let works = look.days().iter().flat_map(|day| {
            ASSETS.map(|asset| DayWork {
                partition: Partition {
                    asset: asset.name().to_owned(),
                    day: *day,
                    inputs: look.versions(*day),
                    logic: LOGIC_VERSION,
                },
                trigger: trigger(day),
            })
        });
        let work: Vec<DayWork> = works.collect();
        let runs = blocking(move || ledger.plan(&ASSETS.map(PositionTable::name), &sources, &work, true)).await?;
        if let Some(waits) = look.days().iter().copied().find(|day| !runs.contains_key(day)) {
            look.until_day(waits);
        }
        Ok(runs)
    }

    /// Computes the next days, so many, and commits them.
    async fn unit(
        &self,
        look: PositionsLook,
        days: usize,
        started: Instant,
    ) -> Result<(PositionsLook, Commits), DeriveFailure> {
        let (look, computed) = self.compute(look, days).await?;
        let commits = match computed {
            Some(computed) => self.commit(&computed, started).await?,
            None => Commits::new(),
        };
        Ok((look, commits))
    }

    /// Computes the next days.
    async fn compute(
        &self,
        look: PositionsLook,
        days: usize,
    ) -> Result<(PositionsLook, Option<Computed>), DeriveFailure> {
        let (positions, summary) = (self.positions.clone(), summary_of(&self.shared));
        let job = move || {
            let mut look = look;
            let computed = Handle::current().block_on(positions.compute(&mut look, days, &summary));
            computed.map(|computed| (look, computed))
        };
        Ok(blocking(job).await??)
    }

    /// Commits what was computed, and tells.
    async fn commit(&self, computed: &Computed, started: Instant) -> Result<Commits, DeriveFailure> {
        let mut commits = Commits::new();
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
            commits.insert(table.clone(), (done.committed.snapshot_id, done.changed_days.clone()));
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
        Ok(commits)
    }
}

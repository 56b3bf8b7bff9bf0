//! DerivedActor: keeps a table up that is derived from others a day at a time. One actor a table.
//!
//! A watermark says when to look. Which days are computed is always derived from the tables: those whose version in a source is another
//! one than the table records.

pub(crate) mod failure;
pub(crate) mod open_day;
pub(crate) mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tapehouse_core::clock::now_us;
use tapehouse_core::freshness::ProducedAt;
use tapehouse_core::ledger::{Outcome, Partition, Run, RunId, Trigger};
use tapehouse_core::watermark::Watermark;
use tapehouse_lake::derived::{Derivation, MAX_DAYS, Refresh};
use tokio::runtime::Handle;
use tokio::sync::watch;

use self::failure::DeriveFailure;
use self::open_day::OpenDay;
use crate::follow::{Cause, Follow, Follower, Published, blocking};
use crate::ledger::{DayWork, live_first};
use crate::progress::TopicState;
use crate::settings::DerivedSettings;
use crate::silver::batch::summary_of;
use crate::silver::progress::SilverRows;
use crate::supervisor::Shared;

/// Days that are over are computed at once; commits that come together are taken together.
pub(crate) const TOGETHER: Duration = Duration::from_millis(200);

/// The actor.
pub(crate) struct DerivedActor {
    shared: Shared,
    settings: DerivedSettings,
    follower: Follower,
    open_day: OpenDay,
    asked: watch::Receiver<u64>,
    looked_us: i64,
}

/// What a commit left.
struct Done {
    snapshot: Option<i64>,
    changed: BTreeSet<i32>,
}

impl Follow for DerivedActor {
    type Failure = DeriveFailure;

    fn follower(&mut self) -> &mut Follower {
        &mut self.follower
    }

    /// Computes all days that are not as their sources are now; the open day not more often than it may be.
    async fn pass(&mut self) -> Result<(), DeriveFailure> {
        self.asked.borrow_and_update();
        self.looked_us = now_us();
        let derivation = self.derivation();
        let Some(mut refresh) = derivation.look(self.looked_us).await? else {
            return Ok(());
        };
        let rows = refresh.table().live_rows().unwrap_or(0);
        self.follower.progress.set_table_rows(rows);
        self.open_day.ends_at(refresh.next_final_us());
        if self.settings.table.is_gold() {
            let now = Instant::now();
            let may_compute_open = self.follower.is_asked() || self.open_day.may_be_computed(now);
            let open = refresh.open_days().clone();
            let waits = !may_compute_open && refresh.days().iter().any(|day| open.contains(day));
            refresh.retain(|day| may_compute_open || !open.contains(&day));
            self.open_day.waits(waits);
        }
        let runs = self.plan(&mut refresh).await?;
        for days in live_first(&runs, MAX_DAYS) {
            if *self.shared.stopping.borrow() {
                break;
            }
            let runs: Vec<Run> = days.iter().flat_map(|day| runs[day].iter().cloned()).collect();
            let ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
            if !self.shared.ledger.begin(&ids, &self.shared.stopping).await {
                continue;
            }
            self.follower.progress.set_state(TopicState::Running);
            let started = Instant::now();
            match self.refresh(&derivation, &refresh, &days).await {
                Ok(done) => {
                    let outcome = |run: &Run| Outcome {
                        snapshot: done.snapshot,
                        changed: done.changed.contains(&run.day),
                        provisional: refresh.open_days().contains(&run.day),
                    };
                    unit::succeeded(&self.shared, &runs, outcome).await;
                }
                Err(failure) => unit::attempt_failed(&self.shared, &runs, days.len(), failure).await?,
            }
            if days.iter().any(|day| refresh.open_days().contains(day)) {
                self.open_day.computed(started, Instant::now());
            }
        }
        Ok(())
    }

    async fn cause(&mut self) -> Cause {
        let sources = self.settings.table.sources();
        let touches = |watermark: &Watermark| {
            let has_days = watermark.touched.days().is_some_and(|days| !days.is_empty());
            has_days && sources.contains(&watermark.table.as_str())
        };
        let debounce = match self.settings.table.is_gold() {
            true => TOGETHER,
            false => self.settings.debounce,
        };
        let open_day = self.open_day.due(now_us());
        let asset = [self.settings.table.name()];
        let runs = self.shared.ledger.due(&asset, &self.asked, self.looked_us);
        let due = async {
            tokio::select! {
                () = open_day => {}
                () = runs => {}
            }
        };
        self.follower.cause(debounce, touches, due).await
    }
}

impl DerivedActor {
    pub(crate) fn new(shared: Shared, settings: DerivedSettings, follower: Follower) -> Self {
        Self {
            open_day: OpenDay::new(settings.debounce),
            asked: shared.ledger.subscribe_asked(),
            looked_us: 0,
            shared,
            settings,
            follower,
        }
    }

    fn derivation(&self) -> Derivation {
        let cluster = self.shared.settings.cluster.as_str();
        Derivation::new(self.shared.lake.clone(), self.settings.table, cluster)
    }

    /// The runs by day that may begin now: of days that are dirty, and of those that an operator asked for.
    async fn plan(&self, refresh: &mut Refresh) -> Result<BTreeMap<i32, Vec<Run>>, DeriveFailure> {
        let (table, ledger) = (self.settings.table, self.shared.ledger.clone());
        let dirty: BTreeSet<i32> = refresh.days().iter().copied().collect();
        refresh.also(ledger.asked(&[table.name()], table.sources()));
        let trigger = |day: &i32| match refresh.final_days().contains(day) {
            true => Trigger::Final,
            false => Trigger::Inputs,
        };
        let work = refresh.days().iter().map(|day| DayWork {
            partition: Partition {
                asset: table.name().to_owned(),
                day: *day,
                inputs: refresh.versions(*day),
                logic: table.logic_version(),
            },
            trigger: dirty.contains(day).then(|| trigger(day)),
        });
        let work: Vec<DayWork> = work.collect();
        Ok(blocking(move || ledger.plan(&[table.name()], table.sources(), &work, false)).await?)
    }

    /// Computes these days in one commit.
    async fn refresh(&self, derivation: &Derivation, refresh: &Refresh, days: &[i32]) -> Result<Done, DeriveFailure> {
        let started = Instant::now();
        let summary = summary_of(&self.shared);
        let job = {
            let (derivation, refresh, days) = (derivation.clone(), refresh.clone(), days.to_vec());
            move || Handle::current().block_on(derivation.compute(&refresh, &days, summary))
        };
        let refreshed = blocking(job).await??;
        let commit = || async { Ok(derivation.commit(&refreshed).await?) };
        // Where it is committed already, another node has computed them from the same sources.
        let Some(committed) = self.follower.commit::<DeriveFailure, _>(commit).await? else {
            return Ok(Done {
                snapshot: None,
                changed: BTreeSet::new(),
            });
        };
        let changed: BTreeSet<i32> = refreshed.changed_days().collect();
        self.follower.published(Published {
            committed: &committed,
            started,
            table_rows: committed.table.live_rows().unwrap_or(0),
            rows: SilverRows {
                written: refreshed.rows,
                ..SilverRows::default()
            },
            rules: &BTreeMap::new(),
            produced_at: &ProducedAt::default(),
            days: changed.clone(),
        });
        tracing::debug!(
            node = self.shared.settings.node, run_id = %self.shared.run_id, actor = "derived", table = self.settings.table.name(),
            snapshot_id = committed.snapshot_id, days = refreshed.computed, changed = changed.len(),
            rows = refreshed.rows, ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), "computed");
        Ok(Done {
            snapshot: Some(committed.snapshot_id),
            changed,
        })
    }
}

//! DerivedActor: keeps a table up that is derived from others a day at a time. One actor a table.
//!
//! A watermark says when to look. Which days are computed is always derived from the tables: those whose version in a source is another
//! one than the table records.

pub(crate) mod failure;
pub(crate) mod open_day;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tapehouse_core::clock::now_us;
use tapehouse_core::freshness::ProducedAt;
use tapehouse_core::watermark::Watermark;
use tapehouse_lake::derived::{Derivation, MAX_DAYS, Refresh};
use tokio::runtime::Handle;

use self::failure::DeriveFailure;
use self::open_day::OpenDay;
use crate::follow::{Cause, Follow, Follower, Published, blocking};
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
}

impl Follow for DerivedActor {
    type Failure = DeriveFailure;

    fn follower(&mut self) -> &mut Follower {
        &mut self.follower
    }

    /// Computes all days that are not as their sources are now; the open day not more often than it may be.
    async fn pass(&mut self) -> Result<(), DeriveFailure> {
        let derivation = self.derivation();
        let Some(mut refresh) = derivation.look(now_us()).await? else {
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
        for days in refresh.days().chunks(MAX_DAYS) {
            if *self.shared.stopping.borrow() {
                break;
            }
            self.follower.progress.set_state(TopicState::Running);
            let started = Instant::now();
            self.refresh(&derivation, &refresh, days).await?;
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
        let due = self.open_day.due(now_us());
        self.follower.cause(debounce, touches, due).await
    }
}

impl DerivedActor {
    pub(crate) fn new(shared: Shared, settings: DerivedSettings, follower: Follower) -> Self {
        Self {
            open_day: OpenDay::new(settings.debounce),
            shared,
            settings,
            follower,
        }
    }

    fn derivation(&self) -> Derivation {
        let cluster = self.shared.settings.cluster.as_str();
        Derivation::new(self.shared.lake.clone(), self.settings.table, cluster)
    }

    /// Computes these days in one commit.
    async fn refresh(&self, derivation: &Derivation, refresh: &Refresh, days: &[i32]) -> Result<(), DeriveFailure> {
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
            return Ok(());
        };
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
            days: refreshed.changed_days().collect(),
        });
        tracing::debug!(
            node = self.shared.settings.node, run_id = %self.shared.run_id, actor = "derived", table = self.settings.table.name(),
            snapshot_id = committed.snapshot_id, days = refreshed.computed, changed = refreshed.changed_days().count(),
            rows = refreshed.rows, ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), "computed");
        Ok(())
    }
}

//! TraderActivityActor: keeps `silver.trader_activity` up with `silver.trades`.
//!
//! A watermark says when to look: some time after the first touch of a day, and where an hour ends. Which days are computed is always
//! derived from the two tables: those whose version in `silver.trades` is another one than `silver.trader_activity` records.

mod failure;

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Instant;

use tapehouse_core::freshness::ProducedAt;
use tapehouse_core::watermark::Watermark;
use tapehouse_lake::silver::activity::{MAX_DAYS, Refresh, TABLE, TraderActivity};
use tokio::runtime::Handle;

use self::failure::ActivityFailure;
use crate::follow::{Cause, Follow, Follower, Published, blocking};
use crate::progress::TopicState;
use crate::settings::ActivitySettings;
use crate::silver::batch::summary_of;
use crate::silver::progress::SilverRows;
use crate::supervisor::Shared;

/// The actor.
pub(crate) struct TraderActivityActor {
    pub(crate) shared: Shared,
    pub(crate) settings: ActivitySettings,
    pub(crate) follower: Follower,
}

impl Follow for TraderActivityActor {
    type Failure = ActivityFailure;

    fn follower(&mut self) -> &mut Follower {
        &mut self.follower
    }

    /// Computes all days that are not as the trades are now.
    async fn pass(&mut self) -> Result<(), ActivityFailure> {
        let derivation = self.derivation();
        let Some(refresh) = derivation.look().await? else {
            return Ok(());
        };
        let rows = refresh.table().live_rows().unwrap_or(0);
        self.follower.progress.set_table_rows(rows);
        for days in refresh.days().chunks(MAX_DAYS) {
            if *self.shared.stopping.borrow() {
                break;
            }
            self.follower.progress.set_state(TopicState::Running);
            self.refresh(&derivation, &refresh, days).await?;
        }
        Ok(())
    }

    async fn cause(&mut self) -> Cause {
        let source = self.settings.source.to_string();
        let touches = |watermark: &Watermark| {
            let has_days = watermark.touched.days().is_some_and(|days| !days.is_empty());
            has_days && watermark.table == source
        };
        self.follower.cause(self.settings.debounce, touches, pending()).await
    }
}

impl TraderActivityActor {
    fn derivation(&self) -> TraderActivity {
        TraderActivity {
            lake: self.shared.lake.clone(),
            ident: self.settings.table.clone(),
            source: self.settings.source.clone(),
            owner: self.shared.settings.cluster.clone(),
        }
    }

    /// Computes these days in one commit.
    async fn refresh(
        &self,
        derivation: &TraderActivity,
        refresh: &Refresh,
        days: &[i32],
    ) -> Result<(), ActivityFailure> {
        let started = Instant::now();
        let summary = summary_of(&self.shared);
        let job = {
            let (derivation, refresh, days) = (derivation.clone(), refresh.clone(), days.to_vec());
            move || Handle::current().block_on(derivation.compute(&refresh, &days, summary))
        };
        let refreshed = blocking(job).await??;
        let commit = || async { Ok(derivation.commit(&refreshed).await?) };
        // Where it is committed already, another node has computed them from the same trades.
        let Some(committed) = self.follower.commit::<ActivityFailure, _>(commit).await? else {
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
            node = self.shared.settings.node, run_id = %self.shared.run_id, actor = "trader_activity", table = TABLE,
            snapshot_id = committed.snapshot_id, days = refreshed.computed, changed = refreshed.changed_days().count(),
            rows = refreshed.rows, ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), "computed");
        Ok(())
    }
}

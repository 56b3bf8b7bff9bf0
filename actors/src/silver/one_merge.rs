//! One merge: rows of bronze are read and cleaned, planned, encoded, committed; and what follows.

use crate::follow::{Published, blocking};
use crate::settings::SilverSettings;
use crate::silver::batch::Batch;
use crate::silver::failure::SilverFailure;
use crate::silver::portion::Portion;
use crate::silver::quarantine::Decided;
use crate::silver_merge::SilverMerge;
use std::time::Instant;
use tapehouse_core::merge::MergeRequest;
use tapehouse_lake::silver::clean::{RULES_VERSION, Waivers, clean};
use tapehouse_lake::silver::merge::{KeyedRows, Merger};
use tapehouse_lake::silver::quarantine::entries_of;
use tapehouse_lake::silver::source::BronzeRows;
use tapehouse_lake::{Lake, LoadedTable};
use tokio::runtime::Handle;

/// What a merge leaves.
pub(crate) enum After {
    Merged(Merger),
    /// Another node had merged it: the table was opened anew.
    Opened(Merger),
}

impl SilverMerge {
    /// Merges this portion in one commit.
    pub(crate) async fn merge_chunk(
        &self,
        merger: Merger,
        bronze: &LoadedTable,
        portion: Portion,
        decided: &Decided,
    ) -> Result<After, SilverFailure> {
        let started = Instant::now();
        let cleaning = Cleaning {
            lake: self.shared.lake.clone(),
            bronze: bronze.clone(),
            settings: self.settings.clone(),
            portion: portion.clone(),
            waivers: decided.decisions.waivers.clone(),
        };
        let job = move || {
            let batch = Handle::current().block_on(cleaning.run())?;
            let rows: Vec<KeyedRows<'_>> = batch.keyed().collect();
            let plan = merger.plan(&rows)?;
            let files = merger.encode(&plan, &rows)?;
            Ok::<_, SilverFailure>((merger, batch, plan, files))
        };
        let (mut merger, mut batch, plan, files) = blocking(job).await??;
        self.record_quarantined(merger.state(), &mut batch, &portion, decided.known())
            .await?;
        let rows = batch.rows(&plan);
        let request = MergeRequest {
            owner: self.shared.settings.cluster.clone(),
            source: self.settings.source.to_string(),
            rules: RULES_VERSION,
            ranges: portion.ranges,
            decisions: portion.decisions,
        };
        let summary = batch.summary(&rows, &self.shared);
        let staged = merger.stage(plan, files, request, summary).await?;
        let (replaced, days) = (staged.replaced(), staged.touched_days().clone());
        let commit = || async { Ok(merger.commit(&staged).await?) };
        let Some(committed) = self.follower.commit::<SilverFailure, _>(commit).await? else {
            // Another node has merged them: what it wrote is not in this index.
            return Ok(After::Opened(self.open().await?));
        };
        let job = move || {
            merger.follow(&staged, &committed)?;
            merger.sweep().map(|()| (merger, committed))
        };
        let (merger, committed) = blocking(job).await??;
        let merged = Published {
            committed: &committed,
            started,
            table_rows: merger.live_rows(),
            rows,
            rules: batch.rules(),
            produced_at: batch.produced_at(),
            days,
        };
        self.merged(merged, replaced);
        Ok(After::Merged(merger))
    }

    fn merged(&self, merged: Published<'_>, replaced: u64) {
        let (rows, table) = (merged.rows, self.settings.table.name());
        let (snapshot_id, started) = (merged.committed.snapshot_id, merged.started);
        self.follower.published(merged);
        tracing::debug!(
            node = self.shared.settings.node, run_id = %self.shared.run_id, actor = "silver_merge", table,
            snapshot_id, input = rows.input, written = rows.written, deduplicated = rows.deduplicated,
            dropped = rows.dropped, quarantined = rows.quarantined, replaced,
            ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), "merged");
    }
}

/// Reading and cleaning the rows of a portion.
struct Cleaning {
    lake: Lake,
    bronze: LoadedTable,
    settings: SilverSettings,
    portion: Portion,
    waivers: Waivers,
}

impl Cleaning {
    async fn run(self) -> Result<Batch, SilverFailure> {
        let SilverSettings {
            table, rules, source, ..
        } = &self.settings;
        let (portion, source) = (&self.portion, source.to_string());
        let mut batch = Batch::default();
        for ranges in portion.reads() {
            let mut rows = BronzeRows::of(&self.lake, &self.bronze, table.source_columns(), ranges).await?;
            while let Some(read) = rows.next().await? {
                let read = portion.select(read)?;
                batch.seen(&read);
                let cleaned = clean(*table, rules, &self.waivers, &read)?;
                let after = |record| portion.decision_about(record);
                let entries = entries_of(*table, &source, &read, &cleaned.quarantined, after)?;
                batch.add(cleaned, entries);
            }
        }
        Ok(batch)
    }
}

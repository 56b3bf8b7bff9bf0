//! One merge: rows of bronze are read and cleaned, planned, encoded, committed; and what follows.

use crate::settings::SilverSettings;
use crate::silver::batch::Batch;
use crate::silver::failure::SilverFailure;
use crate::silver::portion::Portion;
use crate::silver::progress::SilverRows;
use crate::silver::quarantine::Decided;
use crate::silver_merge::{SilverMerge, blocking};
use std::collections::BTreeSet;
use std::time::Instant;
use tapehouse_core::clock::now_ms;
use tapehouse_core::merge::MergeRequest;
use tapehouse_core::watermark::{Touched, Watermark};
use tapehouse_lake::commit::Committed;
use tapehouse_lake::silver::clean::{RULES_VERSION, Waivers, clean};
use tapehouse_lake::silver::merge::{KeyedRows, MergeError, Merger, Staged, StagedCompaction};
use tapehouse_lake::silver::quarantine::entries_of;
use tapehouse_lake::silver::source::BronzeRows;
use tapehouse_lake::{Lake, LoadedTable};
use tokio::runtime::Handle;

/// What is committed.
#[derive(Clone, Copy)]
pub(crate) enum Attempt<'a> {
    Merge(&'a Staged),
    Compaction(&'a StagedCompaction),
}

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
        let Some(committed) = self.until_certain(&merger, Attempt::Merge(&staged)).await? else {
            // Another node has merged them: what it wrote is not in this index.
            let commits = &self.shared.metrics.commits;
            commits
                .with_label_values(&[self.settings.table.name(), "already_committed"])
                .inc();
            return Ok(After::Opened(self.open().await?));
        };
        let job = move || {
            merger.follow(&staged, &committed)?;
            merger.sweep().map(|()| (merger, committed))
        };
        let (merger, committed) = blocking(job).await??;
        self.published(
            &merger,
            &committed,
            &Merged {
                rows,
                batch,
                replaced,
                days,
                started,
            },
        );
        Ok(After::Merged(merger))
    }

    /// Repeats what may heal by itself, for ever: the files stay valid, and the commit id keeps them from being committed twice.
    pub(crate) async fn until_certain(
        &self,
        merger: &Merger,
        attempt: Attempt<'_>,
    ) -> Result<Option<Committed>, SilverFailure> {
        let table = self.settings.table.name();
        let mut failures = 0;
        loop {
            self.shared.clock.hold().await;
            let outcome = match attempt {
                Attempt::Merge(staged) => merger.commit(staged).await,
                Attempt::Compaction(staged) => merger.commit_compaction(staged).await.map(Some),
            };
            match outcome {
                Err(MergeError::Commit(error)) if error.is_retryable() => {
                    failures += 1;
                    let failure = SilverFailure::Merge(MergeError::Commit(error));
                    let delay = self.retry(&failure, failures);
                    tokio::time::sleep(delay).await;
                }
                Err(error) => {
                    self.shared.metrics.commits.with_label_values(&[table, "refused"]).inc();
                    return Err(error.into());
                }
                Ok(committed) => return Ok(committed),
            }
        }
    }

    /// Everything that follows a commit, none of which correctness depends on.
    fn published(&self, merger: &Merger, committed: &Committed, merged: &Merged) {
        let (table, metrics) = (self.settings.table.name(), &self.shared.metrics);
        let Merged {
            rows,
            batch,
            replaced,
            days,
            started,
        } = merged;
        let visible_ms = now_ms();
        metrics.commits.with_label_values(&[table, "committed"]).inc();
        metrics.conflicts(table, committed.attempts);
        metrics
            .asset_seconds
            .with_label_values(&[table])
            .observe(started.elapsed().as_secs_f64());
        metrics.visible(table, visible_ms, batch.produced_at());
        let live = merger.live_rows();
        metrics
            .table_rows
            .with_label_values(&[table])
            .set(i64::try_from(live).unwrap_or(i64::MAX));
        metrics.merged(table, rows, batch.rules());
        self.progress.set_table_rows(live);
        self.progress.committed(rows, visible_ms, batch.produced_at());
        // Without subscribers there is nobody to tell; a watermark is only a hint.
        let _ = self.shared.watermarks.send(Watermark {
            table: table.to_owned(),
            snapshot: committed.snapshot_id,
            rows: rows.written,
            touched: Touched::Days(days.clone()),
        });
        tracing::debug!(
            node = self.shared.settings.node, run_id = %self.shared.run_id, actor = "silver_merge", table,
            snapshot_id = committed.snapshot_id, input = rows.input, written = rows.written, deduplicated = rows.deduplicated,
            dropped = rows.dropped, quarantined = rows.quarantined, replaced,
            ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), "merged");
    }
}

/// A merge that is in the table.
struct Merged {
    rows: SilverRows,
    batch: Batch,
    replaced: u64,
    days: BTreeSet<i32>,
    started: Instant,
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

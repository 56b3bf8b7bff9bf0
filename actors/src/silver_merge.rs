//! SilverMergeActor: keeps one silver table up with its bronze table.
//!
//! A watermark says "look"; what to merge is always derived from the two tables: from the offsets that silver records to those that
//! bronze records. Whatever fails, the table is opened again and the same is derived anew.

use std::time::{Duration, Instant};

use tapehouse_core::chunk::{BronzeOffsets, next_chunk};
use tapehouse_core::merge::MergeState;
use tapehouse_core::watermark::Watermark;
use tapehouse_lake::LoadedTable;
use tapehouse_lake::index::IndexSettings;
use tapehouse_lake::silver::clean::RULES_VERSION;
use tapehouse_lake::silver::merge::{KeyedTable, Merger};
use tapehouse_lake::silver::source::bronze_offsets;
use tokio::runtime::Handle;

use crate::follow::{Cause, Follow, Follower, blocking};
use crate::progress::TopicState;
use crate::settings::SilverSettings;
use crate::silver::compactor::Compactor;
use crate::silver::failure::SilverFailure;
use crate::silver::one_merge::After;
use crate::silver::portion::Portion;
use crate::silver::quarantine::{Decided, more_decisions};
use crate::supervisor::Shared;

/// Offsets merged in one commit at most: what bounds the memory of a merge.
const MAX_OFFSETS: u64 = 200_000;

/// One silver table's actor.
pub(crate) struct SilverMerge {
    pub(crate) shared: Shared,
    pub(crate) settings: SilverSettings,
    pub(crate) follower: Follower,
    /// Nothing before the first pass, nor after one that failed.
    open: Option<Open>,
}

impl Follow for SilverMerge {
    type Failure = SilverFailure;

    fn follower(&mut self) -> &mut Follower {
        &mut self.follower
    }

    async fn pass(&mut self) -> Result<(), SilverFailure> {
        let mut open = self.open.take();
        self.merge(&mut open).await?;
        self.open = open;
        Ok(())
    }

    async fn cause(&mut self) -> Cause {
        let known = self.open.as_ref().map_or(0, |open| open.decided.known());
        let decided = more_decisions(&self.shared.lake, self.settings.table, known);
        let compactor = self.open.as_mut().and_then(|open| open.compactor.as_mut());
        let compacted = async {
            match compactor {
                Some(compactor) => compactor.over().await,
                None => std::future::pending().await,
            }
        };
        let other = async {
            tokio::select! {
                () = compacted => {}
                () = decided => {}
            }
        };
        let source = self.settings.source.to_string();
        let touches = |watermark: &Watermark| watermark.table == source;
        self.follower.cause(Duration::ZERO, touches, other).await
    }
}

impl SilverMerge {
    pub(crate) fn new(shared: Shared, settings: SilverSettings, follower: Follower) -> Self {
        Self {
            shared,
            settings,
            follower,
            open: None,
        }
    }

    /// Merges all that bronze has now and silver has not.
    async fn merge(&self, open: &mut Option<Open>) -> Result<(), SilverFailure> {
        // Before bronze: then bronze has every record that was decided about.
        let decided = open
            .as_mut()
            .map(|open| std::mem::take(&mut open.decided))
            .unwrap_or_default();
        let decided = decided.look(&self.shared.lake, self.settings.table).await?;
        let Some(bronze) = self.shared.lake.load(&self.settings.source).await? else {
            return Ok(());
        };
        let (mut merger, known, mut compactor) = match open.take() {
            Some(open) => (open.merger, Some(open.offsets), open.compactor),
            None => (self.open().await?, None, self.compactor()),
        };
        self.follower.progress.set_table_rows(merger.live_rows());
        let offsets = self.offsets(&merger, &bronze, known).await?;
        while let Some(ranges) = next_chunk(merger.state(), &offsets, MAX_OFFSETS)? {
            if *self.shared.stopping.borrow() {
                break;
            }
            self.follower.progress.set_state(TopicState::Running);
            let portion = Portion::of_ranges(ranges);
            (merger, compactor) = self.step(merger, compactor, &bronze, portion, &decided).await?;
        }
        while let Some(portion) = decided.open(merger.state()) {
            if *self.shared.stopping.borrow() {
                break;
            }
            (merger, compactor) = self.step(merger, compactor, &bronze, portion, &decided).await?;
        }
        merger = self.compact(merger, compactor.as_mut()).await?;
        *open = Some(Open {
            merger,
            offsets,
            compactor,
            decided,
        });
        Ok(())
    }

    /// Merges a portion, and what compaction has to do between two of them.
    async fn step(
        &self,
        merger: Merger,
        mut compactor: Option<Compactor>,
        bronze: &LoadedTable,
        portion: Portion,
        decided: &Decided,
    ) -> Result<(Merger, Option<Compactor>), SilverFailure> {
        let merger = match self.merge_chunk(merger, bronze, portion, decided).await? {
            After::Merged(merger) => merger,
            After::Opened(merger) => {
                // What is compacted meanwhile is not of this list of files.
                compactor = self.compactor();
                merger
            }
        };
        Ok((self.compact(merger, compactor.as_mut()).await?, compactor))
    }

    /// What bronze says of its offsets. Of former incarnations it may have to decode files, where `known` does not say it.
    async fn offsets(
        &self,
        merger: &Merger,
        bronze: &LoadedTable,
        known: Option<BronzeOffsets>,
    ) -> Result<BronzeOffsets, SilverFailure> {
        let (lake, bronze, cursor) = (self.shared.lake.clone(), bronze.clone(), merger.state().clone());
        let job = move || Handle::current().block_on(bronze_offsets(&lake, &bronze, &cursor, known.as_ref()));
        Ok(blocking(job).await??)
    }

    pub(crate) async fn open(&self) -> Result<Merger, SilverFailure> {
        let started = Instant::now();
        let settings = &self.shared.settings;
        let (lake, table) = (self.shared.lake.clone(), self.settings.table);
        let name = table.name();
        let state = MergeState::new(&settings.cluster, self.settings.source.to_string(), RULES_VERSION);
        let index = IndexSettings::new(settings.state_dir.join("state").join("index").join(name));
        let job = move || Handle::current().block_on(Merger::open(&lake, &KeyedTable::of(table), &state, index));
        let merger = blocking(job).await??;
        tracing::info!(
            node = settings.node,
            actor = "silver_merge",
            table = name,
            rows = merger.live_rows(),
            files = merger.data_files(),
            seconds = started.elapsed().as_secs_f64(),
            "opened"
        );
        Ok(merger)
    }
}

/// What is kept from one pass to the next.
struct Open {
    merger: Merger,
    /// What bronze said last; of a cursor that went back it would say too little.
    offsets: BronzeOffsets,
    compactor: Option<Compactor>,
    /// What was decided about rows set aside, as far as it was looked at.
    decided: Decided,
}

//! Compactions between the rounds of a stream.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use tapehouse_lake::commit::Committed;
use tapehouse_lake::compaction::CompactionSettings;
use tapehouse_lake::silver::merge::{Compacted, Merger};

/// Compacts whatever can be.
const SMALL: CompactionSettings = CompactionSettings {
    fan_in: 2,
    target_bytes: 1 << 20,
    small_rows: 8,
    max_deleted_share: 0.3,
};

/// Files are compacted in one round and committed in a later one: meanwhile rows of them are deleted.
#[derive(Debug, Default)]
pub struct Compactions {
    pub pending: Option<Compacted>,
    pub committed: usize,
    pub with_late_deletes: usize,
}

impl Compactions {
    /// What there is to do in a round; the commit, if it has one.
    pub async fn turn(&mut self, merger: &mut Merger, round: usize) -> Option<Committed> {
        let mut done = None;
        if round % 3 == 2
            && let Some(compacted) = self.pending.take()
        {
            done = Some(self.commit(merger, compacted).await);
        }
        if self.pending.is_none()
            && let Some(compaction) = merger.plan_compaction(&SMALL)
        {
            self.pending = compaction.run(&AtomicBool::new(false)).await.unwrap();
        }
        done
    }

    async fn commit(&mut self, merger: &mut Merger, compacted: Compacted) -> Committed {
        let (rows, files) = (merger.live_rows(), merger.data_files());
        let staged = merger.stage_compaction(compacted, BTreeMap::new()).await.unwrap();
        let (inputs, outputs) = (staged.inputs(), staged.outputs());
        self.with_late_deletes += usize::from(staged.has_deletes());
        let committed = merger.commit_compaction(&staged).await.unwrap();
        merger.follow_compaction(staged, &committed).unwrap();
        assert_eq!(merger.live_rows(), rows);
        assert_eq!(merger.data_files(), files - inputs + outputs);
        self.committed += 1;
        committed
    }
}

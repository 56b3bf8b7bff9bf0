//! How far a silver table is behind its bronze table, from the two tables alone.

use std::collections::BTreeMap;

use tapehouse_core::chunk::END_OF_INCARNATION;
use tapehouse_core::merge::MergeState;
use tapehouse_core::offsets::{Offset, PartitionId};
use tapehouse_core::state::{STATE_PROPERTY, StreamState};
use tapehouse_lake::commit::{FirstOffsets, first_offsets};
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::{LoadedTable, SnapshotRef, StateError};

use crate::view::TableSize;

/// Prefixes of entries of a commit's summary that count rows by rule.
const DROPPED: &str = "tapehouse.dropped.";
const QUARANTINED: &str = "tapehouse.quarantined.";
const DEDUPLICATED: &str = "tapehouse.deduplicated";

/// A silver table beside its bronze table.
#[derive(Clone, Debug)]
pub struct SilverView {
    /// Which table.
    pub kind: SilverTable,
    /// The bronze table.
    pub source: String,
    /// The table; `None` where there is none yet.
    pub table: Option<MergedView>,
    /// Rows of the bronze table.
    pub source_rows: u64,
}

/// What the table says.
#[derive(Clone, Debug)]
pub struct MergedView {
    /// Sizes.
    pub size: TableSize,
    /// Delete files.
    pub delete_files: u64,
    /// The cursor, or why it cannot be used.
    pub state: Result<MergeState, StateError>,
    /// Partitions of the topic's incarnation of now, as far as bronze's offsets can be believed.
    pub partitions: Vec<MergedPartition>,
    /// Partitions of former incarnations that are not merged to their end; how many rows that is nobody records.
    pub former_open: u64,
    /// Since when bronze has what silver lacks, in milliseconds since 1970-01-01 UTC: as exactly as the retained snapshots tell.
    pub behind_since_ms: Option<i64>,
    /// What became of rows, over the retained commits.
    pub counts: RetainedCounts,
}

/// Rows of the commits whose snapshots are retained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetainedCounts {
    /// Rows that lost to later ones of their key.
    pub deduplicated: u64,
    /// Dropped, by rule.
    pub dropped: BTreeMap<String, u64>,
    /// Quarantined, by rule.
    pub quarantined: BTreeMap<String, u64>,
}

/// One partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergedPartition {
    /// Incarnation of the topic.
    pub incarnation: i32,
    /// The partition.
    pub partition: PartitionId,
    /// Next offset to be merged; `None` where nothing of it was.
    pub merged: Option<Offset>,
    /// Next offset that bronze has not.
    pub source: Offset,
    /// Where bronze began.
    first: Offset,
}

impl MergedPartition {
    /// Offsets of bronze that are not merged.
    pub fn lag(&self) -> u64 {
        u64::try_from(self.source - self.merged.unwrap_or(self.first)).unwrap_or(0)
    }

    /// Whether bronze lacks what is merged: it was rolled back.
    pub fn is_source_behind(&self) -> bool {
        self.merged.is_some_and(|merged| merged > self.source)
    }
}

impl SilverView {
    /// The silver table `silver` (`None`: there is none) beside `bronze`.
    pub fn of(kind: SilverTable, silver: Option<&LoadedTable>, bronze: &LoadedTable) -> Self {
        Self {
            kind,
            source: bronze.ident().to_string(),
            table: silver.map(|silver| MergedView::of(silver, bronze)),
            source_rows: bronze.live_rows().unwrap_or(0),
        }
    }

    /// Offsets of bronze that are not merged.
    pub fn lag(&self) -> u64 {
        let partitions = self.table.iter().flat_map(|table| &table.partitions);
        partitions.map(MergedPartition::lag).sum()
    }
}

impl MergedView {
    fn of(silver: &LoadedTable, bronze: &LoadedTable) -> Self {
        let state = silver.merge_state();
        let size = TableSize::of(silver);
        let mut view = Self {
            delete_files: silver.summary().delete_files.unwrap_or(0),
            partitions: Vec::new(),
            former_open: 0,
            behind_since_ms: None,
            counts: counts(silver.ancestry()),
            size,
            state,
        };
        let is_of = |cursor: &&MergeState| cursor.source == bronze.ident().to_string();
        if let (Some(cursor), Ok(source)) = (view.state.as_ref().ok().filter(is_of), bronze.stream_state()) {
            let first = first_offsets(bronze).unwrap_or_default();
            view.partitions = partitions(cursor, &source, &first);
            view.former_open = former_open(cursor, &source, &first);
            if view.partitions.iter().any(|partition| partition.lag() > 0) || view.former_open > 0 {
                view.behind_since_ms = behind_since(cursor, bronze.ancestry()).or(view.size.last_commit_ms);
            }
        }
        view
    }
}

/// Partitions of the topic's incarnation of now.
pub(crate) fn partitions(cursor: &MergeState, source: &StreamState, first: &FirstOffsets) -> Vec<MergedPartition> {
    let incarnation = source.incarnation;
    let begun = |partition: &PartitionId| first.get(&incarnation).and_then(|first| first.get(partition)).copied();
    let partition = |(partition, next): (&PartitionId, &Offset)| MergedPartition {
        incarnation,
        partition: *partition,
        merged: cursor.next(incarnation, *partition),
        source: *next,
        first: begun(partition).unwrap_or(0),
    };
    source.next.iter().map(partition).collect()
}

fn former_open(cursor: &MergeState, source: &StreamState, first: &FirstOffsets) -> u64 {
    let former = first.range(..source.incarnation);
    let open = former.flat_map(|(incarnation, first)| {
        let partitions = first.keys();
        partitions.filter(|partition| {
            let next = cursor.next(*incarnation, **partition);
            next.is_none_or(|next| next < END_OF_INCARNATION)
        })
    });
    open.count() as u64
}

/// Time of the first retained snapshot of bronze that has more than silver; `None` where the one before it is not retained.
fn behind_since<'a>(cursor: &MergeState, history: impl Iterator<Item = &'a SnapshotRef>) -> Option<i64> {
    let mut since = None;
    for snapshot in history {
        let recorded = snapshot.summary().additional_properties.get(STATE_PROPERTY);
        let Some(recorded) = recorded.and_then(|text| StreamState::from_json(text).ok()) else {
            continue;
        };
        let is_merged = |(partition, next): (&PartitionId, &Offset)| {
            cursor.next(recorded.incarnation, *partition).unwrap_or(0) >= *next
        };
        if recorded.next.iter().all(is_merged) {
            return since;
        }
        since = Some(snapshot.timestamp_ms());
    }
    None
}

fn counts<'a>(history: impl Iterator<Item = &'a SnapshotRef>) -> RetainedCounts {
    let mut counts = RetainedCounts::default();
    for snapshot in history {
        for (name, value) in &snapshot.summary().additional_properties {
            let Ok(rows) = value.parse::<u64>() else { continue };
            if name == DEDUPLICATED {
                counts.deduplicated += rows;
            } else if let Some(rule) = name.strip_prefix(DROPPED) {
                *counts.dropped.entry(rule.to_owned()).or_default() += rows;
            } else if let Some(rule) = name.strip_prefix(QUARANTINED) {
                *counts.quarantined.entry(rule.to_owned()).or_default() += rows;
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_counted_from_where_bronze_began() {
        let mut source = StreamState::new("c", "t");
        source.incarnation = 1;
        source.next = [(0, 20), (1, 9), (2, 5)].into();
        let mut cursor = MergeState::new("c", "bronze.t", 1);
        cursor.next = [(0, [(0, END_OF_INCARNATION)].into()), (1, [(0, 12), (2, 7)].into())].into();
        let first = [(0, [(0, 0), (1, 0)].into()), (1, [(0, 3), (1, 4)].into())].into();
        let found = partitions(&cursor, &source, &first);
        let lags: Vec<u64> = found.iter().map(MergedPartition::lag).collect();
        assert_eq!(lags, [8, 5, 0]);
        let behind: Vec<bool> = found.iter().map(MergedPartition::is_source_behind).collect();
        assert_eq!(behind, [false, false, true]);
        assert_eq!(former_open(&cursor, &source, &first), 1);
    }
}

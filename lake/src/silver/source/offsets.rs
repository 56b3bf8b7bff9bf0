//! What a bronze table says of its offsets, and what its files say of those that it does not record: of former incarnations.

use std::collections::BTreeMap;

use iceberg::spec::ManifestContentType;
use tapehouse_core::chunk::{BronzeOffsets, ByPartition, END_OF_INCARNATION};
use tapehouse_core::merge::MergeState;
use tapehouse_core::offsets::{OffsetRange, Ranges};

use super::bounds::Bounds;
use super::error::SourceError;
use super::extents::extents_of;
use super::select::{live, of_content, select};
use super::wanted::Wanted;
use crate::commit::{FIRST_OFFSETS_PROPERTY, GAPS_PROPERTY, first_offsets, recorded_gaps};
use crate::lake::Lake;
use crate::table::LoadedTable;

/// Of a file whose bounds span more partitions the partitions are taken from the table's first offsets alone.
const MAX_PARTITIONS: i64 = 100_000;
/// Of a partition that has no row, or none that is not merged.
const NO_ROWS: OffsetRange = OffsetRange { start: 0, end: 0 };

/// The offsets of `table`, a bronze table: what [`tapehouse_core::chunk::next_chunk`] needs to know to go on from `cursor`. `known` is
/// an earlier answer for the same table and cursor, or one before it: what it says of former incarnations, which needs a look at all
/// manifests, is taken over while the incarnation is still the same, for nothing is added to former ones.
///
/// Of former incarnations that are not merged yet the coordinates of their files are read: call it where decoding may block.
///
/// # Errors
/// [`SourceError`].
pub async fn bronze_offsets(
    lake: &Lake,
    table: &LoadedTable,
    cursor: &MergeState,
    known: Option<&BronzeOffsets>,
) -> Result<BronzeOffsets, SourceError> {
    let state = table.stream_state()?;
    let unreadable = |property| {
        let table = table.ident().clone();
        move |source| SourceError::Property {
            table,
            property,
            source,
        }
    };
    let mut offsets = BronzeOffsets {
        first: first_offsets(table).map_err(unreadable(FIRST_OFFSETS_PROPERTY))?,
        gaps: recorded_gaps(table).map_err(unreadable(GAPS_PROPERTY))?,
        state,
        closed: ByPartition::new(),
    };
    match known.filter(|known| known.state.incarnation == offsets.state.incarnation) {
        Some(known) => offsets.closed.clone_from(&known.closed),
        None if offsets.state.incarnation > 0 => offsets.closed = closed(lake, table, cursor, &offsets).await?,
        None => {}
    }
    Ok(offsets)
}

/// Between which offsets the rows of former incarnations lie. Their partitions are those that the bounds of any file admit, also such
/// without rows: a partition that is not known here and not in the first offsets would be passed over. Files without bounds tell
/// nothing: the partitions of their rows are in the table's first offsets.
async fn closed(
    lake: &Lake,
    table: &LoadedTable,
    cursor: &MergeState,
    offsets: &BronzeOffsets,
) -> Result<ByPartition<OffsetRange>, SourceError> {
    let io = lake.io_of(table);
    let schema = table.metadata().current_schema();
    let mut closed = ByPartition::new();
    for (incarnation, first) in offsets.first.range(..offsets.state.incarnation) {
        let empty = first.keys().map(|partition| (*partition, NO_ROWS));
        closed.entry(*incarnation).or_default().extend(empty);
    }
    for manifest in of_content(&table.manifests(&io).await?, ManifestContentType::Data) {
        for entry in live(&*lake.manifest(&io, manifest).await?) {
            note_partitions(
                &mut closed,
                &Bounds::of_file(entry.data_file(), schema),
                offsets.state.incarnation,
            );
        }
    }
    let wanted = Wanted::new(open_ranges(&closed, cursor));
    let selection = select(lake, &io, table, &wanted).await?;
    let files: Vec<_> = selection
        .candidates
        .into_iter()
        .map(|candidate| candidate.file)
        .collect();
    let (extents, _) = extents_of(lake, &io, schema, &files).await?;
    for ((incarnation, partition), extent) in extents.iter().flat_map(|extents| extents.iter()) {
        if *incarnation < offsets.state.incarnation {
            let known = closed.entry(*incarnation).or_default();
            let known = known.entry(*partition).or_insert(*extent);
            *known = match known.is_empty() {
                true => *extent,
                false => OffsetRange::new(known.start.min(extent.start), known.end.max(extent.end)),
            };
        }
    }
    Ok(closed)
}

/// All that may be left of the partitions in `closed`.
fn open_ranges(closed: &ByPartition<OffsetRange>, cursor: &MergeState) -> BTreeMap<i32, Ranges> {
    let open = closed.iter().map(|(&incarnation, partitions)| {
        let ranges = partitions.keys().map(|&partition| {
            let start = cursor.next(incarnation, partition).unwrap_or(0).min(END_OF_INCARNATION);
            (partition, OffsetRange::new(start, END_OF_INCARNATION))
        });
        (incarnation, Ranges(ranges.collect()))
    });
    open.collect()
}

/// Notes the partitions of incarnations before `current` that bounds admit.
fn note_partitions(closed: &mut ByPartition<OffsetRange>, bounds: &Bounds, current: i32) {
    let (Some(incarnations), Some(partitions)) = (&bounds.incarnation, &bounds.partition) else {
        return;
    };
    if partitions.end().saturating_sub(*partitions.start()) >= MAX_PARTITIONS {
        return;
    }
    let last = (*incarnations.end()).min(i64::from(current) - 1);
    for incarnation in (*incarnations.start()).max(0)..=last {
        let Ok(incarnation) = i32::try_from(incarnation) else {
            continue;
        };
        let known = closed.entry(incarnation).or_default();
        for partition in partitions.clone().filter_map(|partition| i32::try_from(partition).ok()) {
            known.entry(partition).or_insert(NO_ROWS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_noted_of_former_incarnations_only() {
        let mut closed = ByPartition::new();
        let mut add = |incarnations, partitions| {
            let bounds = Bounds::from([Some(incarnations), Some(partitions), None]);
            note_partitions(&mut closed, &bounds, 2);
        };
        add(0..=0, 0..=1);
        add(0..=0, 1..=1);
        // Compacted over the adoption.
        add(1..=2, 0..=0);
        add(2..=7, 0..=0);
        add(0..=0, 0..=i64::MAX);
        note_partitions(&mut closed, &Bounds::default(), 2);
        let expected = [(0, [(0, NO_ROWS), (1, NO_ROWS)].into()), (1, [(0, NO_ROWS)].into())];
        assert_eq!(closed, expected.into());
    }
}

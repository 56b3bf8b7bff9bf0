//! The offsets that are wanted, and what can be said of rows, row groups and files about them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array as _, ArrayRef, BooleanArray};
use arrow_schema::ArrowError;
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_core::state::StreamState;

use super::bounds::Bounds;
use super::extents::Extents;

/// Offsets by incarnation and partition.
#[derive(Clone, Debug)]
pub(super) struct Wanted(BTreeMap<i32, Ranges>);

impl Wanted {
    pub fn new(mut ranges: BTreeMap<i32, Ranges>) -> Self {
        for ranges in ranges.values_mut() {
            ranges.0.retain(|_, range| !range.is_empty());
        }
        ranges.retain(|_, ranges| !ranges.is_empty());
        Self(ranges)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn range(&self, incarnation: i64, partition: i64) -> Option<OffsetRange> {
        let ranges = self.0.get(&i32::try_from(incarnation).ok()?)?;
        ranges.0.get(&i32::try_from(partition).ok()?).copied()
    }

    /// Whether rows within `bounds` may be wanted.
    pub fn meets(&self, bounds: &Bounds) -> bool {
        let admits = |bounds: &Option<RangeInclusive<i64>>, value: i32| {
            bounds.as_ref().is_none_or(|bounds| bounds.contains(&i64::from(value)))
        };
        let overlaps = |range: &OffsetRange| {
            let offsets = bounds.offset.as_ref();
            offsets.is_none_or(|offsets| range.start <= *offsets.end() && *offsets.start() < range.end)
        };
        self.0.iter().any(|(incarnation, ranges)| {
            admits(&bounds.incarnation, *incarnation)
                && ranges
                    .0
                    .iter()
                    .any(|(partition, range)| admits(&bounds.partition, *partition) && overlaps(range))
        })
    }

    /// Whether a file of these extents may hold wanted rows.
    pub fn meets_extents(&self, extents: &Extents) -> bool {
        extents.iter().any(|((incarnation, partition), extent)| {
            let range = self.range((*incarnation).into(), (*partition).into());
            range.is_some_and(|range| range.start < extent.end && extent.start < range.end)
        })
    }

    /// Whether all rows within `bounds` are wanted.
    pub fn covers(&self, bounds: &Bounds) -> bool {
        let (Some(incarnations), Some(partitions), Some(offsets)) =
            (&bounds.incarnation, &bounds.partition, &bounds.offset)
        else {
            return false;
        };
        // Ends at the first that is not wanted, so the steps are no more than there are ranges.
        incarnations.clone().all(|incarnation| {
            partitions.clone().all(|partition| {
                let range = self.range(incarnation, partition);
                range.is_some_and(|range| range.contains(*offsets.start()) && range.contains(*offsets.end()))
            })
        })
    }

    /// Whether no wanted row was in the table when it recorded `state`.
    pub fn is_newer_than(&self, state: &StreamState) -> bool {
        self.0
            .iter()
            .all(|(incarnation, ranges)| match incarnation.cmp(&state.incarnation) {
                // Where a former incarnation ended is not recorded.
                std::cmp::Ordering::Less => false,
                std::cmp::Ordering::Greater => true,
                std::cmp::Ordering::Equal => ranges.0.iter().all(|(partition, range)| {
                    let next = state.next.get(partition);
                    next.is_none_or(|next| *next <= range.start)
                }),
            })
    }

    /// Which rows are wanted, by their coordinates.
    pub fn rows(&self, [incarnations, partitions, offsets]: [&ArrayRef; 3]) -> Result<BooleanArray, ArrowError> {
        let typed = || ArrowError::SchemaError("a coordinate has another type".to_owned());
        let int = |array: &'_ ArrayRef| array.as_primitive_opt::<Int32Type>().cloned().ok_or_else(typed);
        let (incarnations, partitions) = (int(incarnations)?, int(partitions)?);
        let offsets = offsets.as_primitive_opt::<Int64Type>().ok_or_else(typed)?;
        let nulls = incarnations.null_count() + partitions.null_count() + offsets.null_count();
        // Rows of one partition lie together: its range is looked up once for all of them.
        let (mut key, mut range) = ((-1, -1), None);
        let is_wanted = |row: usize| {
            if nulls > 0 && (incarnations.is_null(row) || partitions.is_null(row) || offsets.is_null(row)) {
                return false;
            }
            let found = (incarnations.value(row), partitions.value(row));
            if found != key {
                (key, range) = (found, self.range(found.0.into(), found.1.into()));
            }
            range.is_some_and(|range| range.contains(offsets.value(row)))
        };
        let wanted: Vec<bool> = (0..offsets.len()).map(is_wanted).collect();
        Ok(wanted.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int32Array, Int64Array};

    use super::*;

    fn wanted(ranges: &[(i32, i32, i64, i64)]) -> Wanted {
        let mut all: BTreeMap<i32, Ranges> = BTreeMap::new();
        for &(incarnation, partition, start, end) in ranges {
            let ranges = all.entry(incarnation).or_default();
            ranges.0.insert(partition, OffsetRange::new(start, end));
        }
        Wanted::new(all)
    }

    fn bounds(incarnation: RangeInclusive<i64>, partition: RangeInclusive<i64>, offset: RangeInclusive<i64>) -> Bounds {
        Bounds::from([Some(incarnation), Some(partition), Some(offset)])
    }

    #[test]
    fn bounds_admit_and_are_covered_to_the_offset() {
        let all = wanted(&[(0, 0, 10, 20), (0, 1, 10, 20), (1, 3, 0, 5), (2, 0, 7, 7)]);
        for (found, meets, covers) in [
            (bounds(0..=0, 0..=0, 10..=19), true, true),
            (bounds(0..=0, 0..=1, 10..=19), true, true),
            (bounds(0..=0, 0..=0, 9..=19), true, false),
            (bounds(0..=0, 0..=0, 10..=20), true, false),
            (bounds(0..=0, 0..=2, 10..=19), true, false),
            (bounds(0..=1, 0..=0, 10..=19), true, false),
            (bounds(0..=0, 0..=1, 20..=99), false, false),
            (bounds(0..=0, 0..=1, 0..=9), false, false),
            (bounds(0..=0, 3..=9, 0..=99), false, false),
            (bounds(1..=1, 0..=2, 0..=99), false, false),
            (bounds(1..=1, 3..=3, 0..=4), true, true),
            (bounds(2..=2, 0..=0, 7..=7), false, false),
        ] {
            assert_eq!((all.meets(&found), all.covers(&found)), (meets, covers), "{found:?}");
        }
        assert!(all.meets(&Bounds::default()) && !all.covers(&Bounds::default()));
        assert!(wanted(&[(2, 0, 7, 7)]).is_empty());
    }

    #[test]
    fn a_recorded_state_is_a_proof_only_for_what_begins_behind_it() {
        let mut state = StreamState::new("c", "t");
        state.incarnation = 1;
        state.next = [(0, 10), (1, 5)].into();
        for (ranges, is_newer) in [
            (&[(1, 0, 10, 20), (1, 1, 5, 6)][..], true),
            (&[(1, 0, 10, 20), (1, 1, 4, 6)], false),
            (&[(1, 7, 0, 20)], true),
            (&[(2, 0, 0, 20)], true),
            // The former incarnation may have had these rows long before.
            (&[(0, 0, 900, 901), (1, 0, 10, 20)], false),
        ] {
            assert_eq!(wanted(ranges).is_newer_than(&state), is_newer, "{ranges:?}");
        }
    }

    #[test]
    fn rows_are_told_apart_by_all_three_coordinates() {
        let rows = [
            (Some(0), Some(0), Some(10), true),
            (Some(0), Some(0), Some(9), false),
            (Some(0), Some(1), Some(10), false),
            (Some(1), Some(0), Some(10), false),
            (Some(0), Some(0), Some(19), true),
            (None, Some(0), Some(10), false),
            (Some(0), None, Some(10), false),
            (Some(0), Some(0), None, false),
            (Some(0), Some(0), Some(20), false),
        ];
        let columns: [ArrayRef; 3] = [
            Arc::new(Int32Array::from_iter(rows.iter().map(|row| row.0))),
            Arc::new(Int32Array::from_iter(rows.iter().map(|row| row.1))),
            Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.2))),
        ];
        let found = wanted(&[(0, 0, 10, 20)]).rows(columns.each_ref()).unwrap();
        let expected: Vec<bool> = rows.iter().map(|row| row.3).collect();
        assert_eq!(found, BooleanArray::from(expected));
    }
}

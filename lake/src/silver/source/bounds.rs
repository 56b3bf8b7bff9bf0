//! Between which values the coordinates of a data file, or of a part of it, lie.

use std::ops::RangeInclusive;

use iceberg::spec::{DataFile, Schema};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use tapehouse_core::offsets::{OffsetRange, PartitionId};

use super::COORDINATES;
use crate::files::whole_number;

/// Lowest to highest value of each coordinate; `None`: not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub incarnation: Option<RangeInclusive<i64>>,
    pub partition: Option<RangeInclusive<i64>>,
    pub offset: Option<RangeInclusive<i64>>,
}

impl Bounds {
    /// As the manifest says.
    pub fn of_file(file: &DataFile, schema: &Schema) -> Self {
        let bounds = |name| {
            let id = schema.field_id_by_name(name)?;
            let lower = whole_number(file.lower_bounds().get(&id)?)?;
            Some(lower..=whole_number(file.upper_bounds().get(&id)?)?)
        };
        Self::from(COORDINATES.map(bounds))
    }

    /// As the footer says of one row group; `leaves` are the columns of the coordinates.
    pub fn of_row_group(group: &RowGroupMetaData, leaves: &[usize; 3]) -> Self {
        let bounds = |leaf: usize| match group.column(leaf).statistics()? {
            Statistics::Int32(values) => Some(i64::from(*values.min_opt()?)..=i64::from(*values.max_opt()?)),
            Statistics::Int64(values) => Some(*values.min_opt()?..=*values.max_opt()?),
            _ => None,
        };
        Self::from(leaves.map(bounds))
    }
}

impl Bounds {
    /// The one partition that all rows are of, and their offsets; `None` where there are several, or it is not known.
    pub fn single(&self) -> Option<((i32, PartitionId), OffsetRange)> {
        let only = |bounds: &Option<RangeInclusive<i64>>| {
            let bounds = bounds.as_ref()?;
            let is_one = bounds.start() == bounds.end();
            is_one.then(|| i32::try_from(*bounds.start()).ok()).flatten()
        };
        let key = (only(&self.incarnation)?, only(&self.partition)?);
        Some((key, self.offsets()?))
    }

    /// Lowest to highest offset.
    pub fn offsets(&self) -> Option<OffsetRange> {
        let offsets = self.offset.as_ref()?;
        let (start, end) = (*offsets.start(), offsets.end().checked_add(1)?);
        (0 <= start && start < end).then(|| OffsetRange::new(start, end))
    }
}

impl From<[Option<RangeInclusive<i64>>; 3]> for Bounds {
    fn from([incarnation, partition, offset]: [Option<RangeInclusive<i64>>; 3]) -> Self {
        Self {
            incarnation,
            partition,
            offset,
        }
    }
}

/// Whether the footer says that no value of these columns is null.
pub(super) fn has_no_nulls(group: &RowGroupMetaData, leaves: &[usize; 3]) -> bool {
    leaves.iter().all(|leaf| {
        let statistics = group.column(*leaf).statistics();
        statistics.and_then(Statistics::null_count_opt) == Some(0)
    })
}

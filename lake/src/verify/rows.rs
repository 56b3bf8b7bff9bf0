//! I1: each covered offset has at most one row, and no row lies outside what is covered.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array as _, RecordBatch};
use futures::TryStreamExt as _;
use iceberg::io::FileIO;
use iceberg::spec::Schema;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::errors::ParquetError;
use parquet::schema::types::SchemaDescriptor;
use tapehouse_core::coverage::{Inserted, OffsetSet};
use tapehouse_core::offsets::{Offset, OffsetRange, PartitionId};
use tapehouse_core::state::StreamState;

use super::files::LiveFile;
use super::{PartitionReport, Violation};
use crate::commit::{FirstOffsets, Gaps};
use crate::find::leaf;
use crate::ranged::{RangedFile, ReadError};

const BATCH_ROWS: usize = 65_536;
/// Offsets named in one violation; the others are counted.
const MAX_EXAMPLES: usize = 10;
/// The coordinates, in the order in which they are read.
const COLUMNS: [&str; 3] = ["topic_incarnation", "kafka_partition", "kafka_offset"];

/// What the table says that its rows are.
pub(super) struct Expected {
    pub first: FirstOffsets,
    pub gaps: Gaps,
    pub state: Option<StreamState>,
}

impl Expected {
    fn first(&self, incarnation: i32, partition: PartitionId) -> Offset {
        self.first
            .get(&incarnation)
            .and_then(|first| first.get(&partition))
            .copied()
            .unwrap_or(0)
    }

    fn gaps(&self, incarnation: i32, partition: PartitionId) -> Vec<OffsetRange> {
        let gaps = self.gaps.get(&incarnation).and_then(|gaps| gaps.get(&partition));
        gaps.cloned().unwrap_or_default()
    }

    /// `None`: not known. `Some(0)`: nothing of that partition was ever covered.
    fn next(&self, incarnation: i32, partition: PartitionId) -> Option<Offset> {
        let state = self.state.as_ref()?;
        match incarnation.cmp(&state.incarnation) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(state.next.get(&partition).copied().unwrap_or(0)),
            std::cmp::Ordering::Greater => Some(0),
        }
    }
}

/// What [`scan`] found.
#[derive(Default)]
pub(super) struct Scanned {
    pub rows: u64,
    pub rows_without_coordinates: u64,
    pub partitions: Vec<PartitionReport>,
    pub violations: Vec<Violation>,
    pub offsets: BTreeMap<(i32, PartitionId), OffsetSet>,
}

#[derive(Default)]
struct Offenders {
    examples: Vec<Offset>,
    count: u64,
}

impl Offenders {
    fn add(&mut self, offset: Offset) {
        self.count += 1;
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(offset);
        }
    }

    fn violation(&self, what: &str, (incarnation, partition): (i32, PartitionId)) -> Option<Violation> {
        (self.count > 0).then(|| Violation {
            invariant: "I1",
            message: format!(
                "partition {partition} (incarnation {incarnation}): {} rows {what}, for instance at offsets {:?}",
                self.count, self.examples
            ),
        })
    }
}

struct Partition {
    offsets: OffsetSet,
    first: Offset,
    next: Option<Offset>,
    extent: Option<(Offset, Offset)>,
    gaps: Vec<OffsetRange>,
    in_gap: Offenders,
    doubled: Offenders,
    outside: Offenders,
}

impl Partition {
    fn insert(&mut self, offset: Offset) {
        let (low, high) = self.extent.unwrap_or((offset, offset));
        self.extent = Some((low.min(offset), high.max(offset)));
        if self.next.is_some_and(|next| offset >= next) {
            self.outside.add(offset);
            return;
        }
        if self.gaps.iter().any(|gap| gap.contains(offset)) {
            self.in_gap.add(offset);
        }
        match self.offsets.insert(offset) {
            Inserted::New => {}
            Inserted::Duplicate => self.doubled.add(offset),
            Inserted::OutOfSpan => self.outside.add(offset),
        }
    }
}

struct Scan {
    expected: Expected,
    partitions: BTreeMap<(i32, PartitionId), Partition>,
    rows: u64,
    rows_without_coordinates: u64,
}

/// Reads the coordinates of all rows of `files`. Decoding blocks.
pub(super) async fn scan(
    io: &FileIO,
    schema: &Schema,
    files: &[LiveFile],
    expected: Expected,
    mut progress: impl FnMut(u64),
) -> Scanned {
    let mut violations = Vec::new();
    let mut scan = Scan {
        expected,
        partitions: BTreeMap::new(),
        rows: 0,
        rows_without_coordinates: 0,
    };
    // A partition without rows is reported too.
    if let Some(state) = scan.expected.state.clone() {
        for partition in state.next.keys() {
            scan.partition(state.incarnation, *partition);
        }
    }
    for file in files {
        let before = scan.rows;
        match scan.read(io, schema, file).await {
            Err(error) => violations.push(Violation {
                invariant: "I1",
                message: format!("data file {} cannot be read: {error}", file.location),
            }),
            Ok(()) if scan.rows - before != file.record_count => violations.push(Violation {
                invariant: "I3",
                message: format!(
                    "data file {} holds {} rows, its manifest says {}",
                    file.location,
                    scan.rows - before,
                    file.record_count
                ),
            }),
            Ok(()) => {}
        }
        progress(scan.rows);
    }
    scan.finish(violations)
}

impl Scan {
    fn partition(&mut self, incarnation: i32, partition: PartitionId) -> &mut Partition {
        let expected = &self.expected;
        self.partitions.entry((incarnation, partition)).or_insert_with(|| {
            let first = expected.first(incarnation, partition);
            Partition {
                offsets: OffsetSet::starting_at(first),
                first,
                next: expected.next(incarnation, partition),
                extent: None,
                gaps: expected.gaps(incarnation, partition),
                in_gap: Offenders::default(),
                doubled: Offenders::default(),
                outside: Offenders::default(),
            }
        })
    }

    async fn read(&mut self, io: &FileIO, schema: &Schema, file: &LiveFile) -> Result<(), ReadError> {
        let input = RangedFile::open(io, &file.location, file.size_bytes).await?;
        // The file's Arrow schema may say "dictionary"; the plain types of the Parquet schema are what is wanted.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchStreamBuilder::new_with_options(input, options).await?;
        let leaves = leaf_columns(builder.parquet_schema(), schema);
        let Some(leaves) = leaves else {
            let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
            self.rows += rows;
            self.rows_without_coordinates += rows;
            return Ok(());
        };
        let mask = ProjectionMask::leaves(builder.parquet_schema(), leaves);
        let mut batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
        while let Some(batch) = batches.try_next().await? {
            self.take(&batch)?;
        }
        Ok(())
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        let column = |name: &str| {
            let found = batch.column_by_name(name);
            found.ok_or_else(|| ParquetError::General(format!("column {name} is missing")))
        };
        let typed = |name: &'static str| ParquetError::General(format!("column {name} has another type"));
        let incarnations = column(COLUMNS[0])?
            .as_primitive_opt::<Int32Type>()
            .ok_or_else(|| typed(COLUMNS[0]))?;
        let partitions = column(COLUMNS[1])?
            .as_primitive_opt::<Int32Type>()
            .ok_or_else(|| typed(COLUMNS[1]))?;
        let offsets = column(COLUMNS[2])?
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(|| typed(COLUMNS[2]))?;
        self.rows += batch.num_rows() as u64;
        let mut row = 0;
        while row < batch.num_rows() {
            if incarnations.is_null(row) || partitions.is_null(row) || offsets.is_null(row) {
                self.rows_without_coordinates += 1;
                row += 1;
                continue;
            }
            // Rows of one partition lie together: look it up once for all of them.
            let key = (incarnations.value(row), partitions.value(row));
            let partition = self.partition(key.0, key.1);
            while row < batch.num_rows()
                && incarnations.is_valid(row)
                && partitions.is_valid(row)
                && offsets.is_valid(row)
                && (incarnations.value(row), partitions.value(row)) == key
            {
                partition.insert(offsets.value(row));
                row += 1;
            }
        }
        Ok(())
    }

    fn finish(self, mut violations: Vec<Violation>) -> Scanned {
        let mut scanned = Scanned {
            rows: self.rows,
            rows_without_coordinates: self.rows_without_coordinates,
            ..Scanned::default()
        };
        for (key, partition) in self.partitions {
            violations.extend(partition.doubled.violation("are doubled", key));
            violations.extend(partition.outside.violation("lie outside the covered offsets", key));
            violations.extend(
                partition
                    .in_gap
                    .violation("lie in a gap that was accepted as lost", key),
            );
            let rows = partition.offsets.len();
            let covered = |next: Offset| u64::try_from(next - partition.first).unwrap_or(0);
            scanned.partitions.push(PartitionReport {
                incarnation: key.0,
                partition: key.1,
                first: partition.first,
                next: partition.next,
                extent: partition.extent,
                rows,
                offsets_in_gaps: partition.gaps.iter().map(OffsetRange::len).sum(),
                offsets_without_row: partition.next.map(|next| covered(next).saturating_sub(rows)),
            });
            scanned.offsets.insert(key, partition.offsets);
        }
        scanned.violations = violations;
        scanned
    }
}

/// The leaf columns of the coordinates, found by Iceberg's field id, else by name; `None` when one is not there.
fn leaf_columns(parquet: &SchemaDescriptor, schema: &Schema) -> Option<Vec<usize>> {
    COLUMNS.iter().map(|name| leaf(parquet, schema, name)).collect()
}

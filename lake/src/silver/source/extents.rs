//! Which offsets of which partitions a data file holds, exactly.
//!
//! A file of one commit holds all partitions, whose offsets may be far from each other: the bounds in the manifest then admit any
//! offset between, and a backlog that is read in chunks would open every file for every chunk. So where bounds leave many files, their
//! coordinates are looked at, once a file: files never change.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array as _, RecordBatch};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::io::FileIO;
use iceberg::spec::{ManifestEntry, Schema};
use parquet::errors::ParquetError;
use tapehouse_core::offsets::{OffsetRange, PartitionId};

use super::bounds::{Bounds, has_no_nulls};
use super::file::{FILES_AHEAD, Footer};
use crate::error::LakeError;
use crate::lake::Lake;
use crate::ranged::ReadError;

/// Extents kept over all tables; above this the cache starts afresh. An extent takes 24 bytes.
const MAX_CACHED_EXTENTS: usize = 1 << 20;

/// Lowest to highest offset by incarnation and partition, of a file.
pub(super) type Extents = BTreeMap<(i32, PartitionId), OffsetRange>;

/// Extents of data files by location.
#[derive(Debug, Default)]
pub(crate) struct ExtentsCache(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    files: HashMap<String, Arc<Extents>>,
    extents: usize,
}

impl ExtentsCache {
    /// The extents of the file at `path`, where they were looked up before.
    pub(super) fn get(&self, path: &str) -> Option<Arc<Extents>> {
        self.lock().files.get(path).cloned()
    }

    fn keep(&self, path: &str, extents: &Arc<Extents>) {
        let mut cached = self.lock();
        // A file without any takes place too.
        let size = extents.len().max(1);
        if cached.extents + size > MAX_CACHED_EXTENTS {
            *cached = Cached::default();
        }
        if cached.files.insert(path.to_owned(), Arc::clone(extents)).is_none() {
            cached.extents += size;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cached> {
        // Whole between any two statements that could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The extents of `files`, in their order, and of how many of them the coordinates had to be read.
pub(super) async fn extents_of(
    lake: &Lake,
    io: &FileIO,
    schema: &Schema,
    files: &[Arc<ManifestEntry>],
) -> Result<(Vec<Arc<Extents>>, u64), LakeError> {
    let cache = lake.extents_cache();
    let mut looked_into = 0;
    let looks = stream::iter(files).map(|file| async move {
        if let Some(known) = cache.get(file.file_path()) {
            return Ok((known, false));
        }
        let read = read(io, schema, file).await;
        let extents = Arc::new(read.map_err(|error| error.of_file(file.file_path()))?);
        cache.keep(file.file_path(), &extents);
        Ok::<_, LakeError>((extents, true))
    });
    let mut found = Vec::with_capacity(files.len());
    let mut looks = std::pin::pin!(looks.buffered(FILES_AHEAD));
    while let Some((extents, is_new)) = looks.try_next().await? {
        looked_into += u64::from(is_new);
        found.push(extents);
    }
    Ok((found, looked_into))
}

async fn read(io: &FileIO, schema: &Schema, file: &ManifestEntry) -> Result<Extents, ReadError> {
    let mut extents = Extents::new();
    let footer = Footer::read(io, file).await?;
    // Rows without coordinates are nobody's.
    let Some(leaves) = footer.coordinates(schema) else {
        return Ok(extents);
    };
    for (index, group) in footer.metadata.metadata().row_groups().iter().enumerate() {
        let bounds = Bounds::of_row_group(group, &leaves);
        if let Some((key, range)) = bounds.single().filter(|_| has_no_nulls(group, &leaves)) {
            widen(&mut extents, key, range);
            continue;
        }
        let mut batches = footer.coordinates_of(index, &leaves).build()?;
        let places = Footer::places(&leaves);
        while let Some(batch) = batches.try_next().await? {
            take(&mut extents, &batch, places)?;
        }
    }
    Ok(extents)
}

fn widen(extents: &mut Extents, key: (i32, PartitionId), range: OffsetRange) {
    let known = extents.entry(key).or_insert(range);
    *known = OffsetRange::new(known.start.min(range.start), known.end.max(range.end));
}

fn take(extents: &mut Extents, batch: &RecordBatch, places: [usize; 3]) -> Result<(), ParquetError> {
    let typed = || ParquetError::General("a coordinate has another type".to_owned());
    let [incarnations, partitions, offsets] = places.map(|place| batch.column(place));
    let incarnations = incarnations.as_primitive_opt::<Int32Type>().ok_or_else(typed)?;
    let partitions = partitions.as_primitive_opt::<Int32Type>().ok_or_else(typed)?;
    let offsets = offsets.as_primitive_opt::<Int64Type>().ok_or_else(typed)?;
    let mut open: Option<((i32, PartitionId), OffsetRange)> = None;
    for row in 0..batch.num_rows() {
        let offset = offsets.value(row);
        // No offset of Kafka's is negative, and none is wanted.
        if incarnations.is_null(row) || partitions.is_null(row) || offsets.is_null(row) || offset < 0 {
            continue;
        }
        let key = (incarnations.value(row), partitions.value(row));
        let (start, end) = (offset, offset.saturating_add(1));
        // Rows of one partition lie together: they are summed up before they are looked up.
        open = match open.take() {
            Some((known, range)) if known == key => {
                Some((key, OffsetRange::new(range.start.min(start), range.end.max(end))))
            }
            before => {
                if let Some((known, range)) = before {
                    widen(extents, known, range);
                }
                Some((key, OffsetRange::new(start, end)))
            }
        };
    }
    if let Some((known, range)) = open {
        widen(extents, known, range);
    }
    Ok(())
}

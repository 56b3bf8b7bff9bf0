//! Where is the row of one Kafka record? Reads as few files as the manifests' bounds permit.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch};
use futures::TryStreamExt as _;
use iceberg::io::FileIO;
use iceberg::spec::{Datum, ManifestContentType, ManifestEntryRef, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection, RowSelector};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::errors::ParquetError;
use parquet::schema::types::SchemaDescriptor;
use serde::Serialize;
use tapehouse_core::offsets::{Offset, PartitionId, Ranges};

use crate::commit::keys;
use crate::error::LakeError;
use crate::files::whole_number;
use crate::lake::Lake;
use crate::ranged::{RangedFile, ReadError};
use crate::table::{LoadedTable, read_manifest};

const BATCH_ROWS: usize = 65_536;

/// A Kafka record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coordinate {
    /// Incarnation of the topic.
    pub incarnation: i32,
    /// Partition.
    pub partition: PartitionId,
    /// Offset.
    pub offset: Offset,
}

impl Coordinate {
    /// The three columns, and the value that each must have.
    fn columns(self) -> [(&'static str, i64); 3] {
        [
            ("topic_incarnation", self.incarnation.into()),
            ("kafka_partition", self.partition.into()),
            ("kafka_offset", self.offset),
        ]
    }
}

/// A row and how it came into the table. Times are microseconds since 1970-01-01 UTC, unless they say milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FoundRow {
    /// The snapshot whose commit added the data file.
    pub snapshot_id: Option<i64>,
    /// Time of that commit, in milliseconds; `None` where the snapshot has expired.
    pub committed_ms: Option<i64>,
    /// Place of that commit in the table's history.
    pub sequence_number: Option<i64>,
    /// The data file.
    pub data_file: String,
    /// The row's place in it, from 0.
    pub row: u64,
    /// When the node took the record from Kafka.
    pub ingested_us: Option<i64>,
    /// Start of the process that did.
    pub run_id: Option<String>,
    /// Timestamp of the Kafka record.
    pub kafka_timestamp_us: Option<i64>,
    /// Schema id that the value names.
    pub schema_id: Option<i32>,
    /// Event time, where the column is a time.
    pub event_time_us: Option<i64>,
    /// Why the value could not be decoded.
    pub decode_error: Option<String>,
}

/// What was found, and what that took.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Search {
    /// The row; `None` where the table has none.
    pub row: Option<FoundRow>,
    /// Live data files of the table.
    pub files: u64,
    /// Those of them that were read.
    pub files_read: u64,
}

/// Looks for the row of `wanted`. Data files whose bounds exclude it are not read; of the others the one that the wanted offset
/// was committed with comes first, and the first hit ends the search. `event_time` names the column of the event time.
///
/// # Errors
/// When a manifest or a data file cannot be read.
pub async fn find_row(
    lake: &Lake,
    table: &LoadedTable,
    wanted: Coordinate,
    event_time: Option<&str>,
) -> Result<Search, LakeError> {
    let io = lake.io_of(table);
    let schema = table.metadata().current_schema();
    let (mut candidates, files) = candidates(&io, table, schema, wanted).await?;
    let mut search = Search {
        files,
        ..Search::default()
    };
    let committed_with = committed_with(table, wanted);
    candidates.sort_by_key(|entry| (entry.snapshot_id() != committed_with, entry.sequence_number()));
    for entry in candidates {
        search.files_read += 1;
        let look = Look {
            io: &io,
            schema,
            wanted,
            event_time,
        };
        if let Some(row) = look
            .within(&entry)
            .await
            .map_err(|error| error.of_file(entry.file_path()))?
        {
            let snapshot = entry.snapshot_id().and_then(|id| table.metadata().snapshot_by_id(id));
            search.row = Some(FoundRow {
                snapshot_id: entry.snapshot_id(),
                committed_ms: snapshot.map(|snapshot| snapshot.timestamp_ms()),
                sequence_number: entry.sequence_number(),
                data_file: entry.file_path().to_owned(),
                ..row
            });
            break;
        }
    }
    Ok(search)
}

/// The live data files whose bounds admit the coordinate, and the number of all.
async fn candidates(
    io: &FileIO,
    table: &LoadedTable,
    schema: &Schema,
    wanted: Coordinate,
) -> Result<(Vec<ManifestEntryRef>, u64), LakeError> {
    let (mut found, mut files) = (Vec::new(), 0);
    let manifests = table.manifests(io).await?;
    for manifest in manifests
        .iter()
        .filter(|manifest| manifest.content == ManifestContentType::Data)
    {
        let loaded = read_manifest(io, manifest).await?;
        for entry in loaded.entries().iter().filter(|entry| entry.is_alive()) {
            files += 1;
            if admits(entry, schema, wanted) {
                found.push(Arc::clone(entry));
            }
        }
    }
    Ok((found, files))
}

/// Whether the bounds of a file permit that the row is in it. Columns without bounds permit everything.
fn admits(entry: &ManifestEntryRef, schema: &Schema, wanted: Coordinate) -> bool {
    let file = entry.data_file();
    wanted.columns().into_iter().all(|(name, value)| {
        let Some(id) = schema.field_id_by_name(name) else {
            return true;
        };
        let bound = |datum: Option<&Datum>| whole_number(datum?);
        bound(file.lower_bounds().get(&id)).is_none_or(|lower| lower <= value)
            && bound(file.upper_bounds().get(&id)).is_none_or(|upper| value <= upper)
    })
}

/// The retained snapshot whose ranges cover the offset.
fn committed_with(table: &LoadedTable, wanted: Coordinate) -> Option<i64> {
    let covers = |summary: &std::collections::HashMap<String, String>| {
        let ranges: Ranges = serde_json::from_str(summary.get(keys::RANGES)?).ok()?;
        let is_same = summary.get(keys::INCARNATION)?.parse() == Ok(wanted.incarnation);
        Some(is_same && ranges.0.get(&wanted.partition)?.contains(wanted.offset))
    };
    let mut history = table.ancestry();
    let snapshot = history.find(|snapshot| covers(&snapshot.summary().additional_properties) == Some(true));
    snapshot.map(|snapshot| snapshot.snapshot_id())
}

/// What is looked for in one file.
struct Look<'a> {
    io: &'a FileIO,
    schema: &'a Schema,
    wanted: Coordinate,
    event_time: Option<&'a str>,
}

impl Look<'_> {
    /// The row, if the file has it: its coordinates are read first, then the one row.
    async fn within(&self, entry: &ManifestEntryRef) -> Result<Option<FoundRow>, ReadError> {
        let open = || RangedFile::open(self.io, entry.file_path(), entry.file_size_in_bytes());
        let mut file = open().await?;
        // The file's Arrow schema may say "dictionary"; the plain types of the Parquet schema are what is wanted.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load_async(&mut file, options).await?;
        let parquet = metadata.metadata().file_metadata().schema_descr_ptr();
        let mut leaves = Vec::new();
        for (name, _) in self.wanted.columns() {
            match leaf(&parquet, self.schema, name) {
                Some(leaf) => leaves.push(leaf),
                // Rows without coordinates are of other engines.
                None => return Ok(None),
            }
        }
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(file, metadata.clone());
        let mut batches = builder
            .with_projection(ProjectionMask::leaves(&parquet, leaves))
            .with_batch_size(BATCH_ROWS)
            .build()?;
        let mut before = 0;
        let mut found = None;
        while found.is_none()
            && let Some(batch) = batches.try_next().await?
        {
            found = self.position(&batch)?.map(|position| before + position);
            before += batch.num_rows();
        }
        let Some(row) = found else { return Ok(None) };
        let shown = [
            Some("ingestion_timestamp"),
            Some("ingestion_run_id"),
            Some("kafka_timestamp"),
            Some("schema_id"),
            Some("decode_error"),
            self.event_time,
        ];
        let leaves = shown
            .iter()
            .flatten()
            .filter_map(|name| leaf(&parquet, self.schema, name));
        let selection = RowSelection::from(vec![RowSelector::skip(row), RowSelector::select(1)]);
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(open().await?, metadata);
        let mut batches = builder
            .with_projection(ProjectionMask::leaves(&parquet, leaves))
            .with_row_selection(selection)
            .build()?;
        let batch = batches.try_next().await?;
        Ok(batch.map(|batch| self.shown(&batch, row)))
    }

    /// The row's place in a batch of coordinates.
    fn position(&self, batch: &RecordBatch) -> Result<Option<usize>, ParquetError> {
        let [(incarnation, _), (partition, _), (offset, _)] = self.wanted.columns();
        let typed = |name: &str| ParquetError::General(format!("column {name} has another type"));
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| typed(name));
        let int = |name: &'static str| column(name)?.as_primitive_opt::<Int32Type>().ok_or_else(|| typed(name));
        let (incarnations, partitions) = (int(incarnation)?, int(partition)?);
        let offsets = column(offset)?
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(|| typed(offset))?;
        let is_wanted = |row: &usize| {
            offsets.is_valid(*row)
                && offsets.value(*row) == self.wanted.offset
                && partitions.is_valid(*row)
                && partitions.value(*row) == self.wanted.partition
                && incarnations.is_valid(*row)
                && incarnations.value(*row) == self.wanted.incarnation
        };
        Ok((0..batch.num_rows()).find(is_wanted))
    }

    /// The columns of the one row.
    fn shown(&self, batch: &RecordBatch, row: usize) -> FoundRow {
        let column = |name: &str| batch.column_by_name(name).filter(|column| column.is_valid(0));
        let time = |name: &str| Some(column(name)?.as_primitive_opt::<TimestampMicrosecondType>()?.value(0));
        let text = |name: &str| Some(column(name)?.as_string_opt::<i32>()?.value(0).to_owned());
        let schema_id = column("schema_id").and_then(|column| column.as_primitive_opt::<Int32Type>());
        FoundRow {
            row: row as u64,
            ingested_us: time("ingestion_timestamp"),
            run_id: text("ingestion_run_id"),
            kafka_timestamp_us: time("kafka_timestamp"),
            schema_id: schema_id.map(|column| column.value(0)),
            event_time_us: self.event_time.and_then(time),
            decode_error: text("decode_error"),
            ..FoundRow::default()
        }
    }
}

/// The leaf of a column, found by Iceberg's field id, else by name.
pub(crate) fn leaf(parquet: &SchemaDescriptor, schema: &Schema, name: &str) -> Option<usize> {
    leaf_of_id(parquet, schema.field_id_by_name(name)?).or_else(|| {
        let mut columns = parquet.columns().iter();
        columns.position(|column| column.path().string() == name)
    })
}

/// The leaf of the column with Iceberg's field id `id`.
pub(crate) fn leaf_of_id(parquet: &SchemaDescriptor, id: i32) -> Option<usize> {
    parquet.columns().iter().position(|column| {
        let info = column.self_type().get_basic_info();
        info.has_id() && info.id() == id
    })
}

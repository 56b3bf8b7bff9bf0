//! The rows that the next commit will add: open files and what they cover.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use tapehouse_core::freshness::ProducedAt;
use tapehouse_core::offsets::{NotContiguous, Ranges};
use tapehouse_kafka::decode::{Schemas, TopicDecoder};
use tapehouse_kafka::raw_batch::RawBatch;
use tapehouse_lake::bronze::BronzeLayout;
use tapehouse_lake::files::{EncodedFile, FileEncoder, FileError};

use crate::memory::Lease;

use super::rows::{RowSource, decode_rows};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Rows encoded since the last cut.
pub(crate) struct OpenSet {
    files: Vec<(i32, FileEncoder)>,
    /// What the set covers.
    pub(crate) ranges: Ranges,
    /// Rows, undecodable ones included.
    pub(crate) rows: u64,
    /// Payload and key bytes.
    pub(crate) bytes: u64,
    /// Undecodable rows by code.
    pub(crate) undecodable: BTreeMap<&'static str, u64>,
    /// Producer times.
    pub(crate) produced_at: ProducedAt,
    /// Earliest and latest event time, microseconds since 1970-01-01 UTC.
    pub(crate) event_time_span_us: Option<(i64, i64)>,
    /// When the set was begun.
    pub(crate) since: Instant,
    /// Whether Kafka had nothing more when the last batch was sealed.
    pub(crate) at_end: bool,
    /// Table schema that the newest file was written with.
    pub(crate) schema_id: i32,
    /// Memory for the files; there is none before the first rows.
    pub(crate) lease: Option<Lease>,
    /// Bytes of the last batch.
    pub(crate) last_batch_bytes: u64,
}

impl OpenSet {
    pub(crate) fn new() -> Self {
        Self {
            files: Vec::new(),
            ranges: Ranges::default(),
            rows: 0,
            bytes: 0,
            undecodable: BTreeMap::new(),
            produced_at: ProducedAt::default(),
            event_time_span_us: None,
            since: Instant::now(),
            at_end: false,
            schema_id: 0,
            lease: None,
            last_batch_bytes: 0,
        }
    }

    /// Encoded bytes held.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.files.iter().map(|(_, file)| file.size_bytes() as u64).sum()
    }

    /// Memory held by the open files.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.files.iter().map(|(_, file)| file.memory_bytes() as u64).sum()
    }

    /// Closes the files. CPU work.
    pub(crate) fn finish_files(&mut self) -> Result<Vec<EncodedFile>, FileError> {
        self.files.drain(..).map(|(_, file)| file.finish()).collect()
    }

    fn encode(&mut self, layout: &BronzeLayout, date: i32, rows: &RecordBatch) -> Result<(), FileError> {
        let schema_id = layout.schema().schema_id();
        let fits = |(id, file): &(i32, FileEncoder)| *id == schema_id && file.date() == date;
        let position = match self.files.iter().position(fits) {
            Some(position) => position,
            None => {
                self.files
                    .push((schema_id, FileEncoder::open(layout.file(), date, rows)?));
                self.files.len() - 1
            }
        };
        self.schema_id = schema_id;
        self.files[position].1.push(rows)
    }

    fn widen_span(&mut self, column: &dyn Array) {
        if !matches!(column.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)) {
            return;
        }
        let values = column.as_primitive::<TimestampMicrosecondType>();
        let (min, max) = match values.null_count() {
            0 => (
                values.values().iter().min().copied(),
                values.values().iter().max().copied(),
            ),
            _ => (values.iter().flatten().min(), values.iter().flatten().max()),
        };
        if let (Some(min), Some(max)) = (min, max) {
            let (low, high) = self.event_time_span_us.unwrap_or((min, max));
            self.event_time_span_us = Some((low.min(min), high.max(max)));
        }
    }
}

/// Why a batch could not be absorbed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AbsorbError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    NotContiguous(#[from] NotContiguous),
    #[error(transparent)]
    Conflict(#[from] tapehouse_lake::bronze::Conflict),
}

/// What absorbing needs and keeps from batch to batch.
pub(crate) struct Absorber {
    pub(crate) decoder: TopicDecoder,
    pub(crate) source: Arc<RowSource>,
    pub(crate) event_time_field: Option<String>,
}

impl Absorber {
    /// Decodes a batch and encodes its rows into the open set. CPU work.
    pub(crate) fn absorb(
        &mut self,
        set: &mut OpenSet,
        raw: RawBatch,
        schemas: &Schemas,
        layout: &BronzeLayout,
    ) -> Result<(), AbsorbError> {
        for (&partition, range) in &raw.ranges.0 {
            set.ranges.extend(partition, *range)?;
        }
        set.rows += raw.len() as u64;
        set.last_batch_bytes = raw.size_bytes() as u64;
        set.bytes += set.last_batch_bytes;
        set.produced_at.merge(&raw.produced_at);
        set.at_end = raw.at_end;
        if raw.is_empty() {
            return Ok(());
        }
        for piece in self.decoder.pieces(raw, schemas, layout.empty_row_bytes()) {
            self.absorb_piece(set, piece, schemas, layout)?;
        }
        Ok(())
    }

    fn absorb_piece(
        &mut self,
        set: &mut OpenSet,
        raw: RawBatch,
        schemas: &Schemas,
        layout: &BronzeLayout,
    ) -> Result<(), AbsorbError> {
        let decoded = self.decoder.decode(&raw, schemas);
        for (_, error) in &decoded.failed {
            *set.undecodable.entry(error.code()).or_default() += 1;
        }
        if let Some(field) = &self.event_time_field {
            for group in &decoded.groups {
                if let Some(column) = group.columns.column_by_name(field) {
                    set.widen_span(column);
                }
            }
        }
        let date = i32::try_from(raw.sealed_at_us.div_euclid(MICROS_PER_DAY)).unwrap_or(i32::MAX);
        for rows in decode_rows(raw, decoded, layout, &self.source)? {
            set.encode(layout, date, &rows)?;
        }
        Ok(())
    }
}

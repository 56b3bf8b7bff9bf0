//! Avro in Confluent wire format to Arrow, a batch at a time, losing no record: what cannot be decoded is named.

mod error;
mod group;
mod schema_check;
mod timestamps;
mod values;
mod wire;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_avro::reader::Decoder;
use arrow_schema::SchemaRef;

pub use error::DecodeError;

use crate::raw_batch::RawBatch;
use group::Group;
use schema_check::Weight;

/// Most rows that one decoder call may hold; batches are cut smaller.
pub const MAX_BATCH_ROWS: usize = 65_535;
/// Decoded rows that are in memory at once, so far as a batch can be cut.
pub const MAX_PIECE_BYTES: u64 = 128 << 20;

/// What the registry said about a schema id.
#[derive(Clone, Debug)]
pub enum SchemaEntry {
    /// The writer schema as Avro JSON.
    Known(Arc<str>),
    /// The registry does not know the id, also after retries.
    Unknown,
    /// The table cannot take its records, and why not.
    Conflict(Arc<str>),
    /// The registry has it, it cannot be decoded with, and why not.
    Unusable(Arc<str>),
}

/// Schemas by id, as far as a batch needs them.
pub type Schemas = HashMap<u32, SchemaEntry>;

/// Which rows of the raw batch a group holds, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// All of them: columns and raw batch match row by row.
    All,
    /// These indexes.
    Some(Vec<u32>),
}

/// Decoded records of one writer schema.
#[derive(Debug)]
pub struct DecodedGroup {
    /// Writer schema id.
    pub schema_id: u32,
    /// Rows of the raw batch, one a row of `columns`.
    pub rows: Rows,
    /// The decoded fields.
    pub columns: RecordBatch,
}

/// A whole raw batch: every record is either in exactly one group or in `failed`.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Decoded records by writer schema, in order of first appearance; several groups of one schema where some of its records
    /// could not be decoded.
    pub groups: Vec<DecodedGroup>,
    /// Records that could not be decoded, by index, with the cause and the schema id if the record has one.
    pub failed: Vec<(u32, DecodeError)>,
}

/// Schema ids that occur in the batch.
pub fn schema_ids(batch: &RawBatch) -> BTreeSet<u32> {
    let mut ids = BTreeSet::new();
    let mut last = None;
    for index in 0..batch.len() {
        if let Ok(id) = wire::schema_id(batch.payload(index))
            && last != Some(id)
        {
            last = Some(id);
            ids.insert(id);
        }
    }
    ids
}

/// The Arrow schema that records of this Avro schema decode to.
///
/// # Errors
/// When the schema is not Avro or not decodable.
pub fn arrow_schema(id: u32, json: &str, timestamp_fields: &[String]) -> Result<SchemaRef, DecodeError> {
    let unusable = |reason| DecodeError::UnusableSchema { id, reason };
    schema_check::check(json).map_err(unusable)?;
    let decoder = group::build_decoder(id, json).map_err(unusable)?;
    Ok(timestamps::target_schema(&decoder.schema(), timestamp_fields))
}

/// Decodes the batches of one topic; keeps a decoder for each writer schema.
#[derive(Debug)]
pub struct TopicDecoder {
    decoders: HashMap<u32, Decoder>,
    /// Sum over the decoders of what a row takes.
    kept_bytes: u64,
    weights: HashMap<u32, Weight>,
    timestamp_fields: Vec<String>,
}

/// Decoders kept at most: a topic with more live schemas than this pays for rebuilding them.
const MAX_DECODERS: usize = 64;
/// They hold room for some thousand rows each: so much of one row, over all of them.
const MAX_KEPT_BYTES: u64 = 64 << 10;
/// Weights kept; beyond, they are found out afresh.
const MAX_WEIGHTS: usize = 1024;

impl TopicDecoder {
    /// A decoder for one topic. Strings in `timestamp_fields` are parsed as ISO-8601.
    pub fn new(timestamp_fields: Vec<String>) -> Self {
        Self {
            decoders: HashMap::new(),
            kept_bytes: 0,
            weights: HashMap::new(),
            timestamp_fields,
        }
    }

    /// Cuts `batch` where its decoded rows could take more than [`MAX_PIECE_BYTES`]; `row_bytes` is what a row of the table takes
    /// beside its decoded fields. Ranges and producer times stay behind.
    pub fn pieces(&mut self, batch: RawBatch, schemas: &Schemas, row_bytes: u64) -> Vec<RawBatch> {
        let heaviest = schema_ids(&batch)
            .into_iter()
            .filter_map(|id| self.weight_in(id, schemas))
            .fold(Weight::default(), Weight::max);
        let empty_bytes = (batch.len() as u64).saturating_mul(row_bytes.saturating_add(heaviest.empty_bytes));
        let payload_bytes = heaviest.swell.saturating_mul(batch.size_bytes() as u64);
        if empty_bytes.saturating_add(payload_bytes) <= MAX_PIECE_BYTES {
            return vec![batch];
        }
        let (mut pieces, mut start, mut taken) = (Vec::new(), 0, 0_u64);
        for index in 0..batch.len() {
            let payload = batch.payload(index);
            let weight = wire::schema_id(payload)
                .ok()
                .and_then(|id| self.weight_in(id, schemas))
                .unwrap_or_default();
            let bytes = row_bytes.saturating_add(weight.of(payload.unwrap_or_default().len()));
            if index > start && taken.saturating_add(bytes) > MAX_PIECE_BYTES {
                pieces.push(batch.piece(start..index));
                (start, taken) = (index, 0);
            }
            taken = taken.saturating_add(bytes);
        }
        pieces.push(batch.piece(start..batch.len()));
        pieces
    }

    /// Decodes `batch`. `schemas` must have an entry for each of its [`schema_ids`]; an id without one counts as unknown.
    pub fn decode(&mut self, batch: &RawBatch, schemas: &Schemas) -> Decoded {
        let mut decoded = Decoded::default();
        for (id, indexes) in by_schema(batch, &mut decoded.failed) {
            let cause = match schemas.get(&id) {
                Some(SchemaEntry::Known(json)) => {
                    let group = Group { batch, id, json };
                    match self.decode_group(&group, indexes.clone(), &mut decoded) {
                        Ok(()) => continue,
                        Err(reason) => DecodeError::UnusableSchema { id, reason },
                    }
                }
                Some(SchemaEntry::Conflict(reason)) => DecodeError::SchemaConflict {
                    id,
                    reason: reason.to_string(),
                },
                Some(SchemaEntry::Unusable(reason)) => DecodeError::UnusableSchema {
                    id,
                    reason: reason.to_string(),
                },
                Some(SchemaEntry::Unknown) | None => DecodeError::UnknownSchema(id),
            };
            decoded
                .failed
                .extend(indexes.into_iter().map(|index| (index, cause.clone())));
        }
        decoded.failed.sort_by_key(|(index, _)| *index);
        decoded
    }

    /// `Err`: no decoder can be built, and nothing was decoded.
    fn decode_group(&mut self, group: &Group<'_>, rows: Vec<u32>, decoded: &mut Decoded) -> Result<(), String> {
        let weight = self.weight(group.id, group.json)?;
        let decoder = match self.decoders.remove(&group.id) {
            Some(decoder) => {
                self.kept_bytes -= weight.empty_bytes;
                decoder
            }
            None => group.build_decoder()?,
        };
        let rows = group.of_bearable_size(rows, weight, &mut decoded.failed);
        let (decoder, pieces) = group.decode(decoder, rows, &mut decoded.failed);
        if let Some(decoder) = decoder
            && self.decoders.len() < MAX_DECODERS
            && self.kept_bytes + weight.empty_bytes <= MAX_KEPT_BYTES
        {
            self.kept_bytes += weight.empty_bytes;
            self.decoders.insert(group.id, decoder);
        }
        for (columns, rows) in pieces {
            let (columns, rows) =
                timestamps::parse(columns, rows, &self.timestamp_fields, group.id, &mut decoded.failed);
            let rows = if rows.len() == group.batch.len() {
                Rows::All
            } else {
                Rows::Some(rows)
            };
            decoded.groups.push(DecodedGroup {
                schema_id: group.id,
                rows,
                columns,
            });
        }
        Ok(())
    }

    fn weight_in(&mut self, id: u32, schemas: &Schemas) -> Option<Weight> {
        match schemas.get(&id) {
            Some(SchemaEntry::Known(json)) => self.weight(id, json).ok(),
            _ => None,
        }
    }

    fn weight(&mut self, id: u32, json: &str) -> Result<Weight, String> {
        if let Some(weight) = self.weights.get(&id) {
            return Ok(*weight);
        }
        let weight = schema_check::check(json)?;
        if self.weights.len() >= MAX_WEIGHTS {
            self.weights.clear();
        }
        self.weights.insert(id, weight);
        Ok(weight)
    }
}

/// Groups record indexes by schema id; records without one go to `failed`.
fn by_schema(batch: &RawBatch, failed: &mut Vec<(u32, DecodeError)>) -> Vec<(u32, Vec<u32>)> {
    let mut groups: Vec<(u32, Vec<u32>)> = Vec::new();
    let mut current = 0;
    for index in 0..batch.len() {
        let row = u32::try_from(index).expect("a batch has at most MAX_BATCH_ROWS records");
        match wire::schema_id(batch.payload(index)) {
            Err(error) => failed.push((row, error)),
            Ok(id) => {
                if groups.get(current).is_none_or(|(known, _)| *known != id) {
                    current = groups.iter().position(|(known, _)| *known == id).unwrap_or_else(|| {
                        groups.push((id, Vec::with_capacity(batch.len() - index)));
                        groups.len() - 1
                    });
                }
                groups[current].1.push(row);
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests;

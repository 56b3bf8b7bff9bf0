//! Avro in Confluent wire format to Arrow, a batch at a time, losing no record: what cannot be decoded is named.

mod error;
mod timestamps;
mod wire;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use arrow_schema::SchemaRef;

pub use error::DecodeError;

use crate::raw_batch::RawBatch;

/// Most rows that one decoder call may hold; batches are cut smaller.
pub const MAX_BATCH_ROWS: usize = 65_535;
/// In careful mode the trial decoder is emptied after so many rows.
const TRIAL_ROWS: usize = 1024;

/// What the registry said about a schema id.
#[derive(Clone, Debug)]
pub enum SchemaEntry {
    /// The writer schema as Avro JSON.
    Known(Arc<str>),
    /// The registry does not know the id, also after retries.
    Unknown,
    /// The table cannot take its records, and why not.
    Conflict(Arc<str>),
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
    /// Decoded records by writer schema, in order of first appearance.
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
    let decoder = build_decoder(id, json).map_err(|reason| DecodeError::UnusableSchema { id, reason })?;
    Ok(timestamps::target_schema(&decoder.schema(), timestamp_fields))
}

/// Decodes the batches of one topic; keeps a decoder for each writer schema.
#[derive(Debug)]
pub struct TopicDecoder {
    decoders: HashMap<u32, Decoder>,
    timestamp_fields: Vec<String>,
}

/// Decoders kept at most: a topic with more live schemas than this pays for rebuilding them.
const MAX_DECODERS: usize = 64;

impl TopicDecoder {
    /// A decoder for one topic. Strings in `timestamp_fields` are parsed as ISO-8601.
    pub fn new(timestamp_fields: Vec<String>) -> Self {
        Self {
            decoders: HashMap::new(),
            timestamp_fields,
        }
    }

    /// Decodes `batch`. `schemas` must have an entry for each of its [`schema_ids`]; an id without one counts as unknown.
    pub fn decode(&mut self, batch: &RawBatch, schemas: &Schemas) -> Decoded {
        let mut decoded = Decoded::default();
        for (id, indexes) in by_schema(batch, &mut decoded.failed) {
            match schemas.get(&id) {
                Some(SchemaEntry::Known(json)) => self.decode_group(batch, id, json, indexes, &mut decoded),
                Some(SchemaEntry::Conflict(reason)) => {
                    let failure = |index| {
                        (
                            index,
                            DecodeError::SchemaConflict {
                                id,
                                reason: reason.to_string(),
                            },
                        )
                    };
                    decoded.failed.extend(indexes.into_iter().map(failure));
                }
                _ => decoded
                    .failed
                    .extend(indexes.into_iter().map(|index| (index, DecodeError::UnknownSchema(id)))),
            }
        }
        decoded.failed.sort_by_key(|(index, _)| *index);
        decoded
    }

    fn decode_group(&mut self, batch: &RawBatch, id: u32, json: &str, indexes: Vec<u32>, decoded: &mut Decoded) {
        let decoder = match self.decoders.remove(&id).map_or_else(|| build_decoder(id, json), Ok) {
            Ok(decoder) => decoder,
            Err(reason) => {
                let failure = |index| {
                    (
                        index,
                        DecodeError::UnusableSchema {
                            id,
                            reason: reason.clone(),
                        },
                    )
                };
                decoded.failed.extend(indexes.into_iter().map(failure));
                return;
            }
        };
        let (decoder, good) = match decode_all(decoder, batch, &indexes) {
            Ok(decoder) => (decoder, indexes),
            Err(()) => decode_carefully(batch, id, json, &indexes, &mut decoded.failed),
        };
        let Some(mut decoder) = decoder else { return };
        match decoder.flush() {
            Ok(Some(columns)) if columns.num_rows() == good.len() => {
                if self.decoders.len() < MAX_DECODERS {
                    self.decoders.insert(id, decoder);
                }
                let (columns, good) = timestamps::parse(columns, good, &self.timestamp_fields, id, &mut decoded.failed);
                let rows = if good.len() == batch.len() {
                    Rows::All
                } else {
                    Rows::Some(good)
                };
                decoded.groups.push(DecodedGroup {
                    schema_id: id,
                    rows,
                    columns,
                });
            }
            Ok(None) if good.is_empty() => {}
            // The decoder is dropped: its state is not to be trusted. Its records are kept as they came.
            outcome => {
                let reason = match outcome {
                    Err(error) => error::without_payload(&error.to_string()),
                    Ok(_) => "the decoder lost count of its rows".to_owned(),
                };
                let failure = |index| {
                    (
                        index,
                        DecodeError::Malformed {
                            id,
                            reason: reason.clone(),
                        },
                    )
                };
                decoded.failed.extend(good.into_iter().map(failure));
            }
        }
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

/// The common case: all records are good. `Err` says only that some record is not.
fn decode_all(mut decoder: Decoder, batch: &RawBatch, indexes: &[u32]) -> Result<Option<Decoder>, ()> {
    for &index in indexes {
        feed(&mut decoder, batch, index).map_err(|_| ())?;
    }
    Ok(Some(decoder))
}

/// Tries each record on a decoder of its own first, because an error leaves a decoder with half a row. The cost stays linear
/// in the number of records, however many are bad.
fn decode_carefully(
    batch: &RawBatch,
    id: u32,
    json: &str,
    indexes: &[u32],
    failed: &mut Vec<(u32, DecodeError)>,
) -> (Option<Decoder>, Vec<u32>) {
    let mut good = Vec::with_capacity(indexes.len());
    let mut trial = None;
    let mut main = None;
    for &index in indexes {
        let (Some(on_trial), Some(decoder)) = (ensure(&mut trial, id, json), ensure(&mut main, id, json)) else {
            continue;
        };
        match feed(on_trial, batch, index) {
            Err(error) => {
                trial = None;
                failed.push((index, error));
            }
            Ok(()) => {
                if on_trial.batch_size() - on_trial.capacity() >= TRIAL_ROWS && on_trial.flush().is_err() {
                    trial = None;
                }
                // What one decoder accepts, its twin accepts.
                match feed(decoder, batch, index) {
                    Ok(()) => good.push(index),
                    Err(error) => failed.push((index, error)),
                }
            }
        }
    }
    (main, good)
}

fn ensure<'d>(slot: &'d mut Option<Decoder>, id: u32, json: &str) -> Option<&'d mut Decoder> {
    if slot.is_none() {
        *slot = build_decoder(id, json).ok();
    }
    slot.as_mut()
}

/// Decodes one record. After an error the decoder must be dropped.
fn feed(decoder: &mut Decoder, batch: &RawBatch, index: u32) -> Result<(), DecodeError> {
    let payload = batch.payload(index as usize).unwrap_or_default();
    let id = wire::schema_id(Some(payload))?;
    let before = decoder.capacity();
    let consumed = decoder.decode(payload).map_err(|error| DecodeError::Malformed {
        id,
        reason: error::without_payload(&error.to_string()),
    })?;
    match before - decoder.capacity() {
        1 if consumed == payload.len() => Ok(()),
        0 => Err(DecodeError::Truncated { id }),
        _ => Err(DecodeError::TrailingBytes { id }),
    }
}

fn build_decoder(id: u32, json: &str) -> Result<Decoder, String> {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store
        .set(Fingerprint::Id(id), AvroSchema::new(json.to_owned()))
        .map_err(|error| error.to_string())?;
    ReaderBuilder::new()
        .with_batch_size(MAX_BATCH_ROWS + 1)
        .with_writer_schema_store(store)
        .with_active_fingerprint(Fingerprint::Id(id))
        .build_decoder()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;

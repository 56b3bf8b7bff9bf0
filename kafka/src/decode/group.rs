//! The records of one schema within a batch: all at once, and one by one where that fails.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};

use super::schema_check::Weight;
use super::{DecodeError, MAX_BATCH_ROWS, error, values, wire};
use crate::raw_batch::RawBatch;

/// In careful mode the trial decoder is emptied after so many rows.
const TRIAL_ROWS: usize = 1024;
/// What a single record may take in memory, decoded.
const MAX_RECORD_BYTES: u64 = 512 << 20;

/// Columns, and which rows of the raw batch they hold.
type Piece = (RecordBatch, Vec<u32>);

/// Records of one batch that name the same schema.
pub(super) struct Group<'b> {
    pub(super) batch: &'b RawBatch,
    pub(super) id: u32,
    /// The writer schema, which was checked.
    pub(super) json: &'b str,
}

impl Group<'_> {
    /// Decodes `rows` in order; those that cannot be decoded move to `failed`. The decoder comes back if it is as good as new.
    pub(super) fn decode(
        &self,
        decoder: Decoder,
        rows: Vec<u32>,
        failed: &mut Vec<(u32, DecodeError)>,
    ) -> (Option<Decoder>, Vec<Piece>) {
        if rows.is_empty() {
            return (Some(decoder), Vec::new());
        }
        match self.attempt(decoder, &rows) {
            Ok((decoder, columns)) => (Some(decoder), vec![(columns, rows)]),
            Err(_) => {
                let readable = self.readable(rows, failed);
                (None, self.by_halves(&readable, failed))
            }
        }
    }

    /// The common case: all records are good.
    fn attempt(&self, mut decoder: Decoder, rows: &[u32]) -> Result<(Decoder, RecordBatch), DecodeError> {
        guarded(self.id, move || {
            for &row in rows {
                feed(&mut decoder, self.batch, row)?;
            }
            let failed = |reason: String| self.malformed(&reason);
            match decoder.flush().map_err(|error| failed(error.to_string()))? {
                Some(columns) if columns.num_rows() == rows.len() => {
                    values::check(&columns).map_err(failed)?;
                    Ok((decoder, columns))
                }
                _ => Err(failed("the decoder lost count of its rows".to_owned())),
            }
        })
    }

    /// Tries each record on a decoder that is dropped after an error, because an error leaves it with half a row. The cost
    /// stays linear in the number of records, however many are bad.
    fn readable(&self, rows: Vec<u32>, failed: &mut Vec<(u32, DecodeError)>) -> Vec<u32> {
        let mut trial = None;
        let mut is_good = |row: &u32| {
            let outcome = match trial.take().map_or_else(|| self.build_decoder(), Ok) {
                Err(reason) => Err(DecodeError::UnusableSchema { id: self.id, reason }),
                Ok(mut decoder) => guarded(self.id, move || {
                    feed(&mut decoder, self.batch, *row)?;
                    let is_full = decoder.batch_size() - decoder.capacity() >= TRIAL_ROWS;
                    // What flushing finds wrong is looked for later.
                    Ok((!is_full || decoder.flush().is_ok()).then_some(decoder))
                }),
            };
            match outcome {
                Ok(decoder) => {
                    trial = decoder;
                    true
                }
                Err(error) => {
                    failed.push((*row, error));
                    false
                }
            }
        };
        let mut rows = rows;
        rows.retain(&mut is_good);
        rows
    }

    /// Some errors show only in finished columns (text that is no UTF-8, an enum without that symbol), and spoil all of them:
    /// the records are halved until those are alone that cause it.
    fn by_halves(&self, rows: &[u32], failed: &mut Vec<(u32, DecodeError)>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut open = vec![rows];
        // Reused while it is good: building one costs more than decoding a record.
        let mut spare = None;
        while let Some(rows) = open.pop() {
            if rows.is_empty() {
                continue;
            }
            let decoder = match spare.take().map_or_else(|| self.build_decoder(), Ok) {
                Ok(decoder) => decoder,
                Err(reason) => {
                    let cause = DecodeError::UnusableSchema { id: self.id, reason };
                    failed.extend(rows.iter().map(|row| (*row, cause.clone())));
                    continue;
                }
            };
            match (self.attempt(decoder, rows), rows) {
                (Ok((decoder, columns)), _) => {
                    spare = Some(decoder);
                    pieces.push((columns, rows.to_vec()));
                }
                (Err(error), [row]) => failed.push((*row, error)),
                (Err(_), _) => {
                    let (first, second) = rows.split_at(rows.len() / 2);
                    open.extend([second, first]);
                }
            }
        }
        pieces
    }

    /// Those of `rows` whose decoded form has room in memory.
    pub(super) fn of_bearable_size(
        &self,
        mut rows: Vec<u32>,
        weight: Weight,
        failed: &mut Vec<(u32, DecodeError)>,
    ) -> Vec<u32> {
        if weight.of(self.batch.size_bytes()) <= MAX_RECORD_BYTES {
            return rows;
        }
        rows.retain(|row| {
            let bytes = weight.of(self.batch.payload(*row as usize).unwrap_or_default().len());
            let fits = bytes <= MAX_RECORD_BYTES;
            if !fits {
                let error = DecodeError::TooLarge {
                    id: self.id,
                    bytes,
                    limit: MAX_RECORD_BYTES,
                };
                failed.push((*row, error));
            }
            fits
        });
        rows
    }

    pub(super) fn build_decoder(&self) -> Result<Decoder, String> {
        build_decoder(self.id, self.json)
    }

    fn malformed(&self, reason: &str) -> DecodeError {
        DecodeError::Malformed {
            id: self.id,
            reason: error::without_payload(reason),
        }
    }
}

/// Bytes from anywhere may find a case that the decoder library did not foresee: its panic is that record's error.
fn guarded<T>(id: u32, work: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(DecodeError::Malformed {
            id,
            reason: "the decoder panicked".to_owned(),
        })
    })
}

/// Decodes one record. After an error the decoder must be dropped.
fn feed(decoder: &mut Decoder, batch: &RawBatch, row: u32) -> Result<(), DecodeError> {
    let payload = batch.payload(row as usize).unwrap_or_default();
    let id = wire::schema_id(Some(payload))?;
    let before = decoder.capacity();
    let consumed = decoder.decode(payload);
    match (before - decoder.capacity(), consumed) {
        (1, Ok(bytes)) if bytes == payload.len() => Ok(()),
        (0, Ok(_)) => Err(DecodeError::Truncated { id }),
        (0, Err(error)) => Err(DecodeError::Malformed {
            id,
            reason: error::without_payload(&error.to_string()),
        }),
        // The record was whole; what follows it is another one or nothing that the decoder knows.
        _ => Err(DecodeError::TrailingBytes { id }),
    }
}

/// A decoder for a schema that was checked.
pub(super) fn build_decoder(id: u32, json: &str) -> Result<Decoder, String> {
    let build = || {
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
    };
    catch_unwind(build)
        .unwrap_or_else(|_| Err("the decoder panicked".to_owned()))
        .map_err(|reason| reason.chars().take(MAX_REASON_CHARS).collect())
}

/// The library quotes whole schemas.
const MAX_REASON_CHARS: usize = 300;

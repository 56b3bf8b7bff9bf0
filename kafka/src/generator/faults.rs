//! What goes wrong in a feed, by chance: decided here, in one draw a record.

use rand::Rng;
use rand::rngs::SmallRng;

use super::batch::GeneratedBatch;
use super::options::{BadRecordKind, GeneratorOptions};

/// Bytes of Confluent's prefix.
const PREFIX_BYTES: usize = 5;
/// Schema id of [`BadRecordKind::UnknownSchema`]: registries count from 1.
const NOBODYS_SCHEMA_ID: u32 = 0x7fff_ffff;
/// A present string of length -1. (A union branch that does not exist is no use here: `arrow-avro` takes every branch of
/// a nullable field but the null one for the value.)
const NEGATIVE_LENGTH: [u8; 2] = [2, 1];

/// What the next record of a topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    New,
    Correction,
    Duplicate,
    Bad,
}

/// Draws what the next record is. `corrections` is 0 for topics that have none.
pub(super) fn fate(options: &GeneratorOptions, corrections: f64, rng: &mut SmallRng) -> Fate {
    let draw: f64 = rng.random();
    let duplicates = corrections + options.duplicates;
    if draw < corrections {
        Fate::Correction
    } else if draw < duplicates {
        Fate::Duplicate
    } else if draw < duplicates + options.bad_records {
        Fate::Bad
    } else {
        Fate::New
    }
}

/// True with the probability `fraction`. Draws nothing at 0, so that a fault that is off costs nothing.
pub(super) fn chance(fraction: f64, rng: &mut SmallRng) -> bool {
    fraction > 0.0 && rng.random::<f64>() < fraction
}

/// Makes the newest record of a batch impossible to decode.
pub(super) fn spoil_last(batch: &mut GeneratedBatch, options: &GeneratorOptions, rng: &mut SmallRng) {
    let Some(length) = batch.last().and_then(|record| record.value).map(<[u8]>::len) else {
        return;
    };
    let kind = options.bad_kinds[rng.random_range(0..options.bad_kinds.len())];
    match kind {
        // Any strict prefix of an Avro record is incomplete.
        BadRecordKind::Truncated => {
            let kept = rng.random_range(PREFIX_BYTES..length);
            batch.change_last_value(|bytes, start| bytes.truncate(start + kept));
        }
        BadRecordKind::WrongMagic => {
            let magic = rng.random_range(1..=u8::MAX);
            batch.change_last_value(|bytes, start| bytes[start] = magic);
        }
        BadRecordKind::Empty => batch.change_last_value(|bytes, start| bytes.truncate(start)),
        // All three schemas begin with a nullable string.
        BadRecordKind::Corrupt => batch.change_last_value(|bytes, start| {
            let at = start + PREFIX_BYTES;
            bytes[at..at + NEGATIVE_LENGTH.len()].copy_from_slice(&NEGATIVE_LENGTH);
        }),
        BadRecordKind::UnknownSchema => batch.change_last_value(|bytes, start| {
            bytes[start + 1..start + PREFIX_BYTES].copy_from_slice(&NOBODYS_SCHEMA_ID.to_be_bytes());
        }),
        BadRecordKind::Tombstone => batch.drop_last_value(),
    }
}

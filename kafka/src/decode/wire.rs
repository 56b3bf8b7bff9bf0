//! Confluent wire format: magic byte 0, schema id as four bytes big-endian, Avro body.

use super::DecodeError;

const HEADER_BYTES: usize = 5;

/// The schema id of a record's value; `None` is a tombstone.
pub(super) fn schema_id(payload: Option<&[u8]>) -> Result<u32, DecodeError> {
    let payload = payload.ok_or(DecodeError::Tombstone)?;
    match payload {
        [] => Err(DecodeError::Empty),
        [0, a, b, c, d, ..] => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        [0, ..] => Err(DecodeError::TooShort { bytes: payload.len() }),
        [magic, ..] => Err(DecodeError::WrongMagic { magic: *magic }),
    }
}

/// The smallest value that can name its schema.
pub(super) const fn header_bytes() -> usize {
    HEADER_BYTES
}

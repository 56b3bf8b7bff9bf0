//! Why a record could not be decoded. Its `Display` is what bronze keeps in `decode_error`: a stable code, then the detail.

use super::wire;

/// Cause of a row without decoded columns. Never quotes the payload: payloads are not logged, and the row has them as
/// `raw_value`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No value: the record marks its key as deleted.
    #[error("tombstone")]
    Tombstone,
    /// A value of no bytes.
    #[error("empty_value")]
    Empty,
    /// Too short for magic byte and schema id.
    #[error("too_short: {bytes} bytes, the wire format's header has {}", wire::header_bytes())]
    TooShort {
        /// Size of the value.
        bytes: usize,
    },
    /// Not Confluent wire format.
    #[error("wrong_magic_byte: 0x{magic:02x} instead of 0x00")]
    WrongMagic {
        /// The first byte.
        magic: u8,
    },
    /// The registry does not know the schema.
    #[error("unknown_schema_id: {0}")]
    UnknownSchema(u32),
    /// The schema is known and cannot be decoded with.
    #[error("unusable_schema: id {id}: {reason}")]
    UnusableSchema {
        /// Schema id.
        id: u32,
        /// What is wrong with the schema.
        reason: String,
    },
    /// The body ends before the record does.
    #[error("truncated: the value ends before the record of schema {id} does")]
    Truncated {
        /// Schema id.
        id: u32,
    },
    /// The body goes on after the record.
    #[error("trailing_bytes: the value goes on after the record of schema {id}")]
    TrailingBytes {
        /// Schema id.
        id: u32,
    },
    /// The body is not a record of its schema.
    #[error("malformed: schema {id}: {reason}")]
    Malformed {
        /// Schema id.
        id: u32,
        reason: String,
    },
    /// The record would take too much memory decoded.
    #[error("too_large: schema {id}: decoded it could take {bytes} bytes, at most {limit} may be")]
    TooLarge {
        /// Schema id.
        id: u32,
        /// What it could take.
        bytes: u64,
        /// What a record may take.
        limit: u64,
    },
    /// A timestamp field holds a string that is no ISO-8601 timestamp.
    #[error("bad_timestamp: field {field} of schema {id} is no ISO-8601 timestamp")]
    BadTimestamp {
        /// Schema id.
        id: u32,
        /// Field name.
        field: String,
    },
    /// The record's types cannot be reconciled with the table's.
    #[error("schema_conflict: schema {id}: {reason}")]
    SchemaConflict {
        /// Schema id.
        id: u32,
        /// Which field, which types.
        reason: String,
    },
}

impl DecodeError {
    /// The stable code: what stands before the colon.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Tombstone => "tombstone",
            Self::Empty => "empty_value",
            Self::TooShort { .. } => "too_short",
            Self::WrongMagic { .. } => "wrong_magic_byte",
            Self::UnknownSchema(_) => "unknown_schema_id",
            Self::UnusableSchema { .. } => "unusable_schema",
            Self::Truncated { .. } => "truncated",
            Self::TrailingBytes { .. } => "trailing_bytes",
            Self::Malformed { .. } => "malformed",
            Self::TooLarge { .. } => "too_large",
            Self::BadTimestamp { .. } => "bad_timestamp",
            Self::SchemaConflict { .. } => "schema_conflict",
        }
    }

    /// The schema id that the record names, if it names one.
    pub fn schema_id(&self) -> Option<u32> {
        match self {
            Self::Tombstone | Self::Empty | Self::TooShort { .. } | Self::WrongMagic { .. } => None,
            Self::UnknownSchema(id)
            | Self::UnusableSchema { id, .. }
            | Self::Truncated { id }
            | Self::TrailingBytes { id }
            | Self::Malformed { id, .. }
            | Self::TooLarge { id, .. }
            | Self::BadTimestamp { id, .. }
            | Self::SchemaConflict { id, .. } => Some(*id),
        }
    }
}

/// The decoder's message without what it may quote: decoders quote values in quotation marks or after a colon's second
/// half at most, so the message is cut at the first quote and to 200 characters.
pub(super) fn without_payload(message: &str) -> String {
    let quoted = message.find(['"', '\'', '`']).unwrap_or(message.len());
    message[..quoted]
        .chars()
        .take(200)
        .collect::<String>()
        .trim_end()
        .to_owned()
}

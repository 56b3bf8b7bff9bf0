//! Parquet files: data files with their encodings and bounds, position deletes, and the `DataFile` that a commit lists.

mod encoder;
mod encodings;
mod position_deletes;
mod stats;

pub use encoder::{EncodedFile, FileEncoder, FileError, write_file};
pub use position_deletes::write_position_deletes;

//! Parquet data files: encoding, bounds, and the `DataFile` that a commit lists.

mod encoder;
mod encodings;
mod stats;

pub use encoder::{EncodedFile, FileEncoder, FileError, write_file};

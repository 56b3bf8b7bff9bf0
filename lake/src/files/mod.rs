//! Parquet files: data files with their encodings and bounds, position deletes, and the `DataFile` that a commit lists.

mod encoder;
mod encodings;
mod layout;
mod position_deletes;
mod stats;
mod streamed;

use iceberg::spec::{DataFile, DataFileBuilder};
use iceberg::{Error, ErrorKind};

pub use encoder::{EncodedFile, FileEncoder, FileError, write_file, write_file_in};
pub(crate) use encoder::{Place, write_file_at};
pub use layout::FileLayout;
pub use position_deletes::{read_position_deletes, write_position_deletes};
pub(crate) use stats::whole_number;
pub(crate) use streamed::StreamedFile;

/// Who made a file, as its footer says.
const CREATED_BY: &str = concat!("tapehouse ", env!("CARGO_PKG_VERSION"));

/// What a manifest will say of a file, once everything was said.
fn described(builder: &DataFileBuilder) -> iceberg::Result<DataFile> {
    let built = builder.build();
    built.map_err(|error| Error::new(ErrorKind::DataInvalid, error.to_string()))
}

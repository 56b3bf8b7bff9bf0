//! Parquet files read by range: the footer, then what is asked for of one row group at a time.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, try_join_all};
use iceberg::io::{FileIO, FileRead};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

/// Bytes read at the end of a file, in the hope that they hold its whole footer.
const FOOTER_BYTES: usize = 64 << 10;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The warehouse.
    #[error(transparent)]
    Storage(#[from] iceberg::Error),
    /// The file's content.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
}

/// A file and its size.
pub(crate) struct RangedFile {
    reader: Box<dyn FileRead>,
    size_bytes: u64,
}

impl RangedFile {
    /// Opens the file at `location`, whose manifest says that it has `size_bytes`.
    pub(crate) async fn open(io: &FileIO, location: &str, size_bytes: u64) -> Result<Self, iceberg::Error> {
        let reader = io.new_input(location)?.reader().await?;
        Ok(Self { reader, size_bytes })
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, ParquetError> {
        self.reader
            .read(range)
            .await
            .map_err(|error| ParquetError::External(Box::new(error)))
    }
}

impl AsyncFileReader for RangedFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.read(range).boxed()
    }

    /// One read a column, all at once.
    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        let this = &*self;
        try_join_all(ranges.into_iter().map(|range| this.read(range))).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let size_bytes = self.size_bytes;
        let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_BYTES));
        async move { Ok(Arc::new(reader.load_and_finish(self, size_bytes).await?)) }.boxed()
    }
}

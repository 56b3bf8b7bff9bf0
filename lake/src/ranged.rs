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

use crate::error::LakeError;

/// Bytes read at the end of a file, in the hope that they hold its whole footer.
const FOOTER_BYTES: u64 = 64 << 10;

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

impl ReadError {
    /// With the file at `path` that it is about.
    pub(crate) fn of_file(self, path: &str) -> LakeError {
        let storage = LakeError::iceberg(format!("reading {path}"));
        let parquet = match self {
            Self::Storage(source) => return storage(source),
            // Reads go through the Parquet reader, which wraps what went wrong with them.
            Self::Parquet(ParquetError::External(source)) => match source.downcast::<iceberg::Error>() {
                Ok(source) => return storage(*source),
                Err(source) => ParquetError::External(source),
            },
            Self::Parquet(source) => source,
        };
        LakeError::Parquet {
            path: path.to_owned(),
            source: parquet,
        }
    }
}

/// A file and its size. Clones share what was read of its end.
#[derive(Clone)]
pub(crate) struct RangedFile {
    reader: Arc<dyn FileRead>,
    size_bytes: u64,
    tail_bytes: u64,
    /// The end of the file, and where it starts.
    tail: Option<(u64, Bytes)>,
}

impl RangedFile {
    /// Opens the file at `location`, whose manifest says that it has `size_bytes`.
    pub(crate) async fn open(io: &FileIO, location: &str, size_bytes: u64) -> Result<Self, iceberg::Error> {
        let reader = io.new_input(location)?.reader().await?;
        Ok(Self {
            reader: reader.into(),
            size_bytes,
            tail_bytes: FOOTER_BYTES,
            tail: None,
        })
    }

    /// The same file, read by one request and kept where it is of no more than `max_bytes`: small files take longer to ask for
    /// than to send.
    pub(crate) fn whole_up_to(self, max_bytes: u64) -> Self {
        let tail_bytes = match self.size_bytes <= max_bytes {
            true => self.size_bytes,
            false => self.tail_bytes,
        };
        Self { tail_bytes, ..self }
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, ParquetError> {
        if let Some((start, tail)) = &self.tail
            && *start <= range.start
            && range.start <= range.end
            && range.end - start <= tail.len() as u64
        {
            let within = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
            return Ok(tail.slice(within(range.start)..within(range.end)));
        }
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
        async move {
            let size_bytes = self.size_bytes;
            let mut reader = ParquetMetaDataReader::new();
            if size_bytes > 0 {
                let start = size_bytes.saturating_sub(self.tail_bytes);
                let tail = self.read(start..size_bytes).await?;
                reader = reader.with_prefetch_hint(Some(tail.len()));
                self.tail = Some((start, tail));
            }
            Ok(Arc::new(reader.load_and_finish(self, size_bytes).await?))
        }
        .boxed()
    }
}

//! A data file that is written while it is encoded, so that it is never in memory as a whole (S3 takes it when it is closed).

use arrow_array::RecordBatch;
use iceberg::io::FileWrite;
use iceberg::spec::DataFile;

use super::encoder::{Place, file_at};
use super::{FileEncoder, FileError, FileLayout};
use crate::error::LakeError;
use crate::storage::Batch;

/// An open file of one date.
pub(crate) struct StreamedFile {
    encoder: FileEncoder,
    writer: Box<dyn FileWrite>,
    place: Place,
}

impl StreamedFile {
    /// Opens a file of a batch under `table_location`; its first rows are `first`, which are not yet written. `date` in days since
    /// 1970-01-01.
    pub async fn create(
        batch: &Batch,
        table_location: &str,
        layout: &FileLayout,
        date: i32,
        first: &RecordBatch,
    ) -> Result<Self, FileError> {
        let encoder = FileEncoder::open(layout, date, first)?;
        let place = Place::of_date(table_location, layout.partition_column(), date);
        let failed = || LakeError::iceberg(format!("writing {}", place.path));
        let output = batch.io().new_output(&place.path).map_err(failed())?;
        let writer = output.writer().await.map_err(failed())?;
        Ok(Self { encoder, writer, place })
    }

    /// Encodes rows, and writes what is finished.
    pub async fn push(&mut self, rows: &RecordBatch) -> Result<(), FileError> {
        self.encoder.push(rows)?;
        for chunk in self.encoder.drain() {
            let written = self.writer.write(chunk).await;
            written.map_err(LakeError::iceberg(format!("writing {}", self.place.path)))?;
        }
        Ok(())
    }

    /// Writes the rest, and says what a manifest with partition spec `spec_id` will say of the file. Durable when the batch is finished.
    pub async fn finish(self, spec_id: i32) -> Result<DataFile, FileError> {
        let Self {
            encoder,
            mut writer,
            place,
        } = self;
        let mut file = encoder.finish()?;
        let failed = || LakeError::iceberg(format!("writing {}", place.path));
        for chunk in std::mem::take(&mut file.chunks) {
            writer.write(chunk).await.map_err(failed())?;
        }
        writer.close().await.map_err(failed())?;
        file_at(place, spec_id, file)
    }
}

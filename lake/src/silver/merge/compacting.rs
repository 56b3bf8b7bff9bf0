//! Reading the inputs of a compaction and writing its outputs: what takes its time, beside merges.

use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use iceberg::spec::DataFile;

use super::MergeError;
use super::compact::{Compacted, Compaction, Group};
use crate::error::LakeError;
use crate::files::{FileLayout, StreamedFile};
use crate::live_rows::LiveRows;
use crate::silver::source::SourceError;
use crate::storage::Batch;

/// Rows that are encoded at once: what a file's encodings are chosen by.
const ROWS_AT_ONCE: usize = 65_536;

impl Compaction {
    /// Data files that are read.
    pub fn inputs(&self) -> usize {
        self.groups.iter().map(|group| group.inputs.len()).sum()
    }

    /// Rows that are read.
    pub fn rows(&self) -> u64 {
        let inputs = self.groups.iter().flat_map(|group| &group.inputs);
        inputs.map(|input| u64::from(input.live_rows())).sum()
    }

    /// Reads the inputs and writes the outputs; `None` when `stop` was set meanwhile. Decodes and encodes: call it from a thread for CPU
    /// work, with `Handle::block_on`. Holds a row group of an input and of an output; on S3 a whole output.
    ///
    /// # Errors
    /// When a file cannot be read or written. What was written then is in no snapshot; orphan removal finds it.
    pub async fn run(self, stop: &AtomicBool) -> Result<Option<Compacted>, MergeError> {
        let batch = self.lake.warehouse().batch(self.table.metadata().location());
        let mut groups = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            match self.rewrite(&batch, group, stop).await? {
                Some(output) => groups.push((group.clone(), output)),
                None => return Ok(None),
            }
        }
        batch.finish().await?;
        Ok(Some(Compacted { groups }))
    }

    /// The one file that a group becomes, `Some(None)` where no row is left of it; `None` when stopped.
    async fn rewrite(
        &self,
        batch: &Batch,
        group: &Group,
        stop: &AtomicBool,
    ) -> Result<Option<Option<DataFile>>, MergeError> {
        let metadata = self.table.metadata();
        let (location, spec_id) = (metadata.location(), metadata.default_partition_spec_id());
        let io = self.lake.io_of(&self.table);
        let table = || self.table.ident().clone();
        let unusable = |error: SourceError| match error {
            SourceError::Lake(error) => error,
            other => LakeError::Unusable {
                table: table(),
                reason: other.to_string(),
            },
        };
        let mut output = Output::new(batch, location, &self.layout, group.date);
        for input in &group.inputs {
            let mut live = LiveRows::whole(io.clone(), &input.file, &self.layout, &input.gone);
            let before = output.rows;
            while let Some((_, rows)) = live.next().await.map_err(unusable)? {
                if stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                output.push(rows).await?;
            }
            let (found, expected) = (output.rows - before, u64::from(input.live_rows()));
            if found != expected {
                let path = input.file.file_path();
                let reason = format!("{path} has {found} rows that are not deleted, the table says {expected}");
                return Err(LakeError::Unusable { table: table(), reason }.into());
            }
        }
        Ok(Some(output.finish(spec_id).await?))
    }
}

/// An output while it is written. Rows are gathered first, so that what they are like decides how they are encoded.
struct Output<'a> {
    batch: &'a Batch,
    location: &'a str,
    layout: &'a FileLayout,
    date: i32,
    file: Option<StreamedFile>,
    gathered: Vec<RecordBatch>,
    gathered_rows: usize,
    rows: u64,
}

impl<'a> Output<'a> {
    fn new(batch: &'a Batch, location: &'a str, layout: &'a FileLayout, date: i32) -> Self {
        Self {
            batch,
            location,
            layout,
            date,
            file: None,
            gathered: Vec::new(),
            gathered_rows: 0,
            rows: 0,
        }
    }

    async fn push(&mut self, rows: RecordBatch) -> Result<(), MergeError> {
        self.rows += rows.num_rows() as u64;
        self.gathered_rows += rows.num_rows();
        self.gathered.push(rows);
        match self.gathered_rows >= ROWS_AT_ONCE {
            true => self.encode().await,
            false => Ok(()),
        }
    }

    async fn encode(&mut self) -> Result<(), MergeError> {
        if self.gathered_rows == 0 {
            return Ok(());
        }
        let rows = concat_batches(self.layout.arrow(), &std::mem::take(&mut self.gathered))?;
        self.gathered_rows = 0;
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let created = StreamedFile::create(self.batch, self.location, self.layout, self.date, &rows);
                self.file.insert(created.await?)
            }
        };
        Ok(file.push(&rows).await?)
    }

    async fn finish(mut self, spec_id: i32) -> Result<Option<DataFile>, MergeError> {
        self.encode().await?;
        match self.file {
            Some(file) => Ok(Some(file.finish(spec_id).await?)),
            None => Ok(None),
        }
    }
}

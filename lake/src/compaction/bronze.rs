//! Compaction of a bronze table: which of its files may be rewritten, and their rows in one new file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow_array::RecordBatch;
use futures::TryStreamExt as _;
use iceberg::io::FileIO;
use iceberg::spec::{DataContentType, DataFile, DataFileFormat, Literal, ManifestEntry, PrimitiveLiteral, Transform};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use tapehouse_core::failpoint;
use uuid::Uuid;

use super::plan::{Candidate, Group};
use crate::bronze::{BronzeLayout, PARTITION_COLUMN};
use crate::commit::{Rewrite, Rewritten, referenced_data_file};
use crate::error::LakeError;
use crate::files::{FileError, StreamedFile};
use crate::find::leaf;
use crate::lake::Lake;
use crate::ranged::ReadError;
use crate::silver::source::SourceError;
use crate::silver::source::columns::Columns;
use crate::silver::source::file::Footer;
use crate::table::LoadedTable;

/// Key of the summary with the number of files that became one.
const COMPACTED_FILES: &str = "tapehouse.compacted-files";
/// Rows are read so many bytes at a time, as the file says that they take without compression.
const BATCH_BYTES: u64 = 8 << 20;
/// Rows read at a time at most.
const MAX_BATCH_ROWS: u64 = 65_536;

/// Why files were not rewritten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompactionError {
    /// They cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The new file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file has something that the table does not have under this name: it would be lost.
    #[error("data file {path}: column {column} would not be kept whole")]
    Unfit {
        /// The file.
        path: String,
        /// The column.
        column: String,
    },
    /// The file was to be rewritten no longer.
    #[error("the compaction was given up")]
    GivenUp,
}

impl CompactionError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Source(error) => error.code(),
            Self::File(error) => error.code(),
            Self::Unfit { .. } | Self::GivenUp => "lake",
        }
    }

    /// Whether the same files may be rewritten later, without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Source(error) => error.is_retryable(),
            // Of the rows themselves only what the encoder says.
            Self::File(error) => matches!(error, FileError::Write(_)),
            Self::Unfit { .. } => false,
            Self::GivenUp => true,
        }
    }
}

impl From<LakeError> for CompactionError {
    fn from(error: LakeError) -> Self {
        Self::Source(error.into())
    }
}

/// The live data files of a table that may be rewritten, by partition.
#[derive(Debug, Default)]
pub struct SmallFiles {
    /// By date of the partition, in days since 1970-01-01.
    pub partitions: BTreeMap<i32, Vec<Candidate>>,
    /// All live data files of the table.
    pub live_files: u64,
    entries: HashMap<String, Arc<ManifestEntry>>,
}

impl SmallFiles {
    /// Looks at the live files of `table`. Those are left out that another engine deleted rows of, that are under another partition spec or in
    /// another format; all of them where a delete file is not for one data file alone.
    ///
    /// # Errors
    /// When a manifest cannot be read.
    pub async fn of(lake: &Lake, table: &LoadedTable) -> Result<Self, LakeError> {
        let mut found = Self::default();
        let metadata = table.metadata();
        let spec = metadata.default_partition_spec();
        let is_by_date = |field: &iceberg::spec::PartitionField| {
            let column = metadata.current_schema().field_id_by_name(PARTITION_COLUMN);
            field.transform == Transform::Identity && Some(field.source_id) == column
        };
        if !matches!(spec.fields(), [field] if is_by_date(field)) {
            return Ok(found);
        }
        let io = lake.io_of(table);
        let (mut deletes, mut has_other_deletes) = (HashSet::new(), false);
        for file in table.manifests(&io).await?.iter() {
            let manifest = lake.manifest(&io, file).await?;
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                match (entry.content_type(), referenced_data_file(entry.data_file())) {
                    (DataContentType::Data, _) => {
                        found.live_files += 1;
                        if file.partition_spec_id == spec.spec_id() {
                            found.add(entry);
                        }
                    }
                    (DataContentType::PositionDeletes, Some(data_file)) => drop(deletes.insert(data_file)),
                    _ => has_other_deletes = true,
                }
            }
        }
        if has_other_deletes {
            found.partitions.clear();
        }
        for files in found.partitions.values_mut() {
            files.retain(|file| !deletes.contains(&file.location));
        }
        Ok(found)
    }

    fn add(&mut self, entry: &Arc<ManifestEntry>) {
        let file = entry.data_file();
        let [Some(Literal::Primitive(PrimitiveLiteral::Int(date)))] = file.partition().fields() else {
            return;
        };
        let Some(sequence_number) = entry.sequence_number() else {
            return;
        };
        if file.file_format() != DataFileFormat::Parquet {
            return;
        }
        self.partitions.entry(*date).or_default().push(Candidate {
            location: file.file_path().to_owned(),
            sequence_number,
            rows: file.record_count(),
            bytes: file.file_size_in_bytes(),
            deleted_rows: 0,
        });
        self.entries.insert(file.file_path().to_owned(), Arc::clone(entry));
    }
}

/// Writes the rows of `group`, files of the partition `date` of `files`, into one new file, in order of their data sequence numbers.
/// Decodes and encodes: call it from a thread for CPU work, with `Handle::block_on`. It ends soon after `goes_on` says no.
///
/// Memory: one row group of an input, one of the output, and some 8 MiB of rows; in S3 the whole output, compressed.
///
/// # Errors
/// [`CompactionError`]. What was written then is in no snapshot; orphan removal finds it.
pub async fn rewrite(
    lake: &Lake,
    table: &LoadedTable,
    files: &SmallFiles,
    date: i32,
    group: &Group,
    goes_on: &(dyn Fn() -> bool + Sync),
) -> Result<Rewrite, CompactionError> {
    let candidates = files.partitions.get(&date).map_or(&[][..], Vec::as_slice);
    let inputs = group.inputs.iter().filter_map(|at| candidates.get(*at));
    let inputs: Vec<&Arc<ManifestEntry>> = inputs.filter_map(|file| files.entries.get(&file.location)).collect();
    let schema = table.metadata().current_schema();
    let layout = BronzeLayout::new(Arc::clone(schema)).map_err(|source| SourceError::Schema {
        table: table.ident().clone(),
        source,
    })?;
    let names: Vec<&str> = layout
        .arrow()
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let batch = lake.warehouse().batch(table.metadata().location());
    let mut output = Output {
        table,
        batch: &batch,
        layout: &layout,
        date,
        file: None,
    };
    let reading = Reading {
        io: lake.io_of(table),
        columns: Columns::new(table, &names)?,
        table,
        goes_on,
    };
    for input in &inputs {
        reading.copy(input, &mut output).await?;
    }
    let outputs = output.finish().await?;
    batch.finish().await?;
    failpoint::reach("after_compaction_write");
    let rewritten = inputs.iter().map(|input| Rewritten {
        data_file: input.file_path().to_owned(),
        delete_file: None,
    });
    Ok(Rewrite {
        commit_id: Uuid::new_v4(),
        inputs: rewritten.collect(),
        outputs,
        deletes: Vec::new(),
        summary: [(COMPACTED_FILES.to_owned(), inputs.len().to_string())].into(),
    })
}

struct Reading<'a> {
    io: FileIO,
    columns: Columns,
    table: &'a LoadedTable,
    goes_on: &'a (dyn Fn() -> bool + Sync),
}

impl Reading<'_> {
    /// Appends all rows of a file to the output.
    async fn copy(&self, input: &ManifestEntry, output: &mut Output<'_>) -> Result<(), CompactionError> {
        let path = input.file_path();
        let failed = |error: ReadError| error.of_file(path);
        let decoding = |error: ParquetError| failed(ReadError::Parquet(error));
        let footer = Footer::read(&self.io, input).await.map_err(failed)?;
        let parquet = footer.metadata.parquet_schema();
        let unfit = |column: &str| CompactionError::Unfit {
            path: path.to_owned(),
            column: column.to_owned(),
        };
        // Other engines may leave out what the partition says already.
        if leaf(parquet, self.table.metadata().current_schema(), PARTITION_COLUMN).is_none() {
            return Err(unfit(PARTITION_COLUMN));
        }
        let columns = self.columns.in_file(parquet);
        for (index, group) in footer.metadata.metadata().row_groups().iter().enumerate() {
            let builder = footer.row_group(index).with_projection(columns.mask.clone());
            let mut rows = builder.with_batch_size(batch_rows(group)).build().map_err(decoding)?;
            while let Some(read) = rows.try_next().await.map_err(decoding)? {
                if !(self.goes_on)() {
                    return Err(CompactionError::GivenUp);
                }
                if let Some(column) = self.columns.lost_in(&columns, read.schema_ref()) {
                    return Err(unfit(column));
                }
                output.push(&self.columns.rows(path, &columns, &read)?).await?;
            }
        }
        Ok(())
    }
}

/// So many rows of a row group take [`BATCH_BYTES`], about.
fn batch_rows(group: &RowGroupMetaData) -> usize {
    let bytes = u64::try_from(group.total_byte_size()).unwrap_or_default().max(1);
    let rows = u64::try_from(group.num_rows()).unwrap_or_default();
    let fit = u128::from(BATCH_BYTES) * u128::from(rows) / u128::from(bytes);
    usize::try_from(fit.clamp(1, u128::from(MAX_BATCH_ROWS))).unwrap_or(1)
}

/// The new file, which is opened with its first rows.
struct Output<'a> {
    table: &'a LoadedTable,
    batch: &'a crate::storage::Batch,
    layout: &'a BronzeLayout,
    date: i32,
    file: Option<StreamedFile>,
}

impl Output<'_> {
    async fn push(&mut self, rows: &RecordBatch) -> Result<(), FileError> {
        let rows = RecordBatch::try_new(Arc::clone(self.layout.arrow()), rows.columns().to_vec());
        let rows = rows.map_err(|error| ParquetError::ArrowError(error.to_string()))?;
        let file = match &mut self.file {
            Some(file) => file,
            empty => {
                let location = self.table.metadata().location();
                let opened = StreamedFile::create(self.batch, location, self.layout.file(), self.date, &rows).await?;
                empty.insert(opened)
            }
        };
        file.push(&rows).await
    }

    async fn finish(self) -> Result<Vec<DataFile>, FileError> {
        let spec_id = self.table.metadata().default_partition_spec_id();
        Ok(match self.file {
            Some(file) => vec![file.finish(spec_id).await?],
            None => Vec::new(),
        })
    }
}

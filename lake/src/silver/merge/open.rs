//! Opening a keyed table: its live files, the deleted rows of each, and the key index made from them.

use std::collections::HashMap;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use futures::TryStreamExt as _;
use iceberg::io::FileIO;
use iceberg::spec::DataFile;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::errors::ParquetError;
use roaring::RoaringBitmap;
use tapehouse_core::merge::MergeState;
use tapehouse_core::state::STATE_PROPERTY;

use super::MergeError;
use super::book::{BookedFile, FileBook};
use super::compact::Sweep;
use crate::commit::Committed;
use crate::error::LakeError;
use crate::files::{FileLayout, read_position_deletes};
use crate::find::leaf;
use crate::index::{Entry, IndexSettings, KeyHash, KeyIndex, KeyIndexBuilder, Location};
use crate::lake::{Lake, NewTable};
use crate::name::TableName;
use crate::ranged::{RangedFile, ReadError};
use crate::silver::clean::CleanError;
use crate::silver::{ORDER_COLUMNS, SilverTable, keys, orders};
use crate::table::LoadedTable;

/// Rows read at once when the index is made.
const BATCH_ROWS: usize = 65_536;

/// What a keyed table is.
#[derive(Clone, Debug)]
pub struct KeyedTable {
    /// Its name.
    pub ident: TableName,
    /// How it is created where it is missing.
    pub spec: NewTable,
    /// Columns of the key, never null.
    pub key_columns: &'static [&'static str],
    /// The key of each row, from these columns.
    pub keys: fn(&RecordBatch) -> Result<Vec<KeyHash>, CleanError>,
    /// The date column that it is partitioned by.
    pub partition_column: &'static str,
}

impl KeyedTable {
    /// A silver table under its own name.
    ///
    /// # Panics
    /// Never: the names of silver tables are names.
    pub fn of(table: SilverTable) -> Self {
        Self {
            ident: table.name().parse().expect("a name with its namespace"),
            spec: NewTable {
                schema: table.schema().as_ref().clone(),
                partition_spec: table.partition_spec().clone(),
                properties: HashMap::new(),
            },
            key_columns: table.key_columns(),
            keys: match table {
                SilverTable::Trades => |rows| keys(SilverTable::Trades, rows),
                SilverTable::OrderbookSnapshots => |rows| keys(SilverTable::OrderbookSnapshots, rows),
                SilverTable::MarketData => |rows| keys(SilverTable::MarketData, rows),
            },
            partition_column: table.date_column(),
        }
    }
}

/// Merges into one table. There may be others that merge into the same one: one of them will be refused, and opens it again.
#[derive(Debug)]
pub struct Merger {
    pub(super) lake: Lake,
    table: LoadedTable,
    state: MergeState,
    layout: FileLayout,
    pub(super) index: KeyIndex,
    pub(super) book: FileBook,
    pub(super) sweep: Option<Sweep>,
}

impl Merger {
    /// Opens `keyed`, creating it with `state` where it is missing, and makes its key index.
    ///
    /// # Errors
    /// When the table cannot be read, or its state is missing or not to be trusted.
    pub async fn open(
        lake: &Lake,
        keyed: &KeyedTable,
        state: &MergeState,
        index: IndexSettings,
    ) -> Result<Self, MergeError> {
        let mut spec = keyed.spec.clone();
        spec.properties.insert(STATE_PROPERTY.to_owned(), state.to_json());
        let table = lake.create_table(&keyed.ident, spec).await?;
        let layout = FileLayout::new(table.metadata().current_schema().clone(), keyed.partition_column)
            .map_err(LakeError::iceberg(format!("reading the schema of {}", keyed.ident)))?;
        let mut opening = Opening {
            lake,
            keyed,
            layout: &layout,
            book: FileBook::default(),
            index: KeyIndexBuilder::create(index)?,
        };
        opening.fill(&table).await?;
        let Opening { book, index, .. } = opening;
        Ok(Self {
            lake: lake.clone(),
            state: table.merge_state()?,
            table,
            index: index.finish()?.index,
            layout,
            book,
            sweep: None,
        })
    }

    /// What the table has consumed.
    pub fn state(&self) -> &MergeState {
        &self.state
    }

    /// The table as this merger knows it.
    pub fn table(&self) -> &LoadedTable {
        &self.table
    }

    /// Live rows.
    pub fn live_rows(&self) -> u64 {
        self.book.live_rows()
    }

    /// Data files.
    pub fn data_files(&self) -> usize {
        self.book.len()
    }

    /// The layout of the table's files.
    pub fn layout(&self) -> &FileLayout {
        &self.layout
    }

    /// Whether a commit of this merger took the place of the very version that its index is of. It need not when its answer was lost:
    /// another may have committed behind it by the time that it is found.
    pub(super) fn demand_successor(&self, committed: &Committed) -> Result<(), MergeError> {
        let expected = self.table.metadata().current_snapshot_id();
        let current = committed.table.metadata().current_snapshot();
        let is_successor = current.is_some_and(|current| {
            current.snapshot_id() == committed.snapshot_id && current.parent_snapshot_id() == expected
        });
        match is_successor {
            true => Ok(()),
            false => Err(MergeError::OtherBase {
                expected,
                found: current.map(|current| current.snapshot_id()),
            }),
        }
    }

    /// Takes over the version that a commit of this merger has made.
    pub(super) fn committed(&mut self, table: &LoadedTable) {
        self.table = table.clone();
        if let Ok(state) = table.merge_state() {
            self.state = state;
        }
    }
}

/// A table that is being opened.
struct Opening<'a> {
    lake: &'a Lake,
    keyed: &'a KeyedTable,
    layout: &'a FileLayout,
    book: FileBook,
    index: KeyIndexBuilder,
}

impl Opening<'_> {
    /// Enters all live rows.
    async fn fill(&mut self, table: &LoadedTable) -> Result<(), MergeError> {
        let live = self.lake.live_files(table).await?;
        let unusable = |reason: String| LakeError::Unusable {
            table: self.keyed.ident.clone(),
            reason,
        };
        if let Some(other) = live.other_deletes().next() {
            let reason = format!("delete file {} is not of one data file", other.file_path());
            return Err(unusable(reason).into());
        }
        let io = self.lake.io_of(table);
        let mut files: Vec<(&DataFile, i64)> = live.data_files().collect();
        files.sort_by_key(|(file, sequence_number)| (*sequence_number, file.file_path()));
        for (file, _) in files {
            let mut deletes = live.deletes_of(file.file_path());
            let delete_file = deletes.next();
            if deletes.next().is_some() {
                let reason = format!("data file {} has more than one delete file", file.file_path());
                return Err(unusable(reason).into());
            }
            let deleted = match delete_file {
                Some(delete_file) => read_position_deletes(&io, delete_file, file.file_path()).await?,
                None => Vec::new(),
            };
            let deleted: Result<RoaringBitmap, _> = deleted.into_iter().map(u32::try_from).collect();
            let deleted = deleted.map_err(|_| unusable(format!("{} has more than 2^32 rows", file.file_path())))?;
            let number = self.book.add(BookedFile {
                file: file.clone(),
                deleted,
                delete_file: delete_file.map(|file| file.file_path().to_owned()),
            });
            self.index_rows(&io, number).await?;
        }
        Ok(())
    }

    /// Enters the live rows of one file.
    async fn index_rows(&mut self, io: &FileIO, number: u32) -> Result<(), MergeError> {
        let file = self.book.file(number).clone();
        let failed = |error: ReadError| error.of_file(file.file.file_path());
        let mut position = 0;
        let mut batches = self.key_rows(io, &file.file).await.map_err(failed)?;
        while let Some(rows) = batches
            .try_next()
            .await
            .map_err(|error| failed(ReadError::Parquet(error)))?
        {
            let rows = self.named(&rows)?;
            let (keys, orders) = ((self.keyed.keys)(&rows)?, orders(&rows)?);
            let entries = (position..).zip(keys.into_iter().zip(orders));
            let live = entries.filter(|(position, _)| !file.deleted.contains(*position));
            for (position, (key, order)) in live {
                let location = Location { file: number, position };
                self.index.push(Entry { key, order, location })?;
            }
            position += u32::try_from(rows.num_rows()).unwrap_or(u32::MAX);
        }
        Ok(())
    }

    /// The columns of a file that the index is made from.
    async fn key_rows(
        &self,
        io: &FileIO,
        file: &DataFile,
    ) -> Result<parquet::arrow::async_reader::ParquetRecordBatchStream<RangedFile>, ReadError> {
        let reader = RangedFile::open(io, file.file_path(), file.file_size_in_bytes()).await?;
        // Plain types, whatever the writer had: the table's schema says what they are.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await?;
        let parquet = builder.parquet_schema();
        let mut leaves = Vec::new();
        for name in self.keyed.key_columns.iter().chain(&ORDER_COLUMNS) {
            let leaf = leaf(parquet, self.layout.schema(), name);
            leaves.push(leaf.ok_or_else(|| ParquetError::General(format!("there is no column {name}")))?);
        }
        let mask = ProjectionMask::leaves(parquet, leaves);
        Ok(builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?)
    }

    /// Rows of a file, typed as the table says.
    fn named(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let arrow = self.layout.arrow();
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
            let field = arrow.field_with_name(field.name())?;
            columns.push(arrow_cast::cast(column, field.data_type())?);
            fields.push(field.clone());
        }
        RecordBatch::try_new(std::sync::Arc::new(arrow_schema::Schema::new(fields)), columns)
    }
}

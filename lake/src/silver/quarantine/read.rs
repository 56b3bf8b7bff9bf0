//! Reading `ops.quarantine`.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch};
use arrow_schema::{ArrowError, DataType};
use futures::TryStreamExt as _;
use iceberg::spec::{DataFile, Literal, PrimitiveLiteral};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use tapehouse_core::merge::MergeState;
use tapehouse_core::quarantine::TableQuarantine;

use super::columns::{DECISION, ROW};
use super::entry::{Decision, Entry, RecordId, Verdict};
use super::{QuarantineError, columns};
use crate::error::LakeError;
use crate::lake::Lake;
use crate::ranged::{RangedFile, ReadError};
use crate::silver::SilverTable;
use crate::silver::clean::Waivers;
use crate::table::LoadedTable;

/// Files of up to this size are read by one request.
const WHOLE_BYTES: u64 = 1 << 20;
/// The column that few want and most bytes are of.
const ROW_JSON: &str = "row_json";

/// The decisions of one silver table.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    /// In order of their numbers.
    pub all: Vec<Decision>,
    /// What they waive.
    pub waivers: Waivers,
}

impl Decisions {
    fn of(mut all: Vec<Decision>, known: u64) -> Self {
        all.retain(|decision| decision.number < known);
        all.sort_by_key(|decision| decision.number);
        let replays = all.iter().filter(|decision| decision.verdict == Verdict::Replay);
        let waived = replays.map(|decision| (decision.id.coordinates, decision.rule.clone()));
        let waivers = Waivers::new(waived, known);
        Self { waivers, all }
    }
}

/// What is waived for the records of `table`, by all decisions so far.
///
/// # Errors
/// [`QuarantineError`].
pub async fn decisions(lake: &Lake, table: SilverTable) -> Result<Waivers, QuarantineError> {
    match Quarantine::load(lake).await? {
        Some(quarantine) => Ok(quarantine.decisions(lake, table).await?.waivers),
        None => Ok(Waivers::none()),
    }
}

/// What is waived for the records of `table` by the decisions that a table with `state` has applied; nothing where there is no state.
///
/// # Errors
/// [`QuarantineError`].
pub async fn applied(lake: &Lake, table: SilverTable, state: Option<&MergeState>) -> Result<Waivers, QuarantineError> {
    let applied = state.map_or(0, |state| state.decisions);
    match Quarantine::load(lake).await? {
        Some(quarantine) if applied > 0 => {
            let all = quarantine.decisions(lake, table).await?.all;
            Ok(Decisions::of(all, applied).waivers)
        }
        _ => Ok(Waivers::none()),
    }
}

/// One version of `ops.quarantine`.
#[derive(Clone, Debug)]
pub struct Quarantine {
    table: LoadedTable,
}

impl Quarantine {
    /// The table as it is now; `None` where nothing was ever set aside. Costs one query of the catalog while nobody commits.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn load(lake: &Lake) -> Result<Option<Self>, QuarantineError> {
        let table = lake.load(&columns::ident()).await?;
        Ok(table.map(|table| Self { table }))
    }

    /// What is recorded of `table`.
    ///
    /// # Errors
    /// When the state cannot be believed.
    pub fn of(&self, table: SilverTable) -> Result<TableQuarantine, QuarantineError> {
        Ok(self.table.quarantine_state()?.of(table.name()))
    }

    /// Who writes the table.
    ///
    /// # Errors
    /// When the state cannot be believed.
    pub fn owner(&self) -> Result<String, QuarantineError> {
        Ok(self.table.quarantine_state()?.owner)
    }

    /// All decisions about rows of `table`.
    ///
    /// # Errors
    /// [`QuarantineError`].
    pub async fn decisions(&self, lake: &Lake, table: SilverTable) -> Result<Decisions, QuarantineError> {
        let mut all = Vec::new();
        self.read(lake, Some(table), DECISION, true, |rows| {
            all.append(&mut decisions_in(rows)?);
            Ok(())
        })
        .await?;
        Ok(Decisions::of(all, self.of(table)?.decisions))
    }

    /// The rows that were set aside, in order of their ids: of `table` or of all, of which `wanted` is true. Their JSON is read only
    /// `with_json`; without it an entry takes some 200 bytes.
    ///
    /// # Errors
    /// [`QuarantineError`].
    pub async fn entries(
        &self,
        lake: &Lake,
        table: Option<SilverTable>,
        with_json: bool,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Result<Vec<Entry>, QuarantineError> {
        let mut all = Vec::new();
        self.read(lake, table, ROW, with_json, |rows| {
            all.extend(entries_in(rows)?.into_iter().filter(&wanted));
            Ok(())
        })
        .await?;
        all.sort_by(|one, other| (one.id, &one.rule).cmp(&(other.id, &other.rule)));
        Ok(all)
    }

    async fn read(
        &self,
        lake: &Lake,
        table: Option<SilverTable>,
        kind: &str,
        with_json: bool,
        mut each: impl FnMut(&RecordBatch) -> Result<(), ArrowError>,
    ) -> Result<(), QuarantineError> {
        let live = lake.live_files(&self.table).await?;
        let io = lake.io_of(&self.table);
        for (file, _) in live.data_files().filter(|(file, _)| belongs(file, table, kind)) {
            let failed = |error: ReadError| -> LakeError { error.of_file(file.file_path()) };
            let reader = RangedFile::open(&io, file.file_path(), file.file_size_in_bytes()).await;
            let reader = reader.map_err(|error| failed(error.into()))?.whole_up_to(WHOLE_BYTES);
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await;
            let builder = builder.map_err(|error| failed(error.into()))?;
            let roots = builder.parquet_schema().root_schema().get_fields().iter();
            let wanted = roots
                .enumerate()
                .filter(|(_, root)| with_json || root.name() != ROW_JSON);
            let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.map(|(root, _)| root));
            let batches = builder.with_projection(mask).build();
            let mut batches = batches.map_err(|error| failed(error.into()))?;
            while let Some(rows) = batches.try_next().await.map_err(|error| failed(error.into()))? {
                each(&rows)?;
            }
        }
        Ok(())
    }
}

/// Whether the file is of this partition.
pub(super) fn belongs(file: &DataFile, table: Option<SilverTable>, kind: &str) -> bool {
    let text = |value: Option<&Option<Literal>>| match value {
        Some(Some(Literal::Primitive(PrimitiveLiteral::String(text)))) => Some(text.clone()),
        _ => None,
    };
    let mut fields = file.partition().fields().iter();
    let (found_table, found_kind) = (text(fields.next()), text(fields.next()));
    found_kind.as_deref() == Some(kind) && table.is_none_or(|table| found_table.as_deref() == Some(table.name()))
}

/// Columns of a batch by name.
struct Columns<'a>(&'a RecordBatch);

impl Columns<'_> {
    fn text(&self, name: &str, row: usize) -> Option<String> {
        let column = self.0.column_by_name(name)?;
        let texts = column.as_string_opt::<i32>()?;
        texts.is_valid(row).then(|| texts.value(row).to_owned())
    }

    fn int(&self, name: &str, row: usize) -> Option<i32> {
        let column = self.0.column_by_name(name)?.as_primitive_opt::<Int32Type>()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn long(&self, name: &str, row: usize) -> Option<i64> {
        let column = self.0.column_by_name(name)?;
        if matches!(column.data_type(), DataType::Timestamp(..)) {
            let times = column.as_primitive_opt::<TimestampMicrosecondType>()?;
            return times.is_valid(row).then(|| times.value(row));
        }
        let longs = column.as_primitive_opt::<Int64Type>()?;
        longs.is_valid(row).then(|| longs.value(row))
    }

    fn id(&self, row: usize) -> Option<RecordId> {
        self.text("id", row)?.parse().ok()
    }

    fn rows<T>(&self, row: impl Fn(usize) -> Option<T>) -> Result<Vec<T>, ArrowError> {
        let unreadable = || ArrowError::SchemaError("a row has columns of other types, or none".to_owned());
        (0..self.0.num_rows())
            .map(|number| row(number).ok_or_else(unreadable))
            .collect()
    }
}

fn entries_in(rows: &RecordBatch) -> Result<Vec<Entry>, ArrowError> {
    let columns = Columns(rows);
    columns.rows(|row| {
        Some(Entry {
            id: columns.id(row)?,
            bronze_table: columns.text("bronze_table", row)?,
            rule: columns.text("rule", row)?,
            rule_version: columns.int("rule_version", row)?,
            reason: columns.text("reason", row).unwrap_or_default(),
            row_json: columns.text(ROW_JSON, row).unwrap_or_default(),
            after_decision: None,
        })
    })
}

fn decisions_in(rows: &RecordBatch) -> Result<Vec<Decision>, ArrowError> {
    let columns = Columns(rows);
    columns.rows(|row| {
        Some(Decision {
            number: u64::try_from(columns.long("decision_number", row)?).ok()?,
            id: columns.id(row)?,
            bronze_table: columns.text("bronze_table", row)?,
            rule: columns.text("rule", row)?,
            rule_version: columns.int("rule_version", row)?,
            verdict: Verdict::named(&columns.text("decision", row)?)?,
            decided_at_us: columns.long("decided_at", row)?,
            decided_by: columns.text("decided_by", row).unwrap_or_default(),
            note: columns.text("note", row),
        })
    })
}

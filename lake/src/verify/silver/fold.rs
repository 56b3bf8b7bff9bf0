//! Both sides of the comparison: silver's live rows, and bronze's rows as merging would clean them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Date32Type, TimestampMicrosecondType};
use arrow_array::{BooleanArray, RecordBatch};
use tapehouse_core::merge::MergeState;
use tapehouse_core::new_york::Dates;
use tapehouse_core::offsets::{OffsetRange, Ranges};

use super::compare::{Differences, Part, Pass};
use super::content::content_hashes;
use super::files::{date_of, rows_of};
use super::{SilverLook, VerifyError};
use crate::index::KeyHash;
use crate::lake::Lake;
use crate::live_rows::{LiveFile, LiveRows, Only};
use crate::silver::clean::{Cleaned, Counts, Rules, Waivers, clean};
use crate::silver::source::BronzeRows;
use crate::silver::{SilverTable, key_text, keys, orders};
use crate::table::LoadedTable;

/// Files with rows of a wrong date, or another number of rows than listed, that are named.
const MAX_NAMED: usize = 10;

/// What is compared.
pub(super) struct Sides {
    pub lake: Lake,
    pub kind: SilverTable,
    pub rules: Rules,
    /// What is waived by the decisions that silver has applied.
    pub waivers: Waivers,
    pub silver: LoadedTable,
    pub files: Vec<LiveFile>,
    pub bronze: LoadedTable,
    /// Silver's cursor: what it has of bronze.
    pub cursor: MergeState,
}

/// What one pass over both has found beside differences; the same in each pass.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub silver_rows: u64,
    pub bronze_rows: u64,
    pub counts: Counts,
    /// Messages about files and dates.
    pub faults: Vec<String>,
}

impl Sides {
    /// What merging makes of rows of bronze, by the rules and by what was decided.
    fn cleaned(&self, bronze: &RecordBatch) -> Result<Cleaned, VerifyError> {
        Ok(clean(self.kind, &self.rules, &self.waivers, bronze)?)
    }

    /// One pass. Decodes.
    pub async fn pass(
        &self,
        part: Part,
        all: &mut Differences,
        progress: &mut (dyn FnMut(SilverLook) + Send),
    ) -> Result<Scanned, VerifyError> {
        let mut pass = Pass::new(part);
        let mut scanned = Scanned::default();
        let look = |scanned: &Scanned| SilverLook {
            pass: part.number + 1,
            passes: part.of,
            silver_rows: scanned.silver_rows,
            bronze_rows: scanned.bronze_rows,
        };
        self.scan_silver(&mut pass, &mut scanned, &mut |scanned| progress(look(scanned)))
            .await?;
        self.scan_bronze(&mut pass, &mut scanned, &mut |scanned| progress(look(scanned)))
            .await?;
        pass.finish(all);
        Ok(scanned)
    }

    async fn scan_silver(
        &self,
        pass: &mut Pass,
        scanned: &mut Scanned,
        progress: &mut (dyn FnMut(&Scanned) + Send),
    ) -> Result<(), VerifyError> {
        let arrow = self.kind.arrow();
        let names: Vec<&str> = arrow.fields().iter().map(|field| field.name().as_str()).collect();
        let mut rows = LiveRows::of(&self.lake, &self.silver, self.files.clone(), &names, None)?;
        if let Some(missing) = names.iter().find(|name| rows.schema().field_with_name(name).is_err()) {
            scanned.faults.push(format!("the table has no column {missing}"));
            return Ok(());
        }
        let mut read = vec![0; self.files.len()];
        let mut misdated = Misdated::new(self.kind);
        while let Some((number, batch)) = rows.next().await? {
            read[number] += batch.num_rows() as u64;
            scanned.silver_rows += batch.num_rows() as u64;
            misdated.look(&self.files[number], &batch);
            let (keys, orders) = (keys(self.kind, &batch)?, orders(&batch)?);
            let contents = content_hashes(&batch)?;
            for ((key, order), content) in keys.into_iter().zip(orders).zip(contents) {
                pass.silver(key, order, content);
            }
            progress(scanned);
        }
        scanned.faults.extend(misdated.faults());
        let counts = self
            .files
            .iter()
            .zip(read)
            .filter(|(file, rows)| rows_of(file) != *rows);
        scanned.faults.extend(counts.take(MAX_NAMED).map(|(file, rows)| {
            let (path, listed) = (file.file.file_path(), rows_of(file));
            format!("data file {path} holds {rows} live rows, its manifests say {listed}")
        }));
        Ok(())
    }

    async fn scan_bronze(
        &self,
        pass: &mut Pass,
        scanned: &mut Scanned,
        progress: &mut (dyn FnMut(&Scanned) + Send),
    ) -> Result<(), VerifyError> {
        let columns = self.kind.source_columns();
        let mut rows = BronzeRows::of(&self.lake, &self.bronze, columns, up_to(&self.cursor)).await?;
        while let Some(batch) = rows.next().await? {
            scanned.bronze_rows += batch.num_rows() as u64;
            let cleaned = self.cleaned(&batch)?;
            scanned.counts.add(&cleaned.counts);
            let contents = content_hashes(&cleaned.rows)?;
            let keyed = cleaned.keys.iter().zip(&cleaned.orders).zip(contents);
            for (row, ((key, order), content)) in keyed.enumerate() {
                pass.bronze(*key, *order, content, || key_text(self.kind, &cleaned.rows, row));
            }
            progress(scanned);
        }
        Ok(())
    }

    /// Looks up the keys of differences that have none yet among silver's rows.
    pub async fn name_keys(&self, all: &mut Differences) -> Result<(), VerifyError> {
        let mut unnamed: HashMap<KeyHash, Option<String>> = all
            .examples()
            .filter(|difference| difference.text.is_none())
            .map(|difference| (difference.key, None))
            .collect();
        if unnamed.is_empty() {
            return Ok(());
        }
        let (kind, wanted) = (self.kind, Arc::new(unnamed.clone()));
        let only = Only {
            columns: kind.key_columns(),
            test: Arc::new(move |rows| {
                let keys =
                    keys(kind, rows).map_err(|error| arrow_schema::ArrowError::ExternalError(Box::new(error)))?;
                let found: Vec<bool> = keys.iter().map(|key| wanted.contains_key(key)).collect();
                Ok(BooleanArray::from(found))
            }),
        };
        let files = self.files.clone();
        let mut rows = LiveRows::of(&self.lake, &self.silver, files, kind.key_columns(), Some(only))?;
        while let Some((_, batch)) = rows.next().await? {
            for (row, key) in keys(kind, &batch)?.into_iter().enumerate() {
                unnamed.insert(key, Some(key_text(kind, &batch, row)));
            }
        }
        for difference in all.examples().filter(|difference| difference.text.is_none()) {
            difference.text = unnamed.get(&difference.key).cloned().flatten();
        }
        Ok(())
    }
}

/// All offsets before the cursor.
fn up_to(cursor: &MergeState) -> BTreeMap<i32, Ranges> {
    let of_incarnation = |(incarnation, next): (&i32, &BTreeMap<i32, i64>)| {
        let ranges = next
            .iter()
            .map(|(partition, next)| (*partition, OffsetRange::new(0, *next)));
        (*incarnation, Ranges(ranges.collect()))
    };
    cursor.next.iter().map(of_incarnation).collect()
}

/// Rows under another date than theirs.
struct Misdated {
    kind: SilverTable,
    dates: Dates,
    rows: u64,
    files: Vec<String>,
}

impl Misdated {
    fn new(kind: SilverTable) -> Self {
        Self {
            kind,
            dates: Dates::new(),
            rows: 0,
            files: Vec::new(),
        }
    }

    fn look(&mut self, file: &LiveFile, rows: &RecordBatch) {
        let column = |name| rows.column_by_name(name);
        let times =
            column(self.kind.timestamp_column()).and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
        let dates = column(self.kind.date_column()).and_then(|dates| dates.as_primitive_opt::<Date32Type>());
        // Other types than these are told by the keys.
        let (Some(times), Some(dates)) = (times, dates) else {
            return;
        };
        let listed = date_of(file);
        let wrong = times.values().iter().zip(dates.values()).filter(|(time_us, date)| {
            let due = self.dates.date(**time_us);
            **date != due || listed != Some(due)
        });
        let wrong = wrong.count() as u64;
        self.rows += wrong;
        let path = file.file.file_path();
        if wrong > 0 && self.files.len() < MAX_NAMED && self.files.last().is_none_or(|last| last != path) {
            self.files.push(path.to_owned());
        }
    }

    fn faults(&self) -> Option<String> {
        let (rows, column) = (self.rows, self.kind.timestamp_column());
        (rows > 0).then(|| {
            let files = self.files.join(", ");
            format!("{rows} rows are in another partition than the New York date of their {column}: in {files}")
        })
    }
}

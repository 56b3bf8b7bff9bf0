//! Finding the rows of a key in both tables, and judging those of bronze.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Date32Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, ArrowPrimitiveType, BooleanArray, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::ArrowError;
use iceberg::spec::{DataFile, Literal, PrimitiveLiteral};
use tapehouse_core::merge::MergeState;
use tapehouse_core::offsets::Ranges;
use tapehouse_core::words::one_line;

use super::{Fate, Key, KeyRecord, LiveRow, Looked, MAX_RECORDS, RecordId, Tables, decoding, is_merged};
use crate::commit::{LiveFiles, keys as entries};
use crate::files::whole_number;
use crate::index::{KeyHash, Order};
use crate::lake::Lake;
use crate::live_rows::{LiveFile, LiveRows, Only};
use crate::silver::clean::{Waivers, clean, rows_of_key};
use crate::silver::{SilverTable, keys, orders};
use crate::table::LoadedTable;
use crate::verify::VerifyError;

/// Of a value so much is shown.
const MAX_VALUE_CHARS: usize = 200;

/// Rows of bronze of one key.
pub(super) struct Found {
    pub rows: Vec<RecordBatch>,
    /// Rows beyond the limit.
    pub omitted: u64,
}

pub(super) struct Search;

impl Search {
    /// The rows of the key in bronze, with the columns that cleaning needs.
    pub async fn in_bronze(
        lake: &Lake,
        tables: &Tables<'_>,
        key: &Key,
        mut progress: impl FnMut(Looked) + Send + 'static,
    ) -> Result<Found, VerifyError> {
        let (kind, bronze) = (tables.kind, tables.bronze);
        let live = lake.live_files(bronze).await?;
        let files = files(&live, |file| admits(file, bronze, kind, key));
        let of = files.len() as u64;
        let wanted = key.clone();
        let only = Only {
            columns: kind.key_columns(),
            test: Arc::new(move |rows| {
                rows_of_key(kind, &wanted, rows).map_err(|error| ArrowError::ExternalError(Box::new(error)))
            }),
        };
        let rows = LiveRows::of(lake, bronze, files, kind.source_columns(), Some(only))?;
        let mut rows = rows.telling(move |files| {
            progress(Looked {
                in_silver: false,
                files,
                of,
            });
        });
        decoding(async move {
            let (mut found, mut kept, mut omitted) = (Vec::new(), 0, 0);
            while let Some((_, batch)) = rows.next().await? {
                let taken = batch.num_rows().min(MAX_RECORDS - kept);
                kept += taken;
                omitted += (batch.num_rows() - taken) as u64;
                if taken > 0 {
                    found.push(batch.slice(0, taken));
                }
            }
            Ok(Found { rows: found, omitted })
        })
        .await
    }

    /// Silver's row of the key. Files of the date `likely` are looked into first; the search ends with the first hit.
    pub async fn in_silver(
        lake: &Lake,
        kind: SilverTable,
        silver: &LoadedTable,
        key: KeyHash,
        likely: Option<i32>,
        mut progress: impl FnMut(Looked) + Send + 'static,
    ) -> Result<Option<LiveRow>, VerifyError> {
        let live = lake.live_files(silver).await?;
        let mut files = files(&live, |_| true);
        files.sort_by_key(|live| likely.is_none() || date_of(&live.file) != likely);
        let paths: Vec<String> = files.iter().map(|live| live.file.file_path().to_owned()).collect();
        let of = files.len() as u64;
        let only = Only {
            columns: kind.key_columns(),
            test: Arc::new(move |rows| {
                let keys = keys(kind, rows).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
                Ok(keys.iter().map(|each| Some(*each == key)).collect::<BooleanArray>())
            }),
        };
        let arrow = kind.arrow();
        let names: Vec<&str> = arrow.fields().iter().map(|field| field.name().as_str()).collect();
        let rows = LiveRows::of(lake, silver, files, &names, Some(only))?;
        let mut rows = rows.telling(move |files| {
            progress(Looked {
                in_silver: true,
                files,
                of,
            });
        });
        let found = decoding(async move { Ok(rows.next().await?) }).await?;
        let Some((number, batch)) = found else {
            return Ok(None);
        };
        let batch = batch.slice(0, 1);
        let order = orders(&batch)?[0];
        let snapshot = merged_with(silver, order.into());
        Ok(Some(LiveRow {
            record: order.into(),
            event_time_us: value::<TimestampMicrosecondType>(&batch, "event_timestamp"),
            values: values(&batch)?,
            data_file: paths[number].clone(),
            snapshot_id: snapshot.map(|(id, _)| id),
            committed_ms: snapshot.map(|(_, time_ms)| time_ms),
            order,
        }))
    }
}

fn files(live: &LiveFiles, admits: impl Fn(&DataFile) -> bool) -> Vec<LiveFile> {
    let mut files: Vec<(i64, LiveFile)> = live
        .data_files()
        .filter(|(file, _)| admits(file))
        .map(|(file, number)| {
            let path = file.file_path();
            let deletes = live.deletes_of(path).chain(live.other_deletes()).cloned().collect();
            (
                number,
                LiveFile {
                    file: file.clone(),
                    deletes,
                },
            )
        })
        .collect();
    // What is new is asked for most.
    files.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    files.into_iter().map(|(_, file)| file).collect()
}

/// Whether the bounds of a file of bronze permit that a row of the key is in it. Of texts there are none.
fn admits(file: &DataFile, bronze: &LoadedTable, kind: SilverTable, key: &Key) -> bool {
    let Key::TextAt(_, time_us) = key else { return true };
    let schema = bronze.metadata().current_schema();
    let Some(id) = schema.field_id_by_name(kind.timestamp_column()) else {
        return true;
    };
    let lower = file.lower_bounds().get(&id).and_then(whole_number);
    let upper = file.upper_bounds().get(&id).and_then(whole_number);
    lower.is_none_or(|lower| lower <= *time_us) && upper.is_none_or(|upper| *time_us <= upper)
}

fn date_of(file: &DataFile) -> Option<i32> {
    match file.partition().fields().first()? {
        Some(Literal::Primitive(PrimitiveLiteral::Int(date))) => Some(*date),
        _ => None,
    }
}

/// The retained snapshot whose ranges cover a record, and its time.
fn merged_with(silver: &LoadedTable, record: RecordId) -> Option<(i64, i64)> {
    let covers = |text: &String| {
        let ranges: std::collections::BTreeMap<i32, Ranges> = serde_json::from_str(text).ok()?;
        let range = ranges.get(&record.incarnation)?.0.get(&record.partition)?;
        Some(range.contains(record.offset))
    };
    let mut history = silver.ancestry();
    let snapshot = history.find(|snapshot| {
        let ranges = snapshot.summary().additional_properties.get(entries::RANGES);
        ranges.and_then(covers) == Some(true)
    });
    snapshot.map(|snapshot| (snapshot.snapshot_id(), snapshot.timestamp_ms()))
}

/// A row that cleaning keeps.
pub(super) struct Kept {
    pub key: KeyHash,
    pub order: Order,
    pub date: Option<i32>,
    values: Vec<(String, String)>,
}

/// A row of bronze, and what the rules make of it.
pub(super) struct Judged {
    record: Option<RecordId>,
    event_time_us: Option<i64>,
    kafka_timestamp_us: Option<i64>,
    pub kept: Option<Kept>,
    /// Why it is not kept.
    refused: Option<Fate>,
}

/// Cleans one row.
pub(super) fn judged(tables: &Tables<'_>, waivers: &Waivers, row: &RecordBatch) -> Result<Judged, VerifyError> {
    let cleaned = clean(tables.kind, tables.rules, waivers, row)?;
    let kept = match cleaned.keys.first() {
        None => None,
        Some(key) => Some(Kept {
            key: *key,
            order: cleaned.orders[0],
            date: value::<Date32Type>(&cleaned.rows, tables.kind.date_column()),
            values: values(&cleaned.rows)?,
        }),
    };
    let dropped = cleaned.counts.dropped.keys().next().map(|rule| Fate::Dropped {
        rule: (*rule).to_owned(),
    });
    let quarantined = cleaned.quarantined.first().map(|quarantined| Fate::Quarantined {
        rule: quarantined.rule.to_owned(),
        reason: quarantined.reason.clone(),
    });
    let record = || {
        Some(RecordId {
            incarnation: value::<Int32Type>(row, "topic_incarnation")?,
            partition: value::<Int32Type>(row, "kafka_partition")?,
            offset: value::<Int64Type>(row, "kafka_offset")?,
        })
    };
    Ok(Judged {
        record: record(),
        event_time_us: value::<TimestampMicrosecondType>(row, "event_timestamp"),
        kafka_timestamp_us: value::<TimestampMicrosecondType>(row, "kafka_timestamp"),
        kept,
        refused: dropped.or(quarantined),
    })
}

impl Judged {
    /// What became of it, beside silver's cursor and row.
    pub(super) fn told(self, cursor: Option<&MergeState>, row: Option<&LiveRow>) -> KeyRecord {
        let merged = self.record.map_or(Ok(()), |record| is_merged(cursor, record));
        let fate = match (merged, self.refused, &self.kept, row) {
            (Err(next), ..) => Fate::NotMerged { next },
            (_, Some(refused), ..) => refused,
            (_, _, Some(kept), Some(row)) if RecordId::from(kept.order) == row.record => Fate::Won,
            (_, _, Some(kept), Some(row)) if kept.order < row.order => Fate::Lost { to: row.record },
            _ => Fate::Absent,
        };
        let mut differing = self.kept.map(|kept| kept.values).unwrap_or_default();
        if let Some(row) = row {
            let is_coordinate = |name: &str| matches!(name, "topic_incarnation" | "kafka_partition" | "kafka_offset");
            differing.retain(|(name, value)| {
                let same = row.values.iter().any(|(other, known)| other == name && known == value);
                !same && !is_coordinate(name) && name != "event_timestamp"
            });
        }
        KeyRecord {
            record: self.record,
            event_time_us: self.event_time_us,
            kafka_timestamp_us: self.kafka_timestamp_us,
            fate,
            differing,
        }
    }
}

/// A value of the first row.
fn value<T: ArrowPrimitiveType>(rows: &RecordBatch, column: &str) -> Option<T::Native> {
    let column = rows.column_by_name(column)?.as_primitive_opt::<T>()?;
    (!column.is_empty() && column.is_valid(0)).then(|| column.value(0))
}

/// The values of the first row, written out; nulls are left out.
fn values(rows: &RecordBatch) -> Result<Vec<(String, String)>, ArrowError> {
    let options = FormatOptions::default();
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns());
    columns
        .filter(|(_, column)| column.is_valid(0))
        .map(|(field, column)| {
            let text = ArrayFormatter::try_new(column, &options)?.value(0).try_to_string()?;
            Ok((field.name().clone(), one_line(&text, MAX_VALUE_CHARS)))
        })
        .collect()
}

//! Day versions: of a table that is partitioned by a date, which state each day is in.
//!
//! The version of a day is the highest sequence number among its live data and delete files: it grows whenever rows come to the day
//! or leave it, a row that moves to another day included, whose delete is in the day that it leaves. It is read off the manifests
//! alone. Days without live files have none.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use iceberg::spec::{DataContentType, DataFile, Literal, PrimitiveLiteral, PrimitiveType, Transform, Type};

use crate::error::LakeError;
use crate::lake::Lake;
use crate::table::LoadedTable;

/// Summary key: the days that a commit has touched, JSON `["2024-06-03", ..]`; their number where they are more than 100.
pub const DAYS_KEY: &str = "tapehouse.days";
/// More touched days than this are only counted in a summary.
const MAX_DAYS_NAMED: usize = 100;
/// Tables whose days are kept; above this the cache starts afresh.
const MAX_CACHED_TABLES: usize = 64;

/// One day of a table, as its manifests tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// Highest sequence number among its live files.
    pub version: i64,
    /// Live rows, where all position deletes are for a single data file each, as Tapehouse writes them; else more.
    pub rows: u64,
    /// Live data files.
    pub files: u64,
    /// Live delete files.
    pub delete_files: u64,
}

/// Days of the snapshots that were looked at last, by table.
#[derive(Debug, Default)]
pub(crate) struct DaysCache(Mutex<HashMap<uuid::Uuid, (i64, Days)>>);

/// The days of one snapshot.
type Days = Arc<BTreeMap<i32, Day>>;

impl DaysCache {
    fn get(&self, table: &LoadedTable) -> Option<Arc<BTreeMap<i32, Day>>> {
        let metadata = table.metadata();
        // Whole between any two statements that could panic.
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (snapshot, days) = cached.get(&metadata.uuid())?;
        (Some(*snapshot) == metadata.current_snapshot_id()).then(|| Arc::clone(days))
    }

    fn keep(&self, table: &LoadedTable, days: &Arc<BTreeMap<i32, Day>>) {
        let metadata = table.metadata();
        let Some(snapshot) = metadata.current_snapshot_id() else {
            return;
        };
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= MAX_CACHED_TABLES && !cached.contains_key(&metadata.uuid()) {
            cached.clear();
        }
        cached.insert(metadata.uuid(), (snapshot, Arc::clone(days)));
    }
}

impl Lake {
    /// The days of `table`, in days since 1970-01-01. Reads manifests that are not in memory.
    ///
    /// # Errors
    /// [`LakeError::Unusable`] of a table that is not partitioned by one date; when a manifest cannot be read.
    pub async fn days(&self, table: &LoadedTable) -> Result<Arc<BTreeMap<i32, Day>>, LakeError> {
        demand_date_partition(table)?;
        if let Some(known) = self.days_cache().get(table) {
            return Ok(known);
        }
        let io = self.io_of(table);
        let mut days: BTreeMap<i32, Day> = BTreeMap::new();
        for file in table.manifests(&io).await?.iter() {
            let manifest = self.manifest(&io, file).await?;
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                let date = demand_date(table, entry.data_file())?;
                let day = days.entry(date).or_default();
                day.version = day.version.max(entry.sequence_number().unwrap_or_default());
                match entry.content_type() {
                    DataContentType::Data => {
                        day.files += 1;
                        day.rows = day.rows.wrapping_add(entry.data_file().record_count());
                    }
                    DataContentType::PositionDeletes => {
                        day.delete_files += 1;
                        // Data and deletes come in any order: below zero in between.
                        day.rows = day.rows.wrapping_sub(entry.data_file().record_count());
                    }
                    DataContentType::EqualityDeletes => day.delete_files += 1,
                }
            }
        }
        let days = Arc::new(days);
        self.days_cache().keep(table, &days);
        Ok(days)
    }

    /// The version of each day that has live files.
    ///
    /// # Errors
    /// As [`Lake::days`].
    pub async fn day_versions(&self, table: &LoadedTable) -> Result<BTreeMap<i32, i64>, LakeError> {
        let days = self.days(table).await?;
        Ok(days.iter().map(|(date, day)| (*date, day.version)).collect())
    }
}

/// The date that a file of a table that is partitioned by one date belongs to, in days since 1970-01-01.
pub(crate) fn partition_date(file: &DataFile) -> Option<i32> {
    match file.partition().iter().next()?? {
        Literal::Primitive(PrimitiveLiteral::Int(days)) => Some(*days),
        _ => None,
    }
}

fn demand_date(table: &LoadedTable, file: &DataFile) -> Result<i32, LakeError> {
    partition_date(file).ok_or_else(|| LakeError::Unusable {
        table: table.ident().clone(),
        reason: format!("{} is in no day", file.file_path()),
    })
}

/// Refuses tables that are not partitioned by one date column.
pub(crate) fn demand_date_partition(table: &LoadedTable) -> Result<(), LakeError> {
    let metadata = table.metadata();
    let schema = metadata.current_schema();
    let is_date = match metadata.default_partition_spec().fields() {
        [field] => {
            let source = schema.field_by_id(field.source_id);
            let is_date = |field: &iceberg::spec::NestedFieldRef| {
                matches!(field.field_type.as_ref(), Type::Primitive(PrimitiveType::Date))
            };
            matches!(field.transform, Transform::Identity | Transform::Day) && source.is_some_and(is_date)
        }
        _ => false,
    };
    match is_date {
        true => Ok(()),
        false => Err(LakeError::Unusable {
            table: table.ident().clone(),
            reason: "it is not partitioned by one date".to_owned(),
        }),
    }
}

/// What a summary says of touched days.
pub(crate) fn days_text(days: &BTreeSet<i32>) -> String {
    if days.len() > MAX_DAYS_NAMED {
        return days.len().to_string();
    }
    let names: Vec<String> = days.iter().map(|days| date_text(*days)).collect();
    serde_json::Value::from(names).to_string()
}

/// A date as people write it.
pub fn date_text(days: i32) -> String {
    iceberg::spec::Datum::date(days).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_days_are_counted_instead_of_named() {
        assert_eq!(days_text(&[19_876, 19_877].into()), r#"["2024-06-02","2024-06-03"]"#);
        assert_eq!(days_text(&(0..100).collect()).matches('"').count(), 200);
        assert_eq!(days_text(&(0..101).collect()), "101");
    }
}

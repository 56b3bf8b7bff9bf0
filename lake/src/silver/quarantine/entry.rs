//! Rows of the table, as the program has them.

use std::fmt;
use std::str::FromStr;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_schema::ArrowError;

use super::json::row_json;
use crate::silver::SilverTable;
use crate::silver::clean::{Coordinates, Quarantined, RULES_VERSION};

/// Names a record: the silver table that it was meant for and its place in Kafka, `trades-0-3-1234`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The silver table.
    pub table: SilverTable,
    /// Incarnation, partition, offset.
    pub coordinates: Coordinates,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (incarnation, partition, offset) = self.coordinates;
        write!(f, "{}-{incarnation}-{partition}-{offset}", self.table.short_name())
    }
}

/// A text that names no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no id of a quarantined record: expected TABLE-INCARNATION-PARTITION-OFFSET, for instance trades-0-3-1234"
)]
pub struct NoRecordId(pub String);

impl FromStr for RecordId {
    type Err = NoRecordId;

    fn from_str(text: &str) -> Result<Self, NoRecordId> {
        let parse = || {
            let mut parts = text.rsplitn(4, '-');
            let offset = parts.next()?.parse().ok()?;
            let partition = parts.next()?.parse().ok()?;
            let incarnation = parts.next()?.parse().ok()?;
            Some(Self {
                table: SilverTable::named(parts.next()?)?,
                coordinates: (incarnation, partition, offset),
            })
        };
        parse().ok_or_else(|| NoRecordId(text.to_owned()))
    }
}

/// A row that a rule has set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The record.
    pub id: RecordId,
    /// The bronze table that has it.
    pub bronze_table: String,
    /// The rule.
    pub rule: String,
    /// Version of the rules.
    pub rule_version: i32,
    /// What the rule found.
    pub reason: String,
    /// The bronze columns that cleaning looks at; empty where it was not asked for.
    pub row_json: String,
    /// Number of the decision that let the row come to this rule; `None` of rows met in bronze's ranges.
    pub after_decision: Option<u64>,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The rule is waived: the record goes into silver if no other one sets it aside.
    Replay,
    /// Acknowledged; silver stays as it is.
    Drop,
}

impl Verdict {
    /// As the table has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Drop => "drop",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Replay, Self::Drop]
            .into_iter()
            .find(|verdict| verdict.name() == name)
    }
}

/// A decision about one row set aside. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Ascending, without gaps, of each silver table.
    pub number: u64,
    /// The record.
    pub id: RecordId,
    /// The bronze table that has it.
    pub bronze_table: String,
    /// The rule that had set it aside.
    pub rule: String,
    /// Version of the rules then.
    pub rule_version: i32,
    /// What was decided.
    pub verdict: Verdict,
    /// When, in microseconds since 1970-01-01 UTC.
    pub decided_at_us: i64,
    /// Who.
    pub decided_by: String,
    /// Why, for people.
    pub note: Option<String>,
}

/// What cleaning has set aside of `bronze`, to be recorded. `after` says of a record the decision that let it come to its rule.
///
/// # Errors
/// When a value has no text.
pub fn entries_of(
    table: SilverTable,
    bronze_table: &str,
    bronze: &RecordBatch,
    quarantined: &[Quarantined],
    after: impl Fn(Coordinates) -> Option<u64>,
) -> Result<Vec<Entry>, ArrowError> {
    if quarantined.is_empty() {
        return Ok(Vec::new());
    }
    let column = |name: &str| {
        let missing = || ArrowError::SchemaError(format!("there is no column {name}"));
        bronze.column_by_name(name).ok_or_else(missing)
    };
    let typed = |name: &str| ArrowError::SchemaError(format!("column {name} has another type"));
    let int = |name: &'static str| column(name)?.as_primitive_opt::<Int32Type>().ok_or_else(|| typed(name));
    let (incarnations, partitions) = (int("topic_incarnation")?, int("kafka_partition")?);
    let offsets = column("kafka_offset")?;
    let offsets = offsets
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(|| typed("kafka_offset"))?;
    let entry = |found: &Quarantined| {
        let row = found.row;
        // Rows without coordinates are dropped before any rule sets them aside.
        let coordinates = (incarnations.value(row), partitions.value(row), offsets.value(row));
        Ok(Entry {
            id: RecordId { table, coordinates },
            bronze_table: bronze_table.to_owned(),
            rule: found.rule.to_owned(),
            rule_version: i32::try_from(RULES_VERSION).unwrap_or(i32::MAX),
            reason: found.reason.clone(),
            row_json: row_json(bronze, row)?,
            after_decision: after(coordinates),
        })
    };
    quarantined.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        for table in SilverTable::ALL {
            let id = RecordId {
                table,
                coordinates: (2, 3, 1234),
            };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!("trades-0-3-1234".parse::<RecordId>().unwrap().coordinates, (0, 3, 1234));
        for bad in [
            "",
            "trades",
            "trades-0-3",
            "orders-0-3-4",
            "trades-0-3-x",
            "trades-0-3-4-5",
        ] {
            assert!(bad.parse::<RecordId>().is_err(), "{bad}");
        }
    }
}

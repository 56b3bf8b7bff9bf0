//! The columns of `ops.quarantine`, and rows in them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{ArrowError, DataType, Field, Schema as ArrowSchema};
use iceberg::arrow::arrow_schema_to_schema_auto_assign_ids;
use iceberg::spec::{Schema, Transform, UnboundPartitionSpec};
use tapehouse_core::quarantine::QuarantineState;
use tapehouse_core::state::{OWNER_PROPERTY, STATE_PROPERTY};

use super::QUARANTINE_TABLE;
use super::entry::{Decision, Entry, RecordId};
use crate::bronze::timestamptz;
use crate::lake::NewTable;
use crate::name::TableName;

/// Rows that were set aside.
pub(super) const ROW: &str = "row";
/// Decisions.
pub(super) const DECISION: &str = "decision";
/// What the table is partitioned by.
pub(super) const PARTITION: [&str; 2] = ["source_table", "kind"];

pub(super) fn ident() -> TableName {
    QUARANTINE_TABLE.parse().expect("a name with its namespace")
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    arrow_schema_to_schema_auto_assign_ids(&ArrowSchema::new(fields()))
        .expect("the columns are written in the program, and tests make the table")
});

/// Name, type, whether every row has a value, comment.
type Column = (&'static str, DataType, bool, &'static str);

/// The columns that both kinds have.
fn common_columns() -> [Column; 9] {
    use DataType::{Int32, Int64, Utf8};
    [
        (
            "source_table",
            Utf8,
            true,
            "Silver table that the row was meant for; partition",
        ),
        (
            "kind",
            Utf8,
            true,
            "row: set aside by a rule; decision: what was decided about one; partition",
        ),
        ("id", Utf8, true, "Names the record: table-incarnation-partition-offset"),
        ("bronze_table", Utf8, true, "Bronze table that has the record"),
        ("topic_incarnation", Int32, true, "Incarnation of the record's topic"),
        ("kafka_partition", Int32, true, "Kafka partition of the record"),
        ("kafka_offset", Int64, true, "Kafka offset of the record"),
        (
            "rule",
            Utf8,
            true,
            "Rule that set the row aside; of a decision the rule that it is about",
        ),
        ("rule_version", Int32, true, "Version of the rules"),
    ]
}

/// The columns of one kind.
fn own_columns() -> [Column; 7] {
    use DataType::{Int64, Utf8};
    [
        ("reason", Utf8, false, "What the rule found; null of decisions"),
        (
            "row_json",
            Utf8,
            false,
            "The columns that rules look at, as JSON; null of decisions",
        ),
        (
            "decision",
            Utf8,
            false,
            "replay: the rule is waived; drop: acknowledged; null of rows",
        ),
        (
            "decision_number",
            Int64,
            false,
            "Ascending by source table; null of rows",
        ),
        (
            "decided_at",
            timestamptz(),
            false,
            "When it was decided, UTC; null of rows",
        ),
        ("decided_by", Utf8, false, "Who decided; null of rows"),
        ("note", Utf8, false, "Why, in the words of who decided"),
    ]
}

fn fields() -> Vec<Field> {
    let field = |(name, kind, required, doc): Column| {
        Field::new(name, kind, !required).with_metadata([("doc".to_owned(), doc.to_owned())].into())
    };
    common_columns().into_iter().chain(own_columns()).map(field).collect()
}

pub(super) fn new_table(owner: &str) -> NewTable {
    let schema = SCHEMA.clone();
    let mut spec = UnboundPartitionSpec::builder();
    for name in PARTITION {
        let id = schema.field_id_by_name(name).expect("a column of the table");
        spec = spec
            .add_partition_field(id, name, Transform::Identity)
            .expect("names of columns are names of partition fields");
    }
    NewTable {
        partition_spec: spec.build(),
        schema,
        properties: HashMap::from([
            (STATE_PROPERTY.to_owned(), QuarantineState::new(owner).to_json()),
            (OWNER_PROPERTY.to_owned(), owner.to_owned()),
            (
                "comment".to_owned(),
                "Rows that rules have set aside, and what was decided about them".to_owned(),
            ),
        ]),
    }
}

/// The columns that both kinds have.
struct Common<'a> {
    id: RecordId,
    bronze_table: &'a str,
    rule: &'a str,
    rule_version: i32,
}

fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

fn common(kind: &'static str, rows: &[Common<'_>]) -> Vec<ArrayRef> {
    let ids: Vec<String> = rows.iter().map(|row| row.id.to_string()).collect();
    let ints = |of: fn(&Common<'_>) -> i32| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Int32Array>()) };
    let offsets: Int64Array = rows.iter().map(|row| row.id.coordinates.2).collect();
    vec![
        texts(rows.iter().map(|row| Some(row.id.table.name()))),
        texts(rows.iter().map(|_| Some(kind))),
        texts(ids.iter().map(|id| Some(id.as_str()))),
        texts(rows.iter().map(|row| Some(row.bronze_table))),
        ints(|row| row.id.coordinates.0),
        ints(|row| row.id.coordinates.1),
        Arc::new(offsets),
        texts(rows.iter().map(|row| Some(row.rule))),
        ints(|row| row.rule_version),
    ]
}

fn times(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    let times: TimestampMicrosecondArray = values.into_iter().collect();
    Arc::new(times.with_timezone("+00:00"))
}

/// Rows set aside, under the Arrow schema of the table's files.
pub(super) fn rows_of(schema: &Arc<ArrowSchema>, entries: &[&Entry]) -> Result<RecordBatch, ArrowError> {
    let rows: Vec<Common<'_>> = entries
        .iter()
        .map(|entry| Common {
            id: entry.id,
            bronze_table: &entry.bronze_table,
            rule: &entry.rule,
            rule_version: entry.rule_version,
        })
        .collect();
    let mut columns = common(ROW, &rows);
    let none = || texts(entries.iter().map(|_| None));
    columns.extend([
        texts(entries.iter().map(|entry| Some(entry.reason.as_str()))),
        texts(entries.iter().map(|entry| Some(entry.row_json.as_str()))),
        none(),
        Arc::new(Int64Array::new_null(entries.len())),
        times(entries.iter().map(|_| None)),
        none(),
        none(),
    ]);
    RecordBatch::try_new(Arc::clone(schema), columns)
}

/// Decisions, under the Arrow schema of the table's files.
pub(super) fn decisions_of(schema: &Arc<ArrowSchema>, decisions: &[Decision]) -> Result<RecordBatch, ArrowError> {
    let rows: Vec<Common<'_>> = decisions
        .iter()
        .map(|decision| Common {
            id: decision.id,
            bronze_table: &decision.bronze_table,
            rule: &decision.rule,
            rule_version: decision.rule_version,
        })
        .collect();
    let mut columns = common(DECISION, &rows);
    let numbers = decisions.iter().map(|decision| i64::try_from(decision.number).ok());
    columns.extend([
        texts(decisions.iter().map(|_| None)),
        texts(decisions.iter().map(|_| None)),
        texts(decisions.iter().map(|decision| Some(decision.verdict.name()))),
        Arc::new(numbers.collect::<Int64Array>()),
        times(decisions.iter().map(|decision| Some(decision.decided_at_us))),
        texts(decisions.iter().map(|decision| Some(decision.decided_by.as_str()))),
        texts(decisions.iter().map(|decision| decision.note.as_deref())),
    ]);
    RecordBatch::try_new(Arc::clone(schema), columns)
}

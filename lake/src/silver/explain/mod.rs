//! Why a silver table has the row that it has of a key, or none: each record of the key in bronze, and what became of it.

mod search;

use std::collections::BTreeMap;

use serde::Serialize;
use tapehouse_core::chunk::END_OF_INCARNATION;
use tapehouse_core::merge::MergeState;
use tapehouse_core::offsets::{Offset, OffsetRange, PartitionId, Ranges};

use super::SilverTable;
use super::clean::Rules;
use super::quarantine::applied;
use super::source::BronzeRows;
use crate::error::LakeError;
use crate::find::Coordinate;
use crate::index::{KeyHash, Order};
use crate::lake::Lake;
use crate::table::LoadedTable;
use crate::verify::VerifyError;
use search::{Found, Search, judged};

/// Records of one key that are told of, those of the newest files; the others are counted.
pub const MAX_RECORDS: usize = 1000;

/// The key of a silver row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Of `silver.trades`: the trade's id.
    Text(String),
    /// Of the others: symbol, and instant in microseconds since 1970-01-01 UTC.
    TextAt(String, i64),
}

impl Key {
    fn hash(&self) -> KeyHash {
        match self {
            Self::Text(text) => KeyHash::of(text.as_bytes()),
            Self::TextAt(text, time_us) => KeyHash::of_text_at(text, *time_us, &mut Vec::new()),
        }
    }
}

/// A Kafka record, as rows name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RecordId {
    /// Incarnation of the topic.
    pub incarnation: i32,
    /// Partition.
    pub partition: PartitionId,
    /// Offset.
    pub offset: Offset,
}

impl From<Order> for RecordId {
    fn from(order: Order) -> Self {
        Self {
            incarnation: order.incarnation,
            partition: order.partition,
            offset: order.offset,
        }
    }
}

impl From<Coordinate> for RecordId {
    fn from(coordinate: Coordinate) -> Self {
        Self {
            incarnation: coordinate.incarnation,
            partition: coordinate.partition,
            offset: coordinate.offset,
        }
    }
}

/// The row that silver has of a key.
#[derive(Clone, Debug, Serialize)]
pub struct LiveRow {
    /// The record that it is from.
    pub record: RecordId,
    /// Event time; `None` where the record has none.
    pub event_time_us: Option<i64>,
    /// Its values, written out, in the order of the columns; nulls are left out.
    pub values: Vec<(String, String)>,
    /// The data file.
    pub data_file: String,
    /// The snapshot that merged the record; `None` where it has expired.
    pub snapshot_id: Option<i64>,
    /// Time of that snapshot, in milliseconds since 1970-01-01 UTC.
    pub committed_ms: Option<i64>,
    #[serde(skip)]
    order: Order,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "fate")]
pub enum Fate {
    /// Silver's row is from it.
    Won,
    /// Another record of the key is later.
    Lost {
        /// The record that silver's row is from.
        to: RecordId,
    },
    /// A rule drops it.
    Dropped {
        /// The rule.
        rule: String,
    },
    /// A rule keeps it out.
    Quarantined {
        /// The rule.
        rule: String,
        /// What the rule found.
        reason: String,
    },
    /// Silver has not come to it yet.
    NotMerged {
        /// Next offset of its partition to be merged; `None`: nothing of it was.
        next: Option<Offset>,
    },
    /// It is merged, and silver should have it, or a later one, and has not: a fault.
    Absent,
}

/// A record of a key.
#[derive(Clone, Debug, Serialize)]
pub struct KeyRecord {
    /// The record; `None` of a row that another engine wrote.
    pub record: Option<RecordId>,
    /// Event time, where it has one and is readable.
    pub event_time_us: Option<i64>,
    /// Timestamp of the Kafka record.
    pub kafka_timestamp_us: Option<i64>,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
    /// Its values as silver would have them, where they are others than those of silver's row.
    pub differing: Vec<(String, String)>,
}

/// All that is known of a key.
#[derive(Clone, Debug, Serialize)]
pub struct KeyStory {
    /// The silver table.
    pub table: String,
    /// Its bronze table.
    pub source: String,
    /// Silver's row; `None` where it has none.
    pub row: Option<LiveRow>,
    /// The records of the key, the latest first.
    pub records: Vec<KeyRecord>,
    /// Records beyond those.
    pub records_omitted: u64,
}

/// How far a search has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Whether it is in silver by now.
    pub in_silver: bool,
    /// Data files read there.
    pub files: u64,
    /// Of so many.
    pub of: u64,
}

/// What of both tables is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'a> {
    /// Which table it is.
    pub kind: SilverTable,
    /// The silver table; `None` where there is none yet.
    pub silver: Option<&'a LoadedTable>,
    /// The bronze table.
    pub bronze: &'a LoadedTable,
    /// The rules of cleaning.
    pub rules: &'a Rules,
}

impl Tables<'_> {
    fn cursor(&self) -> Result<Option<MergeState>, VerifyError> {
        let state = self.silver.map(LoadedTable::merge_state).transpose();
        Ok(state.map_err(super::source::SourceError::from)?)
    }
}

/// Everything that both tables know of a key. Reads the key columns of all data files whose bounds admit it, and the rows of the key.
/// Memory: a row group, and [`MAX_RECORDS`] rows.
///
/// # Errors
/// When a table or a file of it cannot be read.
pub async fn explain_key(
    lake: &Lake,
    tables: Tables<'_>,
    key: &Key,
    progress: impl FnMut(Looked) + Clone + Send + 'static,
) -> Result<KeyStory, VerifyError> {
    let cursor = tables.cursor()?;
    let waivers = applied(lake, tables.kind, cursor.as_ref()).await?;
    let Found { rows, omitted } = Search::in_bronze(lake, &tables, key, progress.clone()).await?;
    let mut judgements = Vec::new();
    for batch in &rows {
        for row in 0..batch.num_rows() {
            judgements.push(judged(&tables, &waivers, &batch.slice(row, 1))?);
        }
    }
    let latest = judgements.iter().filter_map(|judged| judged.kept.as_ref());
    let likely = latest.max_by_key(|kept| kept.order).and_then(|kept| kept.date);
    let row = match tables.silver {
        Some(silver) => Search::in_silver(lake, tables.kind, silver, key.hash(), likely, progress).await?,
        None => None,
    };
    let told = judgements
        .into_iter()
        .map(|judged| judged.told(cursor.as_ref(), row.as_ref()));
    let mut records: Vec<KeyRecord> = told.collect();
    records.sort_by_key(|record| std::cmp::Reverse((record.event_time_us, record.record)));
    Ok(KeyStory {
        table: tables.kind.name().to_owned(),
        source: tables.bronze.ident().to_string(),
        row,
        records,
        records_omitted: omitted,
    })
}

/// What became of one record, and silver's row of its key, where it was looked for; `None` where bronze has no such row.
///
/// # Errors
/// When a table or a file of it cannot be read.
pub async fn explain_record(
    lake: &Lake,
    tables: Tables<'_>,
    wanted: Coordinate,
) -> Result<Option<(KeyRecord, Option<LiveRow>)>, VerifyError> {
    let cursor = tables.cursor()?;
    let waivers = applied(lake, tables.kind, cursor.as_ref()).await?;
    let range = OffsetRange::new(wanted.offset, wanted.offset.saturating_add(1));
    let ranges = BTreeMap::from([(wanted.incarnation, Ranges([(wanted.partition, range)].into()))]);
    let columns = tables.kind.source_columns();
    let mut rows = BronzeRows::of(lake, tables.bronze, columns, ranges).await?;
    let Some(batch) = rows.next().await? else {
        return Ok(None);
    };
    let record = judged(&tables, &waivers, &batch.slice(0, 1))?;
    let row = match (tables.silver, &record.kept) {
        (Some(silver), Some(kept)) => Search::in_silver(lake, tables.kind, silver, kept.key, kept.date, |_| {}).await?,
        _ => None,
    };
    Ok(Some((record.told(cursor.as_ref(), row.as_ref()), row)))
}

/// Whether silver's cursor has passed a record.
fn is_merged(cursor: Option<&MergeState>, record: RecordId) -> Result<(), Option<Offset>> {
    let next = cursor.and_then(|cursor| cursor.next(record.incarnation, record.partition));
    match next {
        Some(next) if record.offset < next || next >= END_OF_INCARNATION => Ok(()),
        next => Err(next),
    }
}

/// Off the runtime's own threads: decoding is CPU work.
async fn decoding<T: Send + 'static>(
    job: impl Future<Output = Result<T, VerifyError>> + Send + 'static,
) -> Result<T, VerifyError> {
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(job)).await;
    done.map_err(|_| LakeError::Interrupted("reading the data files"))?
}

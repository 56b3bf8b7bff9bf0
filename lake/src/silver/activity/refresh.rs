//! Days that are recomputed and committed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::RecordBatch;
use tapehouse_core::derive::{DeriveRequest, DerivedState, SourceInput};
use tapehouse_core::state::STATE_PROPERTY;
use uuid::Uuid;

use super::compute::{DayActivity, SOURCE_COLUMNS};
use super::{ActivityError, DATE_COLUMN, LOGIC_VERSION, partition_spec, schema};
use crate::commit::{CommitOutcome, Committed, NotOverwritten, Overwrite};
use crate::error::LakeError;
use crate::files::{EncodedFile, FileEncoder, FileLayout, write_file_in};
use crate::lake::{Lake, NewTable};
use crate::live_rows::LiveRows;
use crate::name::TableName;
use crate::table::LoadedTable;

/// Days of one commit at most: what bounds the memory of a refresh.
pub const MAX_DAYS: usize = 31;
/// Summary key: versions of the days that were read, JSON `{"TABLE":{"2024-06-03":12}}`, null for a day without files.
const INPUTS_KEY: &str = "tapehouse.inputs";

/// The table and what it is derived from.
#[derive(Clone, Debug)]
pub struct TraderActivity {
    /// The lake.
    pub lake: Lake,
    /// The table.
    pub ident: TableName,
    /// The table of trades.
    pub source: TableName,
    /// Cluster of Tapehouse that writes.
    pub owner: String,
}

/// What there is to do, as the tables tell.
#[derive(Clone, Debug)]
pub struct Refresh {
    trades: LoadedTable,
    table: LoadedTable,
    /// Sequence number of the snapshot of trades.
    at: i64,
    versions: BTreeMap<i32, i64>,
    days: Vec<i32>,
}

impl Refresh {
    /// The days that have to be computed, ascending, since 1970-01-01.
    pub fn days(&self) -> &[i32] {
        &self.days
    }

    /// The table as it is.
    pub fn table(&self) -> &LoadedTable {
        &self.table
    }
}

/// Days that are computed, their files durable.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// Days computed.
    pub computed: usize,
    /// Rows of the days whose rows are other ones than before.
    pub rows: u64,
    overwrite: Overwrite,
}

impl Refreshed {
    /// Days whose rows are other ones than before, ascending, since 1970-01-01.
    pub fn changed_days(&self) -> impl Iterator<Item = i32> {
        self.overwrite.days.keys().copied()
    }
}

impl TraderActivity {
    /// What there is to do now; `None` while there are no trades. Creates the table where it is missing.
    ///
    /// # Errors
    /// [`ActivityError::Lake`], [`ActivityError::State`].
    pub async fn look(&self) -> Result<Option<Refresh>, ActivityError> {
        let Some(trades) = self.lake.load(&self.source).await? else {
            return Ok(None);
        };
        let Some(snapshot) = trades.metadata().current_snapshot() else {
            return Ok(None);
        };
        let at = snapshot.sequence_number();
        let state = DerivedState::new(&self.owner, LOGIC_VERSION).to_json();
        let spec = NewTable {
            schema: schema().as_ref().clone(),
            partition_spec: partition_spec(),
            properties: HashMap::from([(STATE_PROPERTY.to_owned(), state)]),
        };
        let table = self.lake.create_table(&self.ident, spec).await?;
        let versions = self.lake.day_versions(&trades).await?;
        let days = table
            .derived_state()?
            .dirty(&self.source.to_string(), LOGIC_VERSION, &versions);
        Ok(Some(Refresh {
            trades,
            table,
            at,
            versions,
            days,
        }))
    }

    /// Computes `days` and writes the files of those whose rows are other ones than before. Decodes and encodes: call it from a thread
    /// for CPU work, with `Handle::block_on`.
    ///
    /// # Errors
    /// [`ActivityError`]. What was written then is in no snapshot; orphan removal finds it.
    pub async fn compute(
        &self,
        refresh: &Refresh,
        days: &[i32],
        mut summary: BTreeMap<String, String>,
    ) -> Result<Refreshed, ActivityError> {
        let metadata = refresh.table.metadata();
        let layout = FileLayout::new(metadata.current_schema().clone(), DATE_COLUMN);
        let layout = layout.map_err(LakeError::iceberg(format!("reading the schema of {}", self.ident)))?;
        let (location, spec_id) = (metadata.location(), metadata.default_partition_spec_id());
        let batch = self.lake.warehouse().batch(location);
        let (mut files, mut rows) = (BTreeMap::new(), 0);
        for &date in days {
            let computed = self.day(&refresh.trades, &layout, date).await?;
            if self.is_there(&refresh.table, &layout, date, &computed).await? {
                continue;
            }
            rows += computed.num_rows() as u64;
            let mut of_day = Vec::new();
            if computed.num_rows() > 0 {
                of_day.push(write_file_in(&batch, location, spec_id, encode(&layout, date, &computed)?).await?);
            }
            files.insert(date, of_day);
        }
        batch.finish().await?;
        let input = SourceInput {
            at: refresh.at,
            days: days
                .iter()
                .map(|day| (*day, refresh.versions.get(day).copied()))
                .collect(),
        };
        summary.insert("tapehouse.rows".to_owned(), rows.to_string());
        summary.insert(INPUTS_KEY.to_owned(), inputs_text(&self.source, &input));
        summary.insert("tapehouse.logic-version".to_owned(), LOGIC_VERSION.to_string());
        Ok(Refreshed {
            computed: days.len(),
            rows,
            overwrite: Overwrite {
                commit_id: Uuid::new_v4(),
                schema_id: metadata.current_schema_id(),
                days: files,
                request: DeriveRequest {
                    owner: self.owner.clone(),
                    logic: LOGIC_VERSION,
                    inputs: [(self.source.to_string(), input)].into(),
                },
                summary,
            },
        })
    }

    /// Commits computed days; `None` when the table rests on exactly these trades already. After a retryable error call again with
    /// the same `refreshed`.
    ///
    /// # Errors
    /// [`ActivityError::Commit`]; [`ActivityError::Refused`]: then look again.
    pub async fn commit(&self, refreshed: &Refreshed) -> Result<Option<Committed>, ActivityError> {
        match self.lake.overwrite(&self.ident, &refreshed.overwrite).await? {
            CommitOutcome::Committed(committed) => Ok(Some(committed)),
            CommitOutcome::Done(NotOverwritten::Unchanged(_)) => Ok(None),
            CommitOutcome::Done(NotOverwritten::Refused(refusal)) => Err(refusal.into()),
        }
    }

    /// The rows of a day of these trades.
    async fn day(&self, trades: &LoadedTable, layout: &FileLayout, date: i32) -> Result<RecordBatch, ActivityError> {
        let mut rows = LiveRows::of_day(&self.lake, trades, &SOURCE_COLUMNS, date).await?;
        let mut day = DayActivity::default();
        while let Some((_, batch)) = rows.next().await? {
            day.add(&batch)?;
        }
        Ok(day.finish(date, layout.arrow())?)
    }

    /// Whether the table has exactly these rows for the day.
    async fn is_there(
        &self,
        table: &LoadedTable,
        layout: &FileLayout,
        date: i32,
        computed: &RecordBatch,
    ) -> Result<bool, ActivityError> {
        let names: Vec<&str> = layout
            .arrow()
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        let mut rows = LiveRows::of_day(&self.lake, table, &names, date).await?;
        let mut at = 0;
        while let Some((_, found)) = rows.next().await? {
            if at + found.num_rows() > computed.num_rows() {
                return Ok(false);
            }
            let expected = computed.slice(at, found.num_rows());
            if found.columns() != expected.columns() {
                return Ok(false);
            }
            at += found.num_rows();
        }
        Ok(at == computed.num_rows())
    }
}

fn encode(layout: &FileLayout, date: i32, rows: &RecordBatch) -> Result<EncodedFile, ActivityError> {
    let rows = rows.clone().with_schema(Arc::clone(layout.arrow()))?;
    let mut encoder = FileEncoder::open(layout, date, &rows)?;
    encoder.push(&rows)?;
    Ok(encoder.finish()?)
}

fn inputs_text(source: &TableName, input: &SourceInput) -> String {
    let days = input.days.iter();
    let days: serde_json::Map<String, serde_json::Value> = days
        .map(|(day, version)| (crate::days::date_text(*day), (*version).into()))
        .collect();
    serde_json::json!({ source.to_string(): days }).to_string()
}

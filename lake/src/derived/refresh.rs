//! Days that are recomputed and committed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow_array::RecordBatch;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tapehouse_core::calendar::{Calendar, UnknownYear};
use tapehouse_core::derive::{DeriveRequest, DerivedState, SourceInput};
use tapehouse_core::state::STATE_PROPERTY;
use uuid::Uuid;

use super::day_file::{decoding, encode, is_there};
use super::{DayTable, DeriveError, SourceDay};
use crate::commit::{CommitOutcome, Committed, NotOverwritten, Overwrite};
use crate::days::date_text;
use crate::error::LakeError;
use crate::files::{EncodedFile, FileLayout, write_file_in};
use crate::lake::{Lake, NewTable};
use crate::name::TableName;
use crate::table::LoadedTable;

/// Days of one commit at most: what bounds the memory of a refresh.
pub const MAX_DAYS: usize = 31;
/// Summary key: versions of the days that were read, JSON `{"TABLE":{"2024-06-03":12}}`, null for a day without files.
pub(crate) const INPUTS_KEY: &str = "tapehouse.inputs";
/// Summary key: what the computed days are, JSON `{"2024-06-03":"final"}`.
pub(crate) const DAY_STATES_KEY: &str = "tapehouse.day-states";

/// A derived table and where it is.
#[derive(Clone, Debug)]
pub struct Derivation {
    /// The lake.
    pub lake: Lake,
    /// What is computed.
    pub table: DayTable,
    /// Where.
    pub ident: TableName,
    /// The tables that it is derived from, in the order of [`DayTable::sources`].
    pub sources: Vec<TableName>,
    /// Cluster of Tapehouse that writes.
    pub owner: String,
}

/// A source as it was looked at.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) name: String,
    /// Sequence number of its snapshot; 0 where there is none.
    pub(super) at: i64,
    pub(super) versions: BTreeMap<i32, i64>,
}

/// What there is to do, as the tables tell.
#[derive(Clone, Debug)]
pub struct Refresh {
    pub(super) sources: Vec<Source>,
    pub(super) source_tables: Vec<Option<Arc<LoadedTable>>>,
    pub(super) table: LoadedTable,
    pub(super) days: Vec<i32>,
    pub(super) open: BTreeSet<i32>,
    pub(super) finals: BTreeSet<i32>,
    pub(super) is_deliberate: bool,
    pub(super) next_final_us: Option<i64>,
}

impl Refresh {
    /// The days that have to be computed, ascending, since 1970-01-01.
    pub fn days(&self) -> &[i32] {
        &self.days
    }

    /// Days that are not over, of these and of those that were computed before: what is computed of them is provisional.
    pub fn open_days(&self) -> &BTreeSet<i32> {
        &self.open
    }

    /// When the first of the provisional days is over, microseconds since 1970-01-01 UTC.
    pub fn next_final_us(&self) -> Option<i64> {
        self.next_final_us
    }

    /// Only those of the days that are `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(i32) -> bool) {
        self.days.retain(|day| wanted(*day));
    }

    /// Days that are computed once more because they are over, and for nothing else.
    pub fn final_days(&self) -> &BTreeSet<i32> {
        &self.finals
    }

    /// Also these days, whether they are dirty or not. Where their rows are other ones than the table has, they are replaced, though it
    /// rests on the same sources already.
    pub fn also(&mut self, days: impl IntoIterator<Item = i32>) {
        let before = self.days.len();
        self.days.extend(days);
        self.is_deliberate |= self.days.len() > before;
        self.days.sort_unstable();
        self.days.dedup();
    }

    /// The table as it is.
    pub fn table(&self) -> &LoadedTable {
        &self.table
    }

    /// Version of this day in each source.
    pub fn versions(&self, day: i32) -> BTreeMap<String, Option<i64>> {
        let of = |source: &Source| (source.name.clone(), source.versions.get(&day).copied());
        self.sources.iter().map(of).collect()
    }

    fn inputs(&self, days: &[i32]) -> BTreeMap<String, SourceInput> {
        let of = |source: &Source| {
            let versions = days.iter().map(|day| (*day, source.versions.get(day).copied()));
            let input = SourceInput {
                at: source.at,
                days: versions.collect(),
            };
            (source.name.clone(), input)
        };
        self.sources.iter().map(of).collect()
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

impl Derivation {
    /// A table under its own name, from tables under theirs.
    pub fn new(lake: Lake, table: DayTable, owner: impl Into<String>) -> Self {
        let ident = |name: &str| name.parse().expect("a name with its namespace");
        Self {
            lake,
            table,
            ident: ident(table.name()),
            sources: table.sources().iter().copied().map(ident).collect(),
            owner: owner.into(),
        }
    }

    /// What there is to do at `now_us`, microseconds since 1970-01-01 UTC; `None` while the first source does not exist or is empty.
    /// Creates the table where it is missing.
    ///
    /// # Errors
    /// [`DeriveError::Lake`], [`DeriveError::State`]; [`DeriveError::Calendar`] where gold has rows beyond the calendar's years.
    pub async fn look(&self, now_us: i64) -> Result<Option<Refresh>, DeriveError> {
        let (sources, source_tables) = self.sources().await?;
        if sources.first().is_none_or(|first| first.at == 0) {
            return Ok(None);
        }
        let logic = self.table.logic_version();
        let state = DerivedState::new(&self.owner, logic).to_json();
        let spec = NewTable {
            schema: self.table.schema().clone(),
            partition_spec: self.table.partition_spec().clone(),
            properties: HashMap::from([(STATE_PROPERTY.to_owned(), state)]),
        };
        let table = self.lake.create_table(&self.ident, spec).await?;
        let state = table.derived_state()?;
        let dirty = sources
            .iter()
            .flat_map(|source| state.dirty(&source.name, logic, &source.versions));
        let mut days: BTreeSet<i32> = dirty.collect();
        let (mut open, mut finals, mut next_final_us) = (BTreeSet::new(), BTreeSet::new(), None);
        if self.table.is_gold() {
            // What was provisional when it was computed is looked at once more when the day is over.
            let ends: Vec<(i32, i64)> = days
                .iter()
                .copied()
                .chain(state.provisional())
                .map(|day| Ok((day, Calendar::nyse().final_us(day)?)))
                .collect::<Result<_, UnknownYear>>()?;
            for (day, end_us) in ends {
                if end_us > now_us {
                    open.insert(day);
                    next_final_us = Some(next_final_us.map_or(end_us, |next: i64| next.min(end_us)));
                } else if days.insert(day) {
                    finals.insert(day);
                }
            }
        }
        Ok(Some(Refresh {
            sources,
            source_tables,
            table,
            days: days.into_iter().collect(),
            open,
            finals,
            is_deliberate: false,
            next_final_us,
        }))
    }

    /// The sources as they are now.
    pub(super) async fn sources(&self) -> Result<(Vec<Source>, Vec<Option<Arc<LoadedTable>>>), DeriveError> {
        let (mut sources, mut tables) = (Vec::new(), Vec::new());
        for ident in &self.sources {
            let table = self.lake.load(ident).await?;
            let at = table.as_ref().and_then(|table| table.metadata().current_snapshot());
            let versions = match &table {
                Some(table) => self.lake.day_versions(table).await?,
                None => BTreeMap::new(),
            };
            sources.push(Source {
                name: ident.to_string(),
                at: at.map_or(0, |snapshot| snapshot.sequence_number()),
                versions,
            });
            tables.push(table.map(Arc::new));
        }
        Ok((sources, tables))
    }

    /// The rows of a day, in the table's layout, of the sources as they were looked at. Decodes: call it from a thread for CPU work.
    ///
    /// # Errors
    /// [`DeriveError`].
    pub async fn day(&self, refresh: &Refresh, date: i32) -> Result<RecordBatch, DeriveError> {
        let layout = self.layout(refresh)?;
        self.rows(refresh, &layout, date).await
    }

    pub(super) async fn rows(
        &self,
        refresh: &Refresh,
        layout: &FileLayout,
        date: i32,
    ) -> Result<RecordBatch, DeriveError> {
        let sources = SourceDay {
            lake: &self.lake,
            tables: &refresh.source_tables,
            date,
        };
        self.table.day(&sources, layout.arrow()).await
    }

    pub(super) fn layout(&self, refresh: &Refresh) -> Result<FileLayout, DeriveError> {
        let schema = refresh.table.metadata().current_schema().clone();
        let layout = FileLayout::new(schema, self.table.date_column());
        Ok(layout.map_err(LakeError::iceberg(format!("reading the schema of {}", self.ident)))?)
    }

    /// Computes `days`, several at once, and writes the files of those whose rows are other ones than before.
    ///
    /// # Errors
    /// [`DeriveError`]. What was written then is in no snapshot; orphan removal finds it.
    pub async fn compute(
        &self,
        refresh: &Refresh,
        days: &[i32],
        mut summary: BTreeMap<String, String>,
    ) -> Result<Refreshed, DeriveError> {
        let metadata = refresh.table.metadata();
        let layout = self.layout(refresh)?;
        let (location, spec_id) = (metadata.location(), metadata.default_partition_spec_id());
        let batch = self.lake.warehouse().batch(location);
        let (mut files, mut rows) = (BTreeMap::new(), 0);
        let (refreshing, layout) = (Arc::new(refresh.clone()), Arc::new(layout));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut computed = stream::iter(days.to_vec())
            .map(|date| self.on_a_thread(&refreshing, &layout, date))
            .buffered(threads);
        while let Some((date, encoded)) = computed.try_next().await? {
            let mut of_day = Vec::new();
            match encoded {
                Day::AsBefore => continue,
                Day::Empty => {}
                Day::New(encoded, count) => {
                    rows += count;
                    of_day.push(write_file_in(&batch, location, spec_id, *encoded).await?);
                }
            }
            files.insert(date, of_day);
        }
        batch.finish().await?;
        let inputs = refresh.inputs(days);
        summary.insert("tapehouse.rows".to_owned(), rows.to_string());
        summary.insert(INPUTS_KEY.to_owned(), inputs_text(&inputs));
        summary.insert(
            "tapehouse.logic-version".to_owned(),
            self.table.logic_version().to_string(),
        );
        let provisional = match self.table.is_gold() {
            true => {
                summary.insert(DAY_STATES_KEY.to_owned(), states_text(days, &refresh.open));
                summary.insert("tapehouse.calendar".to_owned(), Calendar::nyse().hash().to_string());
                days.iter().copied().filter(|day| refresh.open.contains(day)).collect()
            }
            false => BTreeSet::new(),
        };
        Ok(Refreshed {
            computed: days.len(),
            rows,
            overwrite: Overwrite {
                commit_id: Uuid::new_v4(),
                schema_id: metadata.current_schema_id(),
                days: files,
                is_deliberate: refresh.is_deliberate,
                request: DeriveRequest {
                    owner: self.owner.clone(),
                    logic: self.table.logic_version(),
                    inputs,
                    provisional,
                },
                summary,
            },
        })
    }

    /// Computes a day on a thread for CPU work, and encodes it where its rows are other ones than before.
    async fn on_a_thread(
        &self,
        refresh: &Arc<Refresh>,
        layout: &Arc<FileLayout>,
        date: i32,
    ) -> Result<(i32, Day), DeriveError> {
        let (derivation, refresh, layout) = (self.clone(), Arc::clone(refresh), Arc::clone(layout));
        let job = async move {
            let computed = derivation.rows(&refresh, &layout, date).await?;
            if is_there(&derivation.lake, &refresh.table, &layout, date, &computed).await? {
                return Ok(Day::AsBefore);
            }
            Ok(match computed.num_rows() {
                0 => Day::Empty,
                rows => Day::New(Box::new(encode(&layout, date, &computed)?), rows as u64),
            })
        };
        Ok((date, decoding(date, &self.ident, job).await?))
    }

    /// Commits computed days; `None` when the table rests on exactly these sources already. After a retryable error call again with
    /// the same `refreshed`.
    ///
    /// # Errors
    /// [`DeriveError::Commit`]; [`DeriveError::Refused`]: then look again.
    pub async fn commit(&self, refreshed: &Refreshed) -> Result<Option<Committed>, DeriveError> {
        match self.lake.overwrite(&self.ident, &refreshed.overwrite).await? {
            CommitOutcome::Committed(committed) => Ok(Some(committed)),
            CommitOutcome::Done(NotOverwritten::Unchanged(_)) => Ok(None),
            CommitOutcome::Done(NotOverwritten::Refused(refusal)) => Err(refusal.into()),
        }
    }
}

/// A computed day.
enum Day {
    AsBefore,
    Empty,
    New(Box<EncodedFile>, u64),
}

pub(crate) fn inputs_text(inputs: &BTreeMap<String, SourceInput>) -> String {
    let of = |(source, input): (&String, &SourceInput)| {
        let days = input.days.iter();
        let days: serde_json::Map<String, serde_json::Value> = days
            .map(|(day, version)| (date_text(*day), (*version).into()))
            .collect();
        (source.clone(), days.into())
    };
    serde_json::Value::Object(inputs.iter().map(of).collect()).to_string()
}

pub(crate) fn states_text(days: &[i32], open: &BTreeSet<i32>) -> String {
    let state = |day: &i32| if open.contains(day) { "provisional" } else { "final" };
    let states = days.iter().map(|day| (date_text(*day), state(day).into()));
    serde_json::Value::Object(states.collect()).to_string()
}

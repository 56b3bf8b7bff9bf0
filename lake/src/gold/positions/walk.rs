//! Days computed in their order, and committed.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::RecordBatch;
use futures::{StreamExt as _, stream};
use iceberg::spec::DataFile;
use tapehouse_core::calendar::Calendar;
use tapehouse_core::derive::DeriveRequest;
use uuid::Uuid;

use super::desk::{Desk, SOURCE_COLUMNS};
use super::look::Target;
use super::{LOGIC_VERSION, MAX_DAYS, PositionTable, Positions, PositionsLook, Remembered, rows};
use crate::commit::{CommitOutcome, Committed, NotOverwritten, Overwrite};
use crate::days::date_text;
use crate::derived::DeriveError;
use crate::derived::day_file::{decoding, encode, is_there};
use crate::derived::refresh::{DAY_STATES_KEY, INPUTS_KEY, inputs_text, states_text};
use crate::files::write_file_in;
use crate::lake::Lake;
use crate::live_rows::LiveRows;
use crate::name::TableName;
use crate::storage::Batch;
use crate::table::LoadedTable;

/// So many calendar days have one day on which all is kept that is carried: the last one of them.
const KEPT_EVERY: i32 = 20;
/// Days that are read and decoded ahead.
const DAYS_AHEAD: usize = 2;

/// Days that are computed, their files durable.
#[derive(Clone, Debug)]
pub struct Computed {
    /// Days computed.
    pub days: Vec<i32>,
    overwrites: Vec<(TableName, u64, Overwrite)>,
}

impl Computed {
    /// Its first commits alone: what a node leaves that dies between two of them.
    #[must_use]
    pub fn first(&self, commits: usize) -> Self {
        Self {
            days: self.days.clone(),
            overwrites: self.overwrites.iter().take(commits).cloned().collect(),
        }
    }
}

/// A commit to one of the tables.
#[derive(Clone, Debug)]
pub struct Published {
    /// The table.
    pub table: TableName,
    /// The commit.
    pub committed: Committed,
    /// Rows of the days whose rows are other ones than before.
    pub rows: u64,
    /// These days.
    pub changed_days: BTreeSet<i32>,
}

/// Files of one table.
struct Output<'a> {
    lake: &'a Lake,
    target: &'a Target,
    batch: Batch,
    files: BTreeMap<i32, Vec<DataFile>>,
    rows: u64,
}

impl<'a> Output<'a> {
    fn new(lake: &'a Lake, target: &'a Target) -> Self {
        Self {
            lake,
            target,
            batch: lake.warehouse().batch(target.table.metadata().location()),
            files: BTreeMap::new(),
            rows: 0,
        }
    }

    /// Takes the rows of a day; writes them where the table has other ones.
    async fn put(&mut self, day: i32, rows: &RecordBatch) -> Result<(), DeriveError> {
        let Target { table, layout } = self.target;
        if is_there(self.lake, table, layout, day, rows).await? {
            return Ok(());
        }
        let metadata = table.metadata();
        let mut of_day = Vec::new();
        if rows.num_rows() > 0 {
            let encoded = encode(layout, day, rows)?;
            of_day.push(
                write_file_in(
                    &self.batch,
                    metadata.location(),
                    metadata.default_partition_spec_id(),
                    encoded,
                )
                .await?,
            );
            self.rows += rows.num_rows() as u64;
        }
        self.files.insert(day, of_day);
        Ok(())
    }
}

/// The trades of a day, decoded.
pub(super) async fn trades_of(lake: Lake, trades: LoadedTable, day: i32) -> Result<Vec<RecordBatch>, DeriveError> {
    let ident = trades.ident().clone();
    let read = async move {
        let mut rows = LiveRows::of_day(&lake, &trades, &SOURCE_COLUMNS, day).await?;
        let mut batches = Vec::new();
        while let Some((_, batch)) = rows.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    };
    decoding(day, &ident, read).await
}

fn unreadable(day: i32, reason: impl std::fmt::Display) -> DeriveError {
    DeriveError::Carried {
        day: date_text(day),
        reason: reason.to_string(),
    }
}

/// What came of a day.
pub(super) struct DayRows {
    pub performance: RecordBatch,
    pub positions: RecordBatch,
}

impl Positions {
    /// Computes the next days of `look`, `most` of them and 20 at most, and writes the files of those whose rows are other ones than before; `None` when
    /// nothing is left. Decodes, folds and encodes: call it from a thread for CPU work, with `Handle::block_on`.
    ///
    /// # Errors
    /// [`DeriveError`]; then look again. What was written is in no snapshot; orphan removal finds it.
    pub async fn compute(
        &self,
        look: &mut PositionsLook,
        most: usize,
        summary: &BTreeMap<String, String>,
    ) -> Result<Option<Computed>, DeriveError> {
        let days: Vec<i32> = look.days().iter().copied().take(most.min(MAX_DAYS)).collect();
        let Some(first) = days.first() else {
            return Ok(None);
        };
        let mut desk = match look.desk.take() {
            Some(desk) => desk,
            None => self.before(look, *first).await?,
        };
        let mut outputs: Vec<Output<'_>> = look
            .targets
            .iter()
            .map(|target| Output::new(&self.lake, target))
            .collect();
        let read = |day: i32| trades_of(self.lake.clone(), look.trades.clone(), day);
        let mut trades = stream::iter(days.clone()).map(read).buffered(DAYS_AHEAD);
        for day in &days {
            self.remember(look, *day, &desk);
            let Some(batches) = trades.next().await else { break };
            let made = self.day(look, &mut desk, *day, &batches?)?;
            outputs[PositionTable::Performance as usize]
                .put(*day, &made.performance)
                .await?;
            outputs[PositionTable::Positions as usize]
                .put(*day, &made.positions)
                .await?;
            let layout = &look.targets[PositionTable::State as usize].layout;
            let kept = match is_kept(&look.all, *day) {
                true => rows::state(&desk, *day, layout.arrow())?,
                false => RecordBatch::new_empty(layout.arrow().clone()),
            };
            outputs[PositionTable::State as usize].put(*day, &kept).await?;
        }
        let mut overwrites = Vec::new();
        for (output, ident) in outputs.into_iter().zip(&self.tables) {
            let (rows, overwrite) = self.overwrite(look, &days, output, summary.clone()).await?;
            overwrites.push((ident.clone(), rows, overwrite));
        }
        drop(trades);
        look.done(days.len());
        look.desk = Some(desk);
        Ok(Some(Computed { days, overwrites }))
    }

    /// Folds a day into the desk.
    pub(super) fn day(
        &self,
        look: &PositionsLook,
        desk: &mut Desk,
        day: i32,
        trades: &[RecordBatch],
    ) -> Result<DayRows, DeriveError> {
        let made = desk.day(trades, day)?;
        let layout = |table: PositionTable| look.targets[table as usize].layout.arrow();
        let performance = rows::performance(&made, day, layout(PositionTable::Performance))?;
        let positions = match look.has_positions(day)? {
            true => {
                rows::positions(desk, day, layout(PositionTable::Positions)).map_err(|error| unreadable(day, error))?
            }
            false => RecordBatch::new_empty(layout(PositionTable::Positions).clone()),
        };
        Ok(DayRows { performance, positions })
    }

    async fn overwrite(
        &self,
        look: &PositionsLook,
        days: &[i32],
        output: Output<'_>,
        mut summary: BTreeMap<String, String>,
    ) -> Result<(u64, Overwrite), DeriveError> {
        output.batch.finish().await?;
        let inputs = look.inputs(&self.trades.to_string(), days);
        summary.insert("tapehouse.rows".to_owned(), output.rows.to_string());
        summary.insert(INPUTS_KEY.to_owned(), inputs_text(&inputs));
        summary.insert("tapehouse.logic-version".to_owned(), LOGIC_VERSION.to_string());
        summary.insert(DAY_STATES_KEY.to_owned(), states_text(days, look.open_days()));
        summary.insert("tapehouse.calendar".to_owned(), Calendar::nyse().hash().to_string());
        let provisional = days.iter().copied().filter(|day| look.open_days().contains(day));
        let overwrite = Overwrite {
            commit_id: Uuid::new_v4(),
            schema_id: output.target.table.metadata().current_schema_id(),
            days: output.files,
            is_deliberate: look.is_deliberate,
            request: DeriveRequest {
                owner: self.owner.clone(),
                logic: LOGIC_VERSION,
                inputs,
                provisional: provisional.collect(),
            },
            summary,
        };
        Ok((output.rows, overwrite))
    }

    /// Commits computed days, table by table; those that rest on exactly these trades already are left out. After a retryable error call
    /// again with the same `computed`.
    ///
    /// # Errors
    /// [`DeriveError::Commit`]; [`DeriveError::Refused`]: then look again.
    pub async fn commit(&self, computed: &Computed) -> Result<Vec<Published>, DeriveError> {
        let mut published = Vec::new();
        for (ident, rows, overwrite) in &computed.overwrites {
            match self.lake.overwrite(ident, overwrite).await? {
                CommitOutcome::Committed(committed) => published.push(Published {
                    table: ident.clone(),
                    committed,
                    rows: *rows,
                    changed_days: overwrite.days.keys().copied().collect(),
                }),
                CommitOutcome::Done(NotOverwritten::Unchanged(_)) => {}
                CommitOutcome::Done(NotOverwritten::Refused(refusal)) => return Err(refusal.into()),
            }
        }
        Ok(published)
    }

    /// What is carried at the end of the day before `first`: as it is remembered, else from the latest day on which it is kept, and the
    /// trades since.
    async fn before(&self, look: &PositionsLook, first: i32) -> Result<Desk, DeriveError> {
        let earlier: Vec<i32> = look.all.iter().copied().filter(|day| *day < first).collect();
        let Some(last) = earlier.last() else {
            return Ok(Desk::default());
        };
        let uuid = look.trades.metadata().uuid();
        let is_it =
            |known: &&Remembered| known.trades == uuid && known.day == *last && known.carried == look.carried[last];
        if let Some(known) = self.remembered().as_ref().filter(is_it) {
            return Ok(known.desk.clone());
        }
        let kept = self.kept(look, &earlier).await?;
        let (mut desk, after) = kept.unwrap_or((Desk::default(), i32::MIN));
        let replayed = earlier.into_iter().filter(|day| *day > after);
        let mut trades = stream::iter(replayed)
            .map(|day| async move { (day, trades_of(self.lake.clone(), look.trades.clone(), day).await) })
            .buffered(DAYS_AHEAD);
        while let Some((day, batches)) = trades.next().await {
            desk.day(&batches?, day)?;
        }
        Ok(desk)
    }

    /// The latest of these days on which what is carried is kept. They are all computed from the trades as they are, so it is right.
    async fn kept(&self, look: &PositionsLook, earlier: &[i32]) -> Result<Option<(Desk, i32)>, DeriveError> {
        let table = look.table(PositionTable::State);
        let files = self.lake.days(table).await?;
        let Some(day) = earlier.iter().rev().copied().find(|day| files.contains_key(day)) else {
            return Ok(None);
        };
        let fields = look.targets[PositionTable::State as usize].layout.arrow().fields();
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let mut desk = Desk::default();
        let mut read = LiveRows::of_day(&self.lake, table, &names, day).await?;
        while let Some((_, batch)) = read.next().await? {
            rows::restore(&mut desk, &batch).map_err(|error| unreadable(day, error.0))?;
        }
        Ok(Some((desk, day)))
    }

    /// Remembers what is carried into the last of all days.
    fn remember(&self, look: &PositionsLook, day: i32, desk: &Desk) {
        let [.., before, last] = look.all[..] else { return };
        if last != day {
            return;
        }
        let remembered = Remembered {
            trades: look.trades.metadata().uuid(),
            day: before,
            carried: look.carried[&before],
            desk: desk.clone(),
        };
        let is_known = self.remembered().as_ref().is_some_and(|known| {
            (known.trades, known.day, known.carried) == (remembered.trades, remembered.day, remembered.carried)
        });
        if !is_known {
            *self.remembered() = Some(remembered);
        }
    }
}

/// Whether what is carried is kept at the end of this day of `all`: it is the last one of its twenty calendar days, and not the last of
/// all, which is not over.
fn is_kept(all: &[i32], day: i32) -> bool {
    let next = all.partition_point(|other| *other <= day);
    all.get(next)
        .is_some_and(|next| next.div_euclid(KEPT_EVERY) != day.div_euclid(KEPT_EVERY))
}

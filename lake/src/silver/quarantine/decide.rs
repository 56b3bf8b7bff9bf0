//! Deciding about rows that were set aside.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use tapehouse_core::quarantine::is_below;
use uuid::Uuid;

use super::columns::{DECISION, decisions_of};
use super::entry::{Decision, Entry, Verdict};
use super::record::{change, checked_state, write};
use super::{QuarantineError, columns, open_or_create};
use crate::commit::{Change, CommitOutcome, Committed, Planned};
use crate::error::CommitError;
use crate::files::FileLayout;
use crate::lake::Lake;
use crate::silver::SilverTable;
use crate::table::LoadedTable;

/// Decisions about rows of one silver table.
#[derive(Clone, Debug)]
pub struct NewDecision {
    /// Cluster of Tapehouse that writes.
    pub owner: String,
    /// The silver table.
    pub table: SilverTable,
    /// As many decisions were known when it was decided: the next one's number.
    pub known: u64,
    /// Generation of the rows.
    pub generation: u64,
    /// What is decided.
    pub verdict: Verdict,
    /// The rows that it is about.
    pub entries: Vec<Entry>,
    /// When, in microseconds since 1970-01-01 UTC.
    pub decided_at_us: i64,
    /// Who decides.
    pub decided_by: String,
    /// Why, for people.
    pub note: Option<String>,
}

/// Decisions that are in the table.
#[derive(Debug)]
pub struct Decided {
    /// Number of the first.
    pub first: u64,
    /// The commit.
    pub committed: Committed,
}

/// Somebody has decided, or the rows were recorded anew, since they were looked at: look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rows or decisions of this table have changed since they were looked at: look again, then decide again")]
pub struct NotDecided;

/// Appends decisions, whole or not at all: only if nothing was decided since the caller looked.
///
/// # Errors
/// [`QuarantineError`]. After one it may be open whether it was decided: look again.
pub async fn decide(lake: &Lake, new: &NewDecision) -> Result<Result<Decided, NotDecided>, QuarantineError> {
    open_or_create(lake, &new.owner).await?;
    let outcome = lake
        .commit(&columns::ident(), Uuid::new_v4(), &Deciding { lake, new })
        .await?;
    Ok(match outcome {
        CommitOutcome::Committed(committed) => Ok(Decided {
            first: new.known,
            committed,
        }),
        CommitOutcome::Done(not) => Err(not),
    })
}

struct Deciding<'a> {
    lake: &'a Lake,
    new: &'a NewDecision,
}

#[async_trait]
impl Change for Deciding<'_> {
    type Done = NotDecided;

    async fn plan(
        &self,
        base: &LoadedTable,
        snapshot_id: i64,
        _retried_blindly: bool,
    ) -> Result<Planned<NotDecided>, CommitError> {
        let Self { lake, new } = self;
        let mut state = checked_state(base, &new.owner)?;
        let mut table = state.of(new.table.name());
        // A row above the cursor is of a former generation: what is decided about it now would not be found there.
        let is_recorded = |entry: &Entry| entry.id.table == new.table && is_below(&table.next, entry.id.coordinates);
        if table.decisions != new.known || table.generation != new.generation || !new.entries.iter().all(is_recorded) {
            return Ok(Planned::Done(NotDecided));
        }
        let decisions: Vec<Decision> = (new.known..)
            .zip(&new.entries)
            .map(|(number, entry)| new.about(entry, number))
            .collect();
        let encode = |layout: &FileLayout| decisions_of(layout.arrow(), &decisions);
        let file = write(lake, base, new.table, DECISION, encode).await?;
        let end = new.known + decisions.len() as u64;
        table.decisions = end;
        state.tables.insert(new.table.name().to_owned(), table);
        let mut summary = BTreeMap::from([
            ("tapehouse.quarantine.table".to_owned(), new.table.name().to_owned()),
            (
                "tapehouse.quarantine.decisions".to_owned(),
                format!("{} [{},{end})", new.verdict.name(), new.known),
            ),
        ]);
        let change = change(state, snapshot_id, vec![file], HashSet::new(), &mut summary);
        Ok(Planned::Commit(Box::new(change)))
    }
}

impl NewDecision {
    fn about(&self, entry: &Entry, number: u64) -> Decision {
        Decision {
            number,
            id: entry.id,
            bronze_table: entry.bronze_table.clone(),
            rule: entry.rule.clone(),
            rule_version: entry.rule_version,
            verdict: self.verdict,
            decided_at_us: self.decided_at_us,
            decided_by: self.decided_by.clone(),
            note: self.note.clone(),
        }
    }
}

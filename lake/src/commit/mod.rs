//! The commit layer: turns a [`Change`] into one new metadata version of a table, or says why not.
//!
//! Snapshot id and commit id are fixed before the first attempt. Each attempt loads the table, looks for the commit id in
//! its history (an earlier attempt whose answer was lost), lets the change check itself against exactly this version, writes
//! manifests, list and metadata, makes them durable, and swaps the catalog's pointer if it still is this version. A lost race
//! is retried with backoff, checks included; a lost answer is resolved by loading again. Files of attempts that did not make
//! it are never deleted here: an attempt whose outcome is unknown may yet have happened.

mod append;
mod attempt;
mod change;
pub(crate) mod cleanup;
mod evolution;
mod gaps;
pub(crate) mod hint;
mod lineage;
pub(crate) mod live;
mod manifests;
pub(crate) mod metadata_file;
pub(crate) mod metadata_json;
mod overwrite;
mod policy;
mod rebuild;
mod retention;
mod rewrite;
mod row_delta;
mod schema_change;
mod state_change;
mod summary;
mod tiers;

use std::time::Instant;

use tapehouse_core::clock::now_ms;
use tapehouse_core::failpoint;
use uuid::Uuid;

pub use append::{AppendOutcome, FIRST_OFFSETS_PROPERTY, FirstOffsets, NotAppended, StagedAppend, first_offsets, keys};
pub use change::{Change, Planned, SnapshotChange};
pub(crate) use evolution::must_change;
pub use evolution::{Mismatch, WantedColumn};
pub use gaps::{GAPS_PROPERTY, Gaps, recorded_gaps};
pub use live::{LiveFiles, referenced_data_file};
pub use overwrite::{NotOverwritten, Overwrite};
pub use policy::CommitPolicy;
pub use rebuild::Reset;
pub use retention::{HOURLY_TAG_PREFIX, Retention};
pub use rewrite::{Rewrite, Rewritten};
pub use row_delta::{FileDeletes, MovedFile, NotMerged, RowDelta};
pub use state_change::{DecidedOn, StateChange, StateChangeKind};

use crate::catalog::SwapError;
use crate::error::CommitError;
use crate::fault::StorageFault;
use crate::lake::Lake;
use crate::name::TableName;
use crate::table::LoadedTable;
use attempt::Prepared;

/// A commit that happened.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The table as committed, or as found when an earlier attempt turned out to have succeeded.
    pub table: LoadedTable,
    /// The new snapshot.
    pub snapshot_id: i64,
    /// Its sequence number.
    pub sequence_number: i64,
    /// Attempts made by this call.
    pub attempts: u32,
}

/// Outcome of [`Lake::commit`].
#[derive(Debug)]
pub enum CommitOutcome<D> {
    /// The snapshot is in the table.
    Committed(Committed),
    /// The change found nothing to commit.
    Done(D),
}

impl Lake {
    /// Commits `change` to the table. `commit_id` names the change: calling again with the same id, after an error or from
    /// another process, never commits it twice.
    ///
    /// # Errors
    /// [`CommitError`]; only [`CommitError::Unknown`] leaves open whether the change is in the table.
    pub async fn commit<C: Change>(
        &self,
        ident: &TableName,
        commit_id: Uuid,
        change: &C,
    ) -> Result<CommitOutcome<C::Done>, CommitError> {
        let mut run = Run::new(self, ident, commit_id);
        loop {
            run.next_attempt().await?;
            let Some(base) = run.load().await? else {
                continue;
            };
            if !run.retries_blindly()
                && let Some(found) = run.find_commit(&base)
            {
                return Ok(CommitOutcome::Committed(found));
            }
            let plan = change.plan(&base, run.snapshot_id, run.retries_blindly()).await?;
            let change = match plan {
                Planned::Done(done) => return Ok(CommitOutcome::Done(done)),
                Planned::Commit(change) => change,
            };
            let prepared = attempt::prepare(self, &base, run.snapshot_id, commit_id, *change, run.now_ms()).await?;
            if let Some(committed) = run.swap(&base, prepared).await? {
                return Ok(CommitOutcome::Committed(committed));
            }
        }
    }
}

/// One call of [`Lake::commit`]: its attempts, its time, what is not yet known.
struct Run<'a> {
    lake: &'a Lake,
    ident: &'a TableName,
    commit_id: Uuid,
    snapshot_id: i64,
    started: Instant,
    /// The wall clock at that time, which the caller has held against others'.
    started_ms: i64,
    attempts: u32,
    /// Set while it is open whether the last swap happened.
    lost_answer: Option<Box<dyn std::error::Error + Send + Sync>>,
    blind: bool,
}

impl<'a> Run<'a> {
    fn new(lake: &'a Lake, ident: &'a TableName, commit_id: Uuid) -> Self {
        Self {
            lake,
            ident,
            commit_id,
            snapshot_id: snapshot_id_of(commit_id),
            started: Instant::now(),
            started_ms: now_ms(),
            attempts: 0,
            lost_answer: None,
            blind: false,
        }
    }

    /// The time, without what the wall clock steps while the commit is under way: nobody would look at it again.
    fn now_ms(&self) -> i64 {
        let passed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.started_ms.saturating_add(passed)
    }

    /// Counts the attempt and waits before it, or gives up.
    async fn next_attempt(&mut self) -> Result<(), CommitError> {
        let policy = self.lake.policy();
        if self.attempts >= policy.max_attempts || (self.attempts > 0 && self.started.elapsed() >= policy.deadline) {
            return Err(self.give_up());
        }
        if self.attempts > 0 {
            let delay = policy.backoff.delay(self.attempts - 1, random_unit());
            tokio::time::sleep(delay.min(policy.deadline.saturating_sub(self.started.elapsed()))).await;
        }
        self.attempts += 1;
        Ok(())
    }

    fn give_up(&mut self) -> CommitError {
        let elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let table = self.ident.clone();
        match self.lost_answer.take() {
            Some(source) => CommitError::Unknown {
                table,
                elapsed_ms,
                source,
            },
            None => CommitError::Conflict {
                table,
                attempts: self.attempts,
                elapsed_ms,
            },
        }
    }

    /// Loads the table. While an answer is lost, a failure to load only costs an attempt: giving the failure back would
    /// claim that nothing was committed.
    async fn load(&mut self) -> Result<Option<LoadedTable>, CommitError> {
        let missing = || crate::error::LakeError::NoSuchTable(self.ident.clone());
        match self
            .lake
            .load(self.ident)
            .await
            .and_then(|table| table.ok_or_else(missing))
        {
            Ok(table) => Ok(Some(table)),
            Err(error) if self.lost_answer.is_some() => {
                tracing::warn!(table = %self.ident, %error, "cannot yet tell whether the commit happened");
                self.lost_answer = Some(Box::new(error));
                Ok(None)
            }
            Err(error) => Err(CommitError::fatal(self.ident)(error)),
        }
    }

    fn retries_blindly(&self) -> bool {
        self.blind
    }

    fn find_commit(&mut self, base: &LoadedTable) -> Option<Committed> {
        let commit_id = self.commit_id.to_string();
        let found = base
            .ancestry()
            .find(|snapshot| snapshot.summary().additional_properties.get(keys::COMMIT_ID) == Some(&commit_id));
        // Whichever it is, the outcome is known now.
        self.lost_answer = None;
        found.map(|snapshot| Committed {
            snapshot_id: snapshot.snapshot_id(),
            sequence_number: snapshot.sequence_number(),
            table: base.clone(),
            attempts: self.attempts,
        })
    }

    /// Swaps. `None` = another attempt is due.
    async fn swap(&mut self, base: &LoadedTable, prepared: Prepared) -> Result<Option<Committed>, CommitError> {
        failpoint::reach("before_swap");
        if let Some(delay) = failpoint::delay("swap") {
            tokio::time::sleep(delay).await;
        }
        let swapped = self.lake.backend().swap(&prepared.as_swap(base)).await;
        let error = match swapped {
            Ok(swapped) => {
                failpoint::reach("after_swap");
                if !failpoint::loses_answer("swap") {
                    let committed = prepared.finish(self.lake, base, swapped, self.attempts);
                    return Ok(Some(committed));
                }
                SwapError::Unknown("the chaos suite lost the answer".into())
            }
            Err(error) => error,
        };
        match error {
            SwapError::Conflict => {
                tracing::debug!(table = %self.ident, attempt = self.attempts, "lost the race for the table");
                Ok(None)
            }
            SwapError::Unknown(source) => {
                let code = StorageFault::behind(source.as_ref()).map_or("commit", |fault| fault.code());
                tracing::warn!(table = %self.ident, error = %source, code, "the catalog's answer was lost");
                self.lost_answer = Some(source);
                if failpoint::defence_is_off("unknown_outcome") {
                    self.blind = true;
                    self.commit_id = Uuid::new_v4();
                    self.snapshot_id = snapshot_id_of(self.commit_id);
                }
                Ok(None)
            }
            SwapError::Failed(source) => Err(CommitError::fatal(self.ident)(source)),
        }
    }
}

/// The snapshot id that belongs to a commit id, so that all attempts of a commit, in whatever process, use the same.
fn snapshot_id_of(commit_id: Uuid) -> i64 {
    let (high, low) = commit_id.as_u64_pair();
    let id = (high ^ low) & (i64::MAX as u64);
    // 0 means "no snapshot yet" in a stream's state.
    i64::try_from(id.max(1)).unwrap_or(i64::MAX)
}

/// Uniform in 0..1.
fn random_unit() -> f64 {
    f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

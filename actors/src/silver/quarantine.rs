//! What a merge has to do with `ops.quarantine`: it records what it sets aside, and applies what was decided.

use std::time::Duration;

use tapehouse_core::failpoint;
use tapehouse_core::merge::{MergeRefusal, MergeState};
use tapehouse_core::quarantine::RecordRequest;
use tapehouse_lake::Lake;
use tapehouse_lake::commit::CommitOutcome;
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::silver::clean::RULES_VERSION;
use tapehouse_lake::silver::merge::MergeError;
use tapehouse_lake::silver::quarantine::{Decisions, NotRecorded, Quarantine, QuarantineError, RecordRows, record};
use uuid::Uuid;

use super::batch::Batch;
use super::failure::SilverFailure;
use super::portion::Portion;
use crate::follow::PassFailure as _;
use crate::silver_merge::SilverMerge;

/// New decisions are looked for this often: one query of the catalog.
const LOOK_FOR_DECISIONS_EVERY: Duration = Duration::from_secs(3);

/// The decisions about a silver table, as far as they are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decided {
    pub(crate) decisions: Decisions,
}

impl Decided {
    /// As many are known.
    pub(crate) fn known(&self) -> u64 {
        self.decisions.waivers.known()
    }

    /// Looks again: what was known is read only where there is more.
    pub(crate) async fn look(self, lake: &Lake, table: SilverTable) -> Result<Self, QuarantineError> {
        let Some(quarantine) = Quarantine::load(lake).await? else {
            return Ok(Self::default());
        };
        if quarantine.of(table)?.decisions == self.known() {
            return Ok(self);
        }
        let decisions = quarantine.decisions(lake, table).await?;
        Ok(Self { decisions })
    }

    /// What of them is not applied in `state`.
    pub(crate) fn open(&self, state: &MergeState) -> Option<Portion> {
        Portion::of_decisions(&self.decisions.all, state.decisions)
    }
}

/// Returns when there are more decisions than `known`. A catalog that is away is asked again.
pub(crate) async fn more_decisions(lake: &Lake, table: SilverTable, known: u64) {
    loop {
        tokio::time::sleep(LOOK_FOR_DECISIONS_EVERY).await;
        let quarantine = Quarantine::load(lake).await.ok().flatten();
        let state = quarantine.and_then(|quarantine| quarantine.of(table).ok());
        if state.is_some_and(|state| state.decisions > known) {
            return;
        }
    }
}

impl SilverMerge {
    /// Records what a merge sets aside, before silver's own commit. What another attempt has recorded is left out.
    pub(crate) async fn record_quarantined(
        &self,
        state: &MergeState,
        batch: &mut Batch,
        portion: &Portion,
        known: u64,
    ) -> Result<(), SilverFailure> {
        if state.rules != RULES_VERSION {
            // Silver would refuse the rows, and what is recorded here would stay.
            let refusal = MergeRefusal::OtherRules {
                recorded: state.rules,
                merged: RULES_VERSION,
            };
            return Err(MergeError::Refused(refusal, Box::new(state.clone())).into());
        }
        let rows = RecordRows {
            commit_id: Uuid::new_v4(),
            owner: self.shared.settings.cluster.clone(),
            table: self.settings.table,
            request: RecordRequest {
                generation: state.generation,
                known,
                of: portion.outcome(),
            },
            entries: batch.take_entries(),
        };
        let record = || async { Ok(record(&self.shared.lake, &rows).await?) };
        let heals = |failure: &SilverFailure| failure.may_repeat() && !*self.shared.stopping.borrow();
        match self.follower.until_certain(record, heals).await? {
            CommitOutcome::Committed(_) => {
                failpoint::reach("after_quarantine_commit");
                Ok(())
            }
            CommitOutcome::Done(NotRecorded::Nothing) => Ok(()),
            CommitOutcome::Done(not) => Err(SilverFailure::Decided(not)),
        }
    }
}

//! The end of a unit of work: what the ledger and the operator are told of it.

use tapehouse_core::derive::DeriveRefusal;
use tapehouse_core::ledger::{Ended, Outcome, Run, RunId};
use tapehouse_lake::derived::DeriveError;

use super::failure::DeriveFailure;
use crate::follow::PassFailure as _;
use crate::ledger::failed;
use crate::supervisor::Shared;

/// Ends runs whose days are in the table.
pub(crate) async fn succeeded(shared: &Shared, runs: &[Run], outcome: impl Fn(&Run) -> Outcome) {
    let ended = runs.iter().map(|run| (run.id, Ended::Succeeded(outcome(run))));
    shared.ledger.end(ended.collect()).await;
}

/// Ends an attempt at these runs, of so many `days`, that failed. Gives the failure back where the tables have to be looked at again at
/// once: somebody else has computed newer rows.
pub(crate) async fn attempt_failed(
    shared: &Shared,
    runs: &[Run],
    days: usize,
    failure: DeriveFailure,
) -> Result<(), DeriveFailure> {
    if matches!(
        failure,
        DeriveFailure::Derive(DeriveError::Refused(DeriveRefusal::Stale { .. }))
    ) {
        let elsewhere = Outcome {
            snapshot: None,
            changed: false,
            provisional: false,
        };
        succeeded(shared, runs, |_| elsewhere).await;
        return Err(failure);
    }
    let ended = runs.iter().map(|run| (run.id, failed(&failure, days)));
    let last = shared.ledger.end(ended.collect()).await;
    let table = runs.first().map_or("", |run| run.asset.as_str());
    for run in &last {
        shared
            .metrics
            .asset_failures
            .with_label_values(&[run.asset.as_str()])
            .inc();
    }
    let first: Option<RunId> = runs.first().map(|run| run.id);
    tracing::warn!(
        node = shared.settings.node, run_id = %shared.run_id, table, code = failure.code(), error = %failure, days,
        run = first.map(|id| id.0), failed_for_good = last.len(),
        "computing days failed");
    Ok(())
}

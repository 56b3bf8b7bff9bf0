//! Answers about runs and backfills in the words of `tapehouse.v1`: by a node of its ledger, or by a command of the ledger's file where no
//! node runs.

mod answer;
mod plan;

use tapehouse_actors::{AskError, NewBackfill, RunLedger};
use tapehouse_core::assets::{Asset, AssetGraph};
use tapehouse_core::ledger::{Backfill, BackfillProgress, Run, RunId};
use tapehouse_lake::Lake;
use tapehouse_proto::v1;

pub use self::answer::timestamp;
use self::answer::{backfill_answer, day_answer, run_answer, state_of};
use self::plan::{PlannedDay, is_computed_by_day, plan};
use crate::dates::parse_day;
use crate::exit::{Exit, Failure};

/// Runs of one page where the request says nothing.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;
/// Marks a token as ours.
const TOKEN_PREFIX: &str = "before-";
const ID_MAX_CHARS: usize = 100;

/// The failure of what an operator asked for.
pub fn ask_failure(error: AskError) -> Failure {
    let code = error.code();
    Failure::failed(error).code(code)
}

fn invalid(message: impl std::fmt::Display) -> Failure {
    Failure::with(Exit::Failed, message).code("invalid_argument")
}

/// One page of runs.
///
/// # Errors
/// A token or state that is none; a ledger that cannot be read.
pub fn list(ledger: &RunLedger, request: &v1::ListRunsRequest) -> Result<v1::ListRunsResponse, Failure> {
    let before = match request.page_token.as_str() {
        "" => None,
        token => {
            let id = token.strip_prefix(TOKEN_PREFIX).and_then(|id| id.parse().ok());
            Some(RunId(id.ok_or_else(|| {
                invalid("page_token is not one of this list: begin again without it")
            })?))
        }
    };
    let states: Option<Vec<_>> = request.states().map(state_of).collect();
    let states = states.ok_or_else(|| invalid("states has one that this version does not know"))?;
    let size = match usize::try_from(request.page_size) {
        Ok(0) => PAGE,
        Ok(size) => size.min(PAGE_MAX),
        Err(_) => PAGE_MAX,
    };
    let is_meant = |run: &Run| {
        let is_of_table = request.table.is_empty() || run.asset == request.table;
        let is_of_backfill = request.backfill.is_empty() || run.nonce.as_deref() == Some(request.backfill.as_str());
        is_of_table && is_of_backfill && (states.is_empty() || states.contains(&run.state))
    };
    let runs = ledger
        .runs(before, size, is_meant)
        .map_err(|error| ask_failure(error.into()))?;
    let next = runs.last().filter(|_| runs.len() == size);
    Ok(v1::ListRunsResponse {
        next_page_token: next.map_or(String::new(), |run| format!("{TOKEN_PREFIX}{}", run.id)),
        runs: runs.iter().map(|run| run_answer(run, false)).collect(),
    })
}

/// One run with its log.
///
/// # Errors
/// `no_such_run`; a ledger that cannot be read.
pub fn get(ledger: &RunLedger, id: u64) -> Result<v1::Run, Failure> {
    let run = ledger.run(RunId(id)).map_err(|error| ask_failure(error.into()))?;
    let run = run.ok_or_else(|| ask_failure(AskError::NoSuchRun(RunId(id))))?;
    Ok(run_answer(&run, true))
}

/// Computes the day of a run once more.
///
/// # Errors
/// `no_such_run`, `run_state`.
pub fn retry(ledger: &RunLedger, id: u64) -> Result<v1::Run, Failure> {
    let run = ledger.retry(RunId(id)).map_err(ask_failure)?;
    Ok(run_answer(&run, true))
}

/// Ends a run that waits.
///
/// # Errors
/// `no_such_run`, `run_state`.
pub fn cancel(ledger: &RunLedger, id: u64) -> Result<v1::Run, Failure> {
    let run = ledger.cancel(RunId(id)).map_err(ask_failure)?;
    Ok(run_answer(&run, true))
}

/// All backfills, the latest first.
///
/// # Errors
/// A ledger that cannot be read.
pub fn backfills(ledger: &RunLedger) -> Result<Vec<v1::Backfill>, Failure> {
    let all = ledger.backfills().map_err(|error| ask_failure(error.into()))?;
    all.iter().map(|backfill| told(ledger, backfill)).collect()
}

/// One backfill, and how far it is.
///
/// # Errors
/// `no_such_backfill`; a ledger that cannot be read.
pub fn backfill(ledger: &RunLedger, id: &str) -> Result<v1::Backfill, Failure> {
    let found = ledger.backfill(id).map_err(|error| ask_failure(error.into()))?;
    let found = found.ok_or_else(|| ask_failure(AskError::NoSuchBackfill(id.to_owned())))?;
    told(ledger, &found)
}

/// Puts a backfill off, or goes on with it.
///
/// # Errors
/// `no_such_backfill`.
pub fn pause(ledger: &RunLedger, id: &str, is_paused: bool) -> Result<v1::Backfill, Failure> {
    let backfill = ledger.pause(id, is_paused).map_err(ask_failure)?;
    told(ledger, &backfill)
}

/// Ends what of a backfill has not begun.
///
/// # Errors
/// `no_such_backfill`.
pub fn cancel_backfill(ledger: &RunLedger, id: &str) -> Result<v1::Backfill, Failure> {
    let backfill = ledger.cancel_backfill(id).map_err(ask_failure)?;
    told(ledger, &backfill)
}

fn told(ledger: &RunLedger, backfill: &Backfill) -> Result<v1::Backfill, Failure> {
    let runs = ledger.runs_of(backfill).map_err(|error| ask_failure(error.into()))?;
    Ok(backfill_answer(
        backfill,
        &BackfillProgress::of(&runs),
        ledger.is_paused(&backfill.id),
    ))
}

/// Enters a backfill, or only tells what it would compute.
///
/// # Errors
/// A selection, date or name that is none; tables that cannot be read.
pub async fn create(
    ledger: &RunLedger,
    lake: &Lake,
    graph: &AssetGraph,
    request: &v1::CreateBackfillRequest,
) -> Result<v1::CreateBackfillResponse, Failure> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if request.id.is_empty() || request.id.len() > ID_MAX_CHARS || !request.id.chars().all(is_name) {
        return Err(invalid("id must be 1 to 100 letters, digits, - and _"));
    }
    let selected = graph.select(&request.selection).map_err(invalid)?;
    let assets: Vec<&Asset> = selected.into_iter().filter(|asset| is_computed_by_day(asset)).collect();
    if assets.is_empty() {
        return Err(invalid(
            "none of these tables is computed by day: `tapehouse rebuild` makes a silver table anew",
        ));
    }
    let day = |name: &str, text: &str| match text {
        "" => Ok(None),
        text => parse_day(text)
            .map(Some)
            .map_err(|error| invalid(format!("{name} {error}"))),
    };
    let first = day("first_day", &request.first_day)?;
    let last = day("last_day", &request.last_day)?;
    let planned = plan(lake, &assets, first.unwrap_or(i32::MIN)..=last.unwrap_or(i32::MAX)).await?;
    let days: Vec<v1::BackfillDay> = planned.iter().map(day_answer).collect();
    if request.dry_run {
        return Ok(v1::CreateBackfillResponse { backfill: None, days });
    }
    let new = NewBackfill {
        id: request.id.clone(),
        assets: assets.iter().map(|asset| asset.name.clone()).collect(),
        first_day: first
            .or_else(|| planned.iter().map(|day| day.day).min())
            .unwrap_or_default(),
        last_day: last
            .or_else(|| planned.iter().map(|day| day.day).max())
            .unwrap_or_default(),
        days: planned
            .iter()
            .map(|PlannedDay { asset, day, .. }| (asset.clone(), *day))
            .collect(),
    };
    let entered = ledger.clone();
    let backfill = tokio::task::spawn_blocking(move || entered.create(new)).await;
    let backfill = backfill.map_err(Failure::failed)?.map_err(ask_failure)?;
    Ok(v1::CreateBackfillResponse {
        backfill: Some(told(ledger, &backfill)?),
        days,
    })
}

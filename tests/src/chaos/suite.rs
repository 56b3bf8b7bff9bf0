//! Runs the cases of a plan and gathers what became of them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::case::Performance;
use super::ground::{Ground, remove};
use super::{Case, Plan, Source};
use crate::{Error, Scratch};

/// How the suite is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Determines everything random.
    pub seed: u64,
    /// Records in each topic.
    pub records: u64,
    /// Cases at the same time.
    pub jobs: usize,
}

/// What became of one case.
#[derive(Debug)]
pub struct Report {
    /// The case.
    pub case: Case,
    /// What happened, or why it failed.
    pub outcome: Result<String, Error>,
    /// Time that it took.
    pub took: Duration,
}

/// Runs all cases of `plan`; `tell` hears of each as soon as it is over. Folders of cases that failed are kept; the second
/// value is where.
///
/// # Errors
/// When there is nothing to run the cases on.
pub fn run(
    plan: &Plan,
    options: Options,
    tell: impl Fn(&Report) + Sync,
) -> Result<(Vec<Report>, Option<PathBuf>), Error> {
    let mut scratch = Scratch::new("chaos")?;
    let mut sources: Vec<Source> = Vec::new();
    for case in &plan.0 {
        if !sources.contains(&case.source) {
            sources.push(case.source);
        }
    }
    let ground = match Ground::prepare(scratch.path(), options.records, options.seed, &sources) {
        Ok(ground) => ground,
        Err(error) => {
            if !matches!(error, Error::Needs(_)) {
                scratch.keep();
            }
            return Err(error);
        }
    };
    let (next, reports) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, 8) {
            scope.spawn(|| {
                while let Some(case) = plan.0.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let started = Instant::now();
                    let outcome = play(case, &ground, scratch.path(), options.seed);
                    let report = Report {
                        case: case.clone(),
                        outcome,
                        took: started.elapsed(),
                    };
                    tell(&report);
                    reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                }
            });
        }
    });
    let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    let kept = reports
        .iter()
        .any(|report| report.outcome.is_err())
        .then(|| scratch.path().to_owned());
    if kept.is_some() {
        scratch.keep();
    }
    Ok((reports, kept))
}

fn play(case: &Case, ground: &Ground, scratch: &std::path::Path, seed: u64) -> Result<String, Error> {
    let site = ground.site(&scratch.join(case.name.replace('/', "-")), case.source)?;
    let story = Performance::new(case, &site, ground, seed).perform()?;
    let story = match case.without {
        None => {
            ground.demand_truth(&site, case.source)?;
            story
        }
        Some(_) => format!("{story}; {}", ground.demand_harm(&site, case.source)?),
    };
    remove(site.folder())?;
    Ok(story)
}

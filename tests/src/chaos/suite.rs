//! Runs the cases of a plan and gathers what became of them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::ground::{Ground, remove};
use super::performance::Performance;
use super::source::topics;
use super::{Act, Case, Plan, Source};
use crate::{Backend, Error, Scratch};

/// How the suite is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Determines everything random.
    pub seed: u64,
    /// Records in each topic.
    pub records: u64,
    /// Cases at the same time.
    pub jobs: usize,
    /// Where the tables are.
    pub backend: Backend,
}

/// What became of one case.
#[derive(Debug)]
pub struct Report {
    /// The case.
    pub case: Case,
    /// What happened, or why it failed; [`Error::Needs`]: it cannot be played on this machine.
    pub outcome: Result<String, Error>,
    /// Time that it took.
    pub took: Duration,
}

impl Report {
    /// Whether it was left out, for want of something.
    pub fn is_left_out(&self) -> bool {
        matches!(self.outcome, Err(Error::Needs(_)))
    }

    /// Whether it was played and failed.
    pub fn has_failed(&self) -> bool {
        self.outcome.is_err() && !self.is_left_out()
    }
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
        let source = case.source.shared();
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    let ground = match Ground::prepare(scratch.path(), options, &sources) {
        Ok(ground) => ground,
        Err(error) => {
            if !matches!(error, Error::Needs(_)) {
                scratch.keep();
            }
            return Err(error);
        }
    };
    let reports = Mutex::new(Vec::new());
    let (alone, together): (Vec<&Case>, Vec<&Case>) = plan.0.iter().partition(|case| case.act.disturbs_others());
    for (cases, jobs) in [(together, options.jobs.clamp(1, 8)), (alone, 1)] {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    while let Some(&case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
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
    }
    let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    let kept = reports
        .iter()
        .any(Report::has_failed)
        .then(|| scratch.path().to_owned());
    if kept.is_some() {
        scratch.keep();
    }
    Ok((reports, kept))
}

fn play(case: &Case, ground: &Ground, scratch: &Path, seed: u64) -> Result<String, Error> {
    let folder = scratch.join(case.name.replace('/', "-"));
    let disk = match case.act {
        Act::DiskFull { .. } => Some(Disk::mount(&folder, ground.records())?),
        _ => None,
    };
    let played = play_in(&folder, case, ground, seed);
    match disk {
        Some(disk) if played.is_err() => disk.keep(),
        Some(disk) => disk.remove()?,
        None if played.is_ok() => remove(&folder)?,
        None => {}
    }
    played
}

fn play_in(folder: &Path, case: &Case, ground: &Ground, seed: u64) -> Result<String, Error> {
    let site = ground.site(folder, &topics(case), Some(case.act))?;
    let performed = Performance::new(case, &site, ground, seed).perform()?;
    match case.without {
        None => {
            ground.demand_truth(&site, case, &performed)?;
            Ok(performed.story)
        }
        Some(_) => {
            let harm = match performed.harm {
                Some(harm) => harm,
                None => ground.demand_harm(&site, case)?,
            };
            Ok(format!("{}; {harm}", performed.story))
        }
    }
}

//! Checks of everything that a node needs, side by side; one that fails hides no other. Safe beside running nodes: what a
//! check writes, it removes.

mod clients;
mod clock;
mod machine;
mod storage;

use std::time::{Duration, Instant};

use crate::config::{Config, risks};
use crate::exit::{Exit, Failure};

/// Longest time of one check.
const LIMIT: Duration = Duration::from_secs(10);

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// A node would run, perhaps not as is meant.
    Warn,
    /// A node could not work.
    Fail,
    /// Not made, since what it rests on failed.
    Skipped,
}

impl Verdict {
    /// For output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
        }
    }
}

/// One check and what it found.
#[derive(Clone, Debug)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// What it came to.
    pub verdict: Verdict,
    /// Time that it took.
    pub took: Duration,
    /// What was found.
    pub detail: String,
    /// Code of a failure.
    pub code: Option<&'static str>,
    /// The way out of a failure or warning.
    pub way_out: Option<String>,
    /// Exit code of a failure.
    exit: Exit,
}

/// What a check finds that does not fail.
#[derive(Clone, Debug)]
pub(crate) enum Finding {
    /// As it should be.
    Good(String),
    /// A node would run, perhaps not as is meant: what was found, and the way out.
    Odd(String, String),
}

type Found = Result<Finding, Failure>;

impl Check {
    /// Makes a check within its time. `code` is that of one that does not answer in time.
    async fn of(name: impl Into<String>, code: &'static str, check: impl Future<Output = Found>) -> Self {
        Self::within(LIMIT, name, code, check).await
    }

    async fn within(
        limit: Duration,
        name: impl Into<String>,
        code: &'static str,
        check: impl Future<Output = Found>,
    ) -> Self {
        let (name, started) = (name.into(), Instant::now());
        let late = || Err(Failure::unreachable(format!("no answer within {} s", limit.as_secs_f64())).code(code));
        let found = tokio::time::timeout(limit, check).await.unwrap_or_else(|_| late());
        Self::found(name, found, started.elapsed())
    }

    fn found(name: String, found: Found, took: Duration) -> Self {
        let (verdict, detail, code, way_out, exit) = match found {
            Ok(Finding::Good(detail)) => (Verdict::Ok, detail, None, None, Exit::Ok),
            Ok(Finding::Odd(detail, way_out)) => (Verdict::Warn, detail, None, Some(way_out), Exit::Ok),
            Err(failure) => (
                Verdict::Fail,
                failure.message,
                Some(failure.code),
                failure.hint,
                failure.exit,
            ),
        };
        Self {
            name,
            verdict,
            took,
            detail,
            code,
            way_out,
            exit,
        }
    }

    fn skipped(name: impl Into<String>, because: &str) -> Self {
        Self {
            name: name.into(),
            verdict: Verdict::Skipped,
            took: Duration::ZERO,
            detail: format!("rests on `{because}`, which failed"),
            code: None,
            way_out: None,
            exit: Exit::Ok,
        }
    }
}

/// Checks everything that `config` names.
pub async fn examine(config: &Config, configured: Duration) -> Vec<Check> {
    let file = config.file.as_ref().map(|file| file.display().to_string());
    let source = file.unwrap_or_else(|| "environment and flags, no file".to_owned());
    let valid = Finding::Good(format!("{source}; {} topics", config.topics.len()));
    let mut checks = vec![Check::found("configuration".to_owned(), Ok(valid), configured)];
    checks.extend(risks(config).into_iter().map(|risk| {
        let way_out = "if that is meant so, nothing; else see docs/security.md".to_owned();
        Check::found("security".to_owned(), Ok(Finding::Odd(risk, way_out)), Duration::ZERO)
    }));
    let (kafka, registry, lake, clock, machine) = tokio::join!(
        clients::kafka(config),
        clients::registry(config),
        storage::checks(config),
        clock::check(config),
        machine::checks(config)
    );
    checks.extend(
        kafka
            .into_iter()
            .chain(registry)
            .chain(lake)
            .chain([clock])
            .chain(machine),
    );
    checks
}

/// The one check that there is where the configuration has faults.
pub fn unconfigured(failure: Failure, took: Duration) -> Vec<Check> {
    let others = ["kafka", "registry", "catalog", "warehouse", "clock", "machine"];
    let mut checks = vec![Check::found("configuration".to_owned(), Err(failure), took)];
    checks.extend(others.map(|name| Check::skipped(name, "configuration")));
    checks
}

/// How `doctor` ends: 78 where the configuration fails, else 4 where something cannot be reached, else 1 where anything else
/// fails, else 0.
pub fn exit(checks: &[Check]) -> Exit {
    let any = |wanted: Exit| checks.iter().any(|check| check.exit == wanted);
    match checks.iter().any(|check| check.verdict == Verdict::Fail) {
        false => Exit::Ok,
        true if any(Exit::Config) => Exit::Config,
        true if any(Exit::Unreachable) => Exit::Unreachable,
        true => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_check_that_hangs_fails_with_its_code() {
        let limit = Duration::from_millis(10);
        let check = Check::within(limit, "kafka", "kafka", std::future::pending()).await;
        assert_eq!((check.verdict, check.code), (Verdict::Fail, Some("kafka")));
        assert!(check.took >= limit && check.detail.contains("0.01 s"), "{check:?}");
    }

    #[test]
    fn the_worst_failure_decides_how_it_ends() {
        let check = |found| Check::found("x".into(), found, Duration::ZERO);
        let good = check(Ok(Finding::Good(String::new())));
        let odd = check(Ok(Finding::Odd(String::new(), String::new())));
        let failed = check(Err(Failure::failed("full")));
        let away = check(Err(Failure::unreachable("away")));
        let skipped = Check::skipped("y", "x");
        assert_eq!(exit(&[good.clone(), odd, skipped]), Exit::Ok);
        assert_eq!(exit(&[good, failed.clone()]), Exit::Failed);
        assert_eq!(exit(&[failed, away.clone()]), Exit::Unreachable);
        let config = check(Err(Failure::with(Exit::Config, "bad")));
        assert_eq!(exit(&[away, config]), Exit::Config);
    }
}

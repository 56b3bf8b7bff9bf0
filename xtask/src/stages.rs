//! Running named stages one after the other and saying how long each took.

use std::process::Command;
use std::time::Instant;

/// Why a command of xtask ends without success.
#[derive(Debug)]
pub enum Failure {
    /// The arguments make no sense.
    Usage,
    /// A stage failed; the text says which and why.
    Failed(String),
}

impl Failure {
    /// A failure with a reason.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed(reason.into())
    }
}

/// Runs stages in turn. A failed stage does not hide the ones after it; [`Stages::finish`] fails if any did.
pub struct Stages {
    started: Instant,
    failed: Vec<String>,
}

impl Stages {
    /// No stage yet.
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
            failed: Vec::new(),
        }
    }

    /// Runs one stage and prints its time. Returns whether it succeeded.
    pub fn run(&mut self, name: &str, stage: impl FnOnce() -> Result<(), Failure>) -> bool {
        println!("== {name}");
        let started = Instant::now();
        let result = stage();
        let seconds = started.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("== {name}: ok, {seconds:.1} s"),
            Err(failure) => {
                let reason = match failure {
                    Failure::Failed(reason) => reason,
                    Failure::Usage => "wrong arguments".to_owned(),
                };
                println!("== {name}: FAILED, {seconds:.1} s: {reason}");
                self.failed.push(name.to_owned());
                return false;
            }
        }
        true
    }

    /// Prints the whole time.
    ///
    /// # Errors
    /// When any stage failed; the reason names them.
    pub fn finish(self) -> Result<(), Failure> {
        println!("== all stages: {:.1} s", self.started.elapsed().as_secs_f64());
        if self.failed.is_empty() {
            return Ok(());
        }
        Err(Failure::failed(format!("failed: {}", self.failed.join(", "))))
    }
}

/// Runs a command to its end, with our standard streams.
///
/// # Errors
/// When it cannot be started or does not exit with 0.
pub fn execute(mut command: Command) -> Result<(), Failure> {
    let shown = format!("{command:?}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::failed(format!("{status}: {shown}"))),
        Err(error) => Err(Failure::failed(format!("{error}: {shown}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_stage_fails_the_whole_and_hides_nothing() {
        let (mut stages, mut ran) = (Stages::start(), false);
        assert!(!stages.run("first", || Err(Failure::failed("broken"))));
        assert!(stages.run("second", || {
            ran = true;
            Ok(())
        }));
        assert!(ran);
        match stages.finish() {
            Err(Failure::Failed(reason)) => assert_eq!(reason, "failed: first"),
            other => panic!("expected a failure, got {other:?}"),
        }
    }

    #[test]
    fn an_exit_code_is_a_failure() {
        assert!(execute(Command::new("true")).is_ok());
        assert!(execute(Command::new("false")).is_err());
        assert!(execute(Command::new("a-program-that-does-not-exist")).is_err());
    }
}

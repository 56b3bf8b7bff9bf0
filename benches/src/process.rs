//! A process from start to end: wall time, CPU of its whole tree, peak memory, output.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::{Outcome, usage};

/// How often memory is looked at. The kernel keeps the maximum: only what the last moments add can be missed.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);

/// What a process took.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// From before its start to its end.
    pub wall_seconds: f64,
    /// User and system time of the process and its descendants.
    pub cpu_seconds: f64,
    /// Largest resident set of the process.
    pub peak_rss_mib: f64,
    /// What it printed.
    #[serde(skip)]
    pub stdout: String,
}

/// Runs `command` to its end; `folder` takes its stdout and stderr. Nothing else may be awaited meanwhile by this process,
/// as the CPU of all children counts.
///
/// # Errors
/// When it cannot be started or fails; with the end of its stderr.
pub fn measure(mut command: Command, folder: &Path) -> Outcome<Measured> {
    let (stdout, stderr) = (folder.join("stdout"), folder.join("stderr"));
    command
        .stdin(Stdio::null())
        .stdout(File::create(&stdout)?)
        .stderr(File::create(&stderr)?);
    let cpu_before = usage::children_cpu_seconds()?;
    let started = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let (status, peak_rss_mib) = wait(&mut child)?;
    let wall_seconds = started.elapsed().as_secs_f64();
    let cpu_seconds = usage::children_cpu_seconds()? - cpu_before;
    if !status.success() {
        let said = std::fs::read_to_string(&stderr)?;
        let tail: Vec<&str> = said.lines().rev().take(10).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        return Err(format!("{command:?}: {status}\n{}", tail.join("\n")).into());
    }
    Ok(Measured {
        wall_seconds,
        cpu_seconds,
        peak_rss_mib,
        stdout: std::fs::read_to_string(&stdout)?,
    })
}

/// Waits for the child's end, looking at its memory meanwhile.
fn wait(child: &mut Child) -> Outcome<(std::process::ExitStatus, f64)> {
    let pid = child.id();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = 0.0_f64;
            while !ended.load(Ordering::Relaxed) {
                peak = peak.max(usage::peak_rss_mib(pid).unwrap_or_default());
                std::thread::sleep(SAMPLE_EVERY);
            }
            peak
        });
        let status = child.wait();
        ended.store(true, Ordering::Relaxed);
        let peak = sampler.join().map_err(|_| "the memory sampler panicked")?;
        Ok((status?, peak))
    })
}

/// A process that runs beside the measurement; stopped when dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
    name: String,
}

impl Background {
    /// Starts `command`, with its output in `folder/NAME.out` and `.err`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command, name: &str, folder: &Path) -> Outcome<Self> {
        command
            .stdin(Stdio::null())
            .stdout(File::create(folder.join(format!("{name}.out")))?)
            .stderr(File::create(folder.join(format!("{name}.err")))?);
        let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        Ok(Self {
            child,
            name: name.to_owned(),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end (SIGTERM) and waits; after `patience` it is killed.
    ///
    /// # Errors
    /// When it had ended before, had to be killed, or ended with a failure.
    pub fn stop(mut self, patience: Duration) -> Outcome<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("{} ended too early: {status}", self.name).into());
        }
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let asked = Instant::now();
        while asked.elapsed() < patience {
            if let Some(status) = self.child.try_wait()? {
                return match status.success() {
                    true => Ok(()),
                    false => Err(format!("{}: {status}", self.name).into()),
                };
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("{} did not end within {patience:?}", self.name).into())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Both fail where it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_a_busy_child() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo done"]);
        let measured = measure(command, folder.path()).unwrap();
        assert_eq!(measured.stdout, "done\n");
        assert!(measured.cpu_seconds > 0.05, "{measured:?}");
        assert!(measured.wall_seconds >= measured.cpu_seconds * 0.9, "{measured:?}");
        assert!(measured.peak_rss_mib > 0.3, "{measured:?}");
    }

    #[test]
    fn a_failure_is_told_with_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo broken >&2; exit 3"]);
        let error = measure(command, folder.path()).unwrap_err().to_string();
        assert!(error.contains("broken") && error.contains('3'), "{error}");
    }
}

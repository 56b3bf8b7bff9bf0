//! Processes of the program under test.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::run::{describe, last_lines};
use crate::{Error, Output, Site, await_that, run, until};

/// Lines of the log that an error quotes.
const QUOTED_LINES: usize = 30;

/// How a node is started.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// `POINT:ACTION[:NTH]`, as the failpoints read it.
    pub failpoint: Option<String>,
    /// Name of a defence that is taken out.
    pub defence_off: Option<String>,
    /// Runs for ever, instead of until caught up.
    pub for_ever: bool,
    /// Further variables of its environment.
    pub environment: Vec<(String, String)>,
    /// Further arguments of `run`.
    pub arguments: Vec<String>,
}

/// A running `tapehouse run`. Killed when dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    name: String,
    stdout: PathBuf,
    stderr: PathBuf,
    fired: PathBuf,
    ended: Option<ExitStatus>,
}

impl Node {
    /// Starts node `name`. Its output goes to files of the site, which later starts of the same name continue.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(site: &Site, name: &str, options: &NodeOptions) -> Result<Self, Error> {
        let file = |ending: &str| site.folder().join(format!("{name}.{ending}"));
        let (stdout, stderr, fired) = (file("out"), file("log"), file("failpoint"));
        let mut command = site.tapehouse(name);
        command.args(["run", "-o", "json", "--log-level", "info,tapehouse_actors=debug"]);
        if !options.for_ever {
            command.arg("--until-caught-up");
        }
        command.args(&options.arguments).env("TAPEHOUSE_FAILPOINT_LOG", &fired);
        command.envs(options.environment.iter().map(|(name, value)| (name, value)));
        if let Some(failpoint) = &options.failpoint {
            command.env("TAPEHOUSE_FAILPOINT", failpoint);
        }
        if let Some(defence) = &options.defence_off {
            command.env("TAPEHOUSE_DEFENCE_OFF", defence);
        }
        let program = describe(&command);
        let failed = || Error::io(program.clone());
        let log = File::options().create(true).append(true).open(&stderr);
        command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).map_err(failed())?)
            .stderr(log.map_err(failed())?);
        let child = command.spawn().map_err(failed())?;
        Ok(Self {
            child,
            name: name.to_owned(),
            stdout,
            stderr,
            fired,
            ended: None,
        })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; to a process that has ended, nothing.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        if self.poll()?.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::unexpected("a pid out of range"))?;
        kill_process(pid, signal).map_err(|error| Error::unexpected(format!("signal to {}: {error}", self.name)))
    }

    /// Kills it with SIGKILL and waits for its end.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when it had ended by itself before: the kill hit nothing.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.signal(Signal::KILL)?;
        let status = self.wait(Duration::from_secs(10))?;
        match status.signal() {
            Some(signal) if signal == Signal::KILL.as_raw() => Ok(()),
            _ => Err(self.unexpected(&format!("it had ended by itself ({status}) before it was killed"))),
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn poll(&mut self) -> Result<Option<ExitStatus>, Error> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().map_err(Error::io("waiting for a node"))?;
        }
        Ok(self.ended)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Error::Late`], with the end of its log.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus, Error> {
        let what = format!("end of node {}", self.name);
        until(&what, patience, || self.poll()).map_err(|error| match error {
            Error::Late { .. } => self.unexpected(&format!("{what}: not within {patience:?}")),
            other => other,
        })
    }

    /// Waits for an end with exit code `code`.
    ///
    /// # Errors
    /// When it is late or another, with the end of its log.
    pub fn wait_for_code(&mut self, code: i32, patience: Duration) -> Result<(), Error> {
        let status = self.wait(patience)?;
        if status.code() == Some(code) {
            return Ok(());
        }
        Err(self.unexpected(&format!("it ended with {status} instead of code {code}")))
    }

    /// Waits until SIGKILL has ended it at its failpoint.
    ///
    /// # Errors
    /// When it ended otherwise, or the point did not fire.
    pub fn wait_for_death(&mut self, patience: Duration) -> Result<(), Error> {
        let status = self.wait(patience)?;
        if status.signal() != Some(Signal::KILL.as_raw()) || self.fired().is_empty() {
            return Err(self.unexpected(&format!(
                "its failpoint did not kill it: it ended with {status}, points fired: {:?}",
                self.fired()
            )));
        }
        Ok(())
    }

    /// Waits until it has stopped itself (SIGSTOP) at its failpoint.
    ///
    /// # Errors
    /// When it ends instead.
    pub fn wait_for_stop(&mut self, patience: Duration) -> Result<(), Error> {
        let stat = format!("/proc/{}/stat", self.child.id());
        await_that("a node that stops itself at its failpoint", patience, || {
            if let Some(status) = self.poll()? {
                return Err(self.unexpected(&format!("its failpoint did not stop it: it ended with {status}")));
            }
            // PID (NAME) STATE ...; T = stopped.
            let text = fs::read_to_string(&stat).unwrap_or_default();
            let state = text.rsplit(") ").next().and_then(|rest| rest.chars().next());
            Ok(state == Some('T') && !self.fired().is_empty())
        })
    }

    /// The failpoints that have fired, over all starts of this name.
    pub fn fired(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.fired).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What it printed as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<Value, Error> {
        let text = fs::read_to_string(&self.stdout).map_err(Error::io(self.stdout.display().to_string()))?;
        serde_json::from_str(&text).map_err(|error| self.unexpected(&format!("it printed no JSON: {error}: {text:?}")))
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        last_lines(&self.log(), QUOTED_LINES)
    }

    /// The answer, head and body, of its HTTP server to GET `path`.
    ///
    /// # Errors
    /// When it does not say where it listens, or does not answer.
    pub fn get(&self, path: &str) -> Result<String, Error> {
        let log = self.log();
        let address = log
            .rsplit(" http=")
            .next()
            .and_then(|rest| rest.split_whitespace().next());
        let address = address.ok_or_else(|| self.unexpected("its log names no HTTP address"))?;
        let failed = || Error::io(format!("GET {path} of {address}"));
        let mut stream = TcpStream::connect(address).map_err(failed())?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(failed())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(failed())?;
        Ok(answer)
    }

    /// Where its log is.
    pub fn log_path(&self) -> &Path {
        &self.stderr
    }

    /// Its metrics, as Prometheus reads them.
    ///
    /// # Errors
    /// When its HTTP does not answer.
    pub fn metrics(&self) -> Result<String, Error> {
        let log = self.log();
        let address = log
            .rsplit_once(" http=")
            .and_then(|(_, rest)| rest.split_whitespace().next());
        let address = address.ok_or_else(|| self.unexpected("it does not say where its HTTP is"))?;
        let failed = || Error::io("the node's metrics");
        let mut connection = TcpStream::connect(address).map_err(failed())?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).map_err(failed())?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).map_err(failed())?;
        Ok(answer)
    }

    fn unexpected(&self, what: &str) -> Error {
        Error::unexpected(format!("node {}: {what}\n{}", self.name, self.tail()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Site {
    /// Starts a node until caught up and waits for its success; returns what it printed.
    ///
    /// # Errors
    /// When it fails or takes longer.
    pub fn catch_up(&self, name: &str, patience: Duration) -> Result<Value, Error> {
        let mut node = Node::start(self, name, &NodeOptions::default())?;
        node.wait_for_code(0, patience)?;
        node.json()
    }

    /// Runs a command of the program under test to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn command(&self, arguments: &[&str]) -> Result<Output, Error> {
        let mut command = self.tapehouse("cli");
        command.args(arguments);
        run(command)
    }
}

//! Programs that run to their end: scripts and oracles.

use std::process::{Command, Stdio};

use crate::Error;

/// Exit code of a script that misses something on this machine.
const NEEDS: i32 = 77;
/// Lines of output that an error quotes.
const QUOTED_LINES: usize = 40;

/// What a program wrote and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    program: String,
}

impl Output {
    /// The output, if the exit code is one of `codes`.
    ///
    /// # Errors
    /// [`Error::Program`], with the end of what it wrote.
    pub fn expect(self, codes: &[i32]) -> Result<Self, Error> {
        match self.code {
            Some(code) if codes.contains(&code) => Ok(self),
            code => Err(Error::Program {
                status: code.map_or("a signal".to_owned(), |code| format!("code {code}")),
                output: last_lines(&format!("{}{}", self.stdout, self.stderr), QUOTED_LINES),
                program: self.program,
            }),
        }
    }

    /// The last line of standard output as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<serde_json::Value, Error> {
        // Pretty printed by the node, on one line by the oracles: the whole output is one value.
        serde_json::from_str(&self.stdout)
            .map_err(|error| Error::unexpected(format!("{}: no JSON: {error}: {:?}", self.program, self.stdout)))
    }
}

/// Runs `command` to its end.
///
/// # Errors
/// When it cannot be started; [`Error::Needs`] when it says that something is missing.
pub fn run(mut command: Command) -> Result<Output, Error> {
    let program = describe(&command);
    let done = command
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io(program.clone()))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let output = Output {
        code: done.status.code(),
        stdout: text(done.stdout),
        stderr: text(done.stderr),
        program,
    };
    if output.code == Some(NEEDS) {
        let said = output.stderr.lines().rev().find_map(|line| line.strip_prefix("needs "));
        return Err(Error::Needs(said.unwrap_or(&output.program).to_owned()));
    }
    Ok(output)
}

/// The program and its arguments, shortened to their last path components.
pub(crate) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let short = words.map(|word| {
        let word = word.to_string_lossy();
        word.rsplit('/').next().unwrap_or_default().to_owned()
    });
    short.collect::<Vec<_>>().join(" ")
}

/// The last `count` lines of `text`.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

//! How the process ends: exit codes and the failure that a command ends with.

use std::fmt;

use crate::config::ConfigError;

/// Exit codes, the same for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Failed.
    Failed = 1,
    /// Data is stale or a check failed.
    CheckFailed = 3,
    /// Kafka, the Schema Registry or the catalog cannot be reached.
    Unreachable = 4,
    /// The configuration cannot be used.
    Config = 78,
    /// Interrupted by a signal before it was done.
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends without success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// Stable code: one of [`tapehouse_core::codes`].
    pub code: &'static str,
    /// What happened, for people.
    pub message: String,
    /// What can be done about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a class of its own.
    pub fn failed(error: impl fmt::Display) -> Self {
        Self::with(Exit::Failed, error)
    }

    /// Something that cannot be reached.
    pub fn unreachable(error: impl fmt::Display) -> Self {
        Self::with(Exit::Unreachable, error)
    }

    /// A failure with this exit code. Its code is that of the exit's class until [`Self::code`] says more.
    pub fn with(exit: Exit, error: impl fmt::Display) -> Self {
        let code = match exit {
            Exit::Config => "config",
            Exit::Interrupted => "interrupted",
            _ => "internal",
        };
        Self {
            exit,
            code,
            message: error.to_string(),
            hint: None,
        }
    }

    /// Says which error it is.
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    /// Adds what can be done about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.code, self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        write!(f, "\n  more: tapehouse explain {}", self.code)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::with(Exit::Config, error)
    }
}

/// `error` with its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

//! Colour, where the reader wants it.

use std::io::IsTerminal;

/// Whether and how text is coloured. None with NO_COLOR, on a dumb terminal and where the stream is no terminal.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    enabled: bool,
}

impl Style {
    /// The style for stdout.
    pub fn of_stdout() -> Self {
        Self::of(std::io::stdout().is_terminal())
    }

    /// The style for stderr.
    pub fn of_stderr() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    fn of(is_terminal: bool) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            enabled: is_terminal && !no_color && !dumb,
        }
    }

    /// Whether colours are on.
    pub fn is_enabled(self) -> bool {
        self.enabled
    }

    /// Stands out.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Stands back.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Good.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Bad.
    pub fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// To be looked at.
    pub fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.enabled {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

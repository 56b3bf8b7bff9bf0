//! Live lines on a terminal, below the log lines.

use std::io::{self, IsTerminal as _};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

/// Redraws a second: enough for the eye, nothing for the CPU.
const DRAWS_PER_SECOND: u8 = 8;

/// A block of lines that is redrawn in place. Without a terminal nothing is drawn.
#[derive(Clone, Debug)]
pub struct Live {
    lines: MultiProgress,
    is_visible: bool,
}

impl Live {
    /// A block on stderr.
    pub fn on_stderr() -> Self {
        let is_visible = io::stderr().is_terminal();
        let target = if is_visible {
            ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            lines: MultiProgress::with_draw_target(target),
            is_visible,
        }
    }

    /// Whether anybody sees it.
    pub fn is_visible(&self) -> bool {
        self.is_visible
    }

    /// Adds a line at the bottom; its text is set by `set_message`.
    pub fn line(&self) -> ProgressBar {
        let bar = self.lines.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        bar
    }

    /// Removes the lines.
    pub fn clear(&self) {
        // Nothing can be told where stderr is gone.
        let _ = self.lines.clear();
    }

    /// Writes `text` and a newline to stderr, above the lines.
    pub fn note(&self, text: &str) {
        self.lines.suspend(|| super::note(text));
    }
}

/// Writes log lines above the live ones.
impl io::Write for &Live {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_visible {
            self.lines.suspend(|| io::stderr().lock().write(bytes))
        } else {
            io::stderr().lock().write(bytes)
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

impl<'a> MakeWriter<'a> for Live {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

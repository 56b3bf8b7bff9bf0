//! Log lines, always on stderr: stdout holds results only.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::MakeWriterExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::Style;
use crate::config::LogFormat;

/// Begins to log. `filter` has been checked by the configuration; only the first call has an effect.
pub fn init(format: LogFormat, filter: &str) {
    let filter = EnvFilter::builder().parse_lossy(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let writer = std::io::stderr.with_max_level(tracing::Level::TRACE);
    // An error means that logging has begun already, which is what was asked for.
    let _ = match format {
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_writer(writer);
            registry.with(layer).try_init()
        }
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal() && Style::of_stderr().is_enabled();
            let layer = tracing_subscriber::fmt::layer().with_ansi(ansi).with_writer(writer);
            registry.with(layer).try_init()
        }
    };
}

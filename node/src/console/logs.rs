//! Log lines, always on stderr: stdout holds results only.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{Live, Style};
use crate::config::LogFormat;

/// Begins to log. `filter` has been checked by the configuration; only the first call has an effect.
pub fn init(format: LogFormat, filter: &str) {
    init_above(Live::on_stderr(), format, filter);
}

/// Begins to log above live lines.
pub fn init_above(live: Live, format: LogFormat, filter: &str) {
    let registry = tracing_subscriber::registry().with(EnvFilter::builder().parse_lossy(filter));
    // An error means that logging has begun already, which is what was asked for.
    let _ = match format {
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_writer(live);
            registry.with(layer).try_init()
        }
        LogFormat::Text => {
            let ansi = Style::of_stderr().is_enabled();
            let layer = tracing_subscriber::fmt::layer().with_ansi(ansi).with_writer(live);
            registry.with(layer).try_init()
        }
    };
}

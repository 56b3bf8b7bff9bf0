//! One file a command.

use crate::config::Config;
use crate::console::logs;

pub mod completions;
pub mod config;
pub mod demo;
mod dry_run;
pub mod generate;
pub mod offsets;
pub mod run;
pub mod status;
pub mod tables;
pub mod verify;

/// Begins to log for a command that only reads: warnings and errors, unless the user asked for more.
fn quiet_logs(config: &Config) {
    let filter = if config.log_is_default {
        "warn"
    } else {
        &config.log_filter
    };
    logs::init(config.log_format, filter);
}

//! A node that starts while its catalog or warehouse is away waits for it.

use tapehouse_core::backoff::Backoff;
use tapehouse_lake::Lake;

use crate::config::Config;
use crate::connect::{lake_failure, lake_settings};
use crate::exit::{Exit, Failure};
use crate::signals::StopSignals;

/// Waits until the lake can be opened; `false` where a signal came first.
///
/// # Errors
/// What waiting does not heal.
pub async fn await_lake(config: &Config, signals: &mut StopSignals) -> Result<bool, Failure> {
    let settings = lake_settings(config)?;
    let mut failures = 0;
    loop {
        let failure = tokio::select! {
            opened = Lake::open(settings.clone()) => match opened {
                Ok(_) => return Ok(true),
                Err(error) => lake_failure(&error),
            },
            _ = signals.next() => return Ok(false),
        };
        if failure.exit != Exit::Unreachable {
            return Err(failure);
        }
        let delay = Backoff::INGEST.delay(failures, 0.5);
        failures += 1;
        let hint = failure.hint.unwrap_or_default();
        tracing::warn!(
            node = config.node,
            code = failure.code,
            error = failure.message,
            hint,
            failures,
            ?delay,
            "the lake cannot be opened yet: the node waits for it"
        );
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = signals.next() => return Ok(false),
        }
    }
}

//! Waiting for a state, never for a time: every wait has a deadline and says what it waits for.

use std::time::{Duration, Instant};

use crate::Error;

/// How often a state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Looks until `probe` gives something.
///
/// # Errors
/// [`Error::Late`] after `patience`; what `probe` fails with.
pub fn until<T>(
    what: &str,
    patience: Duration,
    mut probe: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let started = Instant::now();
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if started.elapsed() >= patience {
            return Err(Error::Late {
                what: what.to_owned(),
                after: patience,
            });
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Looks until `probe` is true.
///
/// # Errors
/// As [`until`].
pub fn await_that(what: &str, patience: Duration, mut probe: impl FnMut() -> Result<bool, Error>) -> Result<(), Error> {
    until(what, patience, || Ok(probe()?.then_some(())))
}

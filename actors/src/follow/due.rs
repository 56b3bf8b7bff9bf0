//! When touched days are computed.

use std::time::{Duration, Instant};

const HOUR_MS: i64 = 3_600_000;
/// So long after its end an hour is computed: its last trades are merged by then, when nothing is late.
const AFTER_THE_HOUR_MS: i64 = 5_000;

/// The time of the next computation: so long after the first touch, or when an hour ends, whichever comes first. Later touches do not
/// put it off.
#[derive(Debug)]
pub(super) struct Due {
    debounce: Duration,
    at: Option<Instant>,
}

impl Due {
    pub(super) fn new(debounce: Duration) -> Self {
        Self { debounce, at: None }
    }

    /// When it is; `None` while nothing is touched.
    pub(super) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// A day was touched `now`, at `now_ms` since 1970-01-01 UTC.
    pub(super) fn touched(&mut self, now: Instant, now_ms: i64) {
        if self.at.is_some() {
            return;
        }
        let since_hour_ms = (now_ms - AFTER_THE_HOUR_MS).rem_euclid(HOUR_MS);
        let to_hour = Duration::from_millis(u64::try_from(HOUR_MS - since_hour_ms).unwrap_or(0));
        self.at = Some(now + self.debounce.min(to_hour));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_touch_counts_and_the_end_of_the_hour() {
        let debounce = Duration::from_secs(60);
        let start = Instant::now();
        let mut due = Due::new(debounce);
        assert_eq!(due.at(), None);
        due.touched(start, 10 * HOUR_MS + 60_000);
        due.touched(start + Duration::from_secs(50), 10 * HOUR_MS + 110_000);
        assert_eq!(due.at(), Some(start + debounce));
        // 20 s before the hour's end: 5 s after it.
        let mut due = Due::new(debounce);
        due.touched(start, 11 * HOUR_MS - 20_000);
        assert_eq!(due.at(), Some(start + Duration::from_secs(25)));
        // 1 s after it: in 4 s, with what was late.
        let mut due = Due::new(debounce);
        due.touched(start, 11 * HOUR_MS + 1_000);
        assert_eq!(due.at(), Some(start + Duration::from_secs(4)));
    }
}

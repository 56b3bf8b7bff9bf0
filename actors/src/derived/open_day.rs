//! When the day that is not over is computed.

use std::time::{Duration, Instant};

/// The open day is computed for a part of the time at most: so long after it took a time to compute it, as many times as this.
const REST: u32 = 9;

/// The pace of the open day: it is computed again and again while it goes on, and costs more and more.
#[derive(Debug)]
pub(crate) struct OpenDay {
    debounce: Duration,
    not_before: Option<Instant>,
    waits: bool,
    ends_us: Option<i64>,
}

impl OpenDay {
    /// Computed no more often than every `debounce`.
    pub(crate) fn new(debounce: Duration) -> Self {
        Self {
            debounce,
            not_before: None,
            waits: false,
            ends_us: None,
        }
    }

    /// Whether it may be computed `now`.
    pub(crate) fn may_be_computed(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| now >= at)
    }

    /// It was computed, from `started` until `now`.
    pub(crate) fn computed(&mut self, started: Instant, now: Instant) {
        let took = now.saturating_duration_since(started);
        self.not_before = Some(now + self.debounce.max(took * REST));
    }

    /// Whether there is something to be computed of it that has to wait.
    pub(crate) fn waits(&mut self, waits: bool) {
        self.waits = waits;
    }

    /// When it is over, microseconds since 1970-01-01 UTC.
    pub(crate) fn ends_at(&mut self, ends_us: Option<i64>) {
        self.ends_us = ends_us;
    }

    /// Waits until there is something to do of it, as it is `now_us`; for ever where there is nothing.
    pub(crate) fn due(&self, now_us: i64) -> impl Future<Output = ()> + use<> {
        let wait = self.wait(Instant::now(), now_us);
        async move {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        }
    }

    fn wait(&self, now: Instant, now_us: i64) -> Option<Duration> {
        let paced = self.not_before.filter(|_| self.waits);
        let paced = paced.map(|at| at.saturating_duration_since(now));
        let ends = self
            .ends_us
            .map(|end_us| Duration::from_micros(u64::try_from(end_us - now_us).unwrap_or(0)));
        [paced, ends].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_paced_by_its_cost_and_never_forgotten() {
        let debounce = Duration::from_secs(10);
        let start = Instant::now();
        let mut day = OpenDay::new(debounce);
        assert!(day.may_be_computed(start) && day.wait(start, 0).is_none());
        let after = |seconds| start + Duration::from_secs(seconds);
        day.computed(start, start + Duration::from_millis(100));
        assert!(!day.may_be_computed(after(10)) && day.may_be_computed(after(11)));
        // Nothing has come since.
        assert_eq!(day.wait(after(1), 0), None);
        day.waits(true);
        assert_eq!(day.wait(after(1), 0), Some(Duration::from_millis(9_100)));
        // Two seconds of work in twenty.
        day.computed(start, after(2));
        assert_eq!(day.wait(after(2), 0), Some(Duration::from_secs(18)));
        day.ends_at(Some(5_000_000));
        assert_eq!(day.wait(after(2), 0), Some(Duration::from_secs(5)));
        assert_eq!(day.wait(after(2), 6_000_000), Some(Duration::ZERO));
    }
}

//! A token bucket by wall clock.

use std::time::{Duration, Instant};

/// Length of one slice: how evenly a rate is spread over a second.
const SLICE: Duration = Duration::from_millis(10);
/// Tokens of so much time are kept through a stall; what is beyond is lost, so that no burst follows a long one.
const BUCKET: Duration = Duration::from_secs(1);

/// Says how many records are due, in slices of 10 ms.
#[derive(Clone, Debug)]
pub struct Pacer {
    rate_per_s: f64,
    /// From when on tokens count; moves forward when a stall costs tokens.
    since: Instant,
    taken: u64,
    next_slice: Instant,
}

impl Pacer {
    /// A pacer that starts now. `rate_per_s` must be above 0.
    pub fn new(rate_per_s: f64, now: Instant) -> Self {
        Self {
            rate_per_s,
            since: now,
            taken: 0,
            next_slice: now + SLICE,
        }
    }

    /// When to ask next.
    pub fn next_slice(&self) -> Instant {
        self.next_slice
    }

    /// Records due at `now` and not taken before, at most `limit`, which are taken herewith. Where the limit leaves some,
    /// the next slice is now.
    pub fn take(&mut self, now: Instant, limit: u64) -> u64 {
        let due = self.due(now);
        let taken = due.min(limit);
        self.taken += taken;
        self.next_slice = if taken < due { now } else { now + SLICE };
        taken
    }

    fn due(&mut self, now: Instant) -> u64 {
        let earned = (now.saturating_duration_since(self.since).as_secs_f64() * self.rate_per_s) as u64;
        let due = earned.saturating_sub(self.taken);
        let most = (BUCKET.as_secs_f64() * self.rate_per_s).ceil() as u64;
        if due <= most {
            return due;
        }
        // The bucket overflows: counting starts anew, as if the bucket's time had just passed.
        self.since = now.checked_sub(BUCKET).unwrap_or(now);
        self.taken = 0;
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_spread_evenly_and_exactly() {
        let start = Instant::now();
        let mut pacer = Pacer::new(5_000.0, start);
        let slices: Vec<u64> = (1..=1_000)
            .map(|slice| pacer.take(start + SLICE * slice, u64::MAX))
            .collect();
        assert!(slices.iter().all(|due| (49..=51).contains(due)), "{slices:?}");
        let total: u64 = slices.iter().sum();
        assert!((49_999..=50_000).contains(&total), "{total}");
    }

    #[test]
    fn slow_rates_lose_nothing_between_slices() {
        let start = Instant::now();
        let mut pacer = Pacer::new(3.0, start);
        let total: u64 = (1..=1_001)
            .map(|slice| pacer.take(start + SLICE * slice, u64::MAX))
            .sum();
        assert_eq!(total, 30);
    }

    #[test]
    fn what_a_limit_leaves_is_due_at_once() {
        let start = Instant::now();
        let mut pacer = Pacer::new(1_000_000.0, start);
        let now = start + SLICE;
        assert_eq!((pacer.take(now, 6_000), pacer.next_slice()), (6_000, now));
        assert_eq!((pacer.take(now, 6_000), pacer.next_slice()), (4_000, now + SLICE));
    }

    #[test]
    fn a_long_stall_is_not_made_up_for() {
        let start = Instant::now();
        let mut pacer = Pacer::new(1_000.0, start);
        assert_eq!(
            pacer.take(start + Duration::from_millis(500), u64::MAX),
            500,
            "a short one is"
        );
        assert_eq!(pacer.take(start + Duration::from_secs(20), u64::MAX), 1_000);
        assert_eq!(pacer.take(start + Duration::from_millis(20_010), u64::MAX), 10);
    }
}

//! Retry delays: exponential, bounded, with jitter.

use std::time::Duration;

/// A retry policy. The delay before attempt `n` (0 = first retry) is `base * 2^n`, at most `max`, then scaled by jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Delay before the first retry.
    pub base: Duration,
    /// No delay is longer, jitter excepted.
    pub max: Duration,
    /// Jitter in percent: the delay is scaled by a factor from `1 - jitter` to `1 + jitter`.
    pub jitter_percent: u8,
}

impl Backoff {
    /// Ingest retries for ever, from 100 ms to 30 s.
    pub const INGEST: Self = Self {
        base: Duration::from_millis(100),
        max: Duration::from_secs(30),
        jitter_percent: 25,
    };

    /// Retries of a swap that lost a race or whose outcome is unknown.
    pub const COMMIT: Self = Self {
        base: Duration::from_millis(10),
        max: Duration::from_secs(2),
        jitter_percent: 50,
    };

    /// The delay before retry number `attempt`, counted from 0. `random` is uniform in 0..1 and gives the jitter, so that
    /// the function stays pure.
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        let doubled = self.base.saturating_mul(2u32.saturating_pow(attempt.min(30)));
        let bounded = doubled.min(self.max);
        let jitter = f64::from(self.jitter_percent) / 100.0;
        bounded.mul_f64(1.0 - jitter + 2.0 * jitter * random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_bound() {
        let delays: Vec<u128> = (0..12).map(|n| Backoff::INGEST.delay(n, 0.5).as_millis()).collect();
        assert_eq!(delays[..4], [100, 200, 400, 800]);
        assert_eq!(delays[11], 30_000);
        assert_eq!(Backoff::INGEST.delay(u32::MAX, 0.5).as_secs(), 30);
    }

    #[test]
    fn jitter_stays_within_its_percentage() {
        assert_eq!(Backoff::INGEST.delay(0, 0.0).as_millis(), 75);
        assert_eq!(Backoff::INGEST.delay(0, 1.0).as_millis(), 125);
    }
}

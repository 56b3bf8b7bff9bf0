//! How often what fails is tried again, and how much is computed at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::assets::AssetLayer;
use crate::backoff::Backoff;

/// Attempts after the first, at growing distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries: u32,
    /// The time before each of them.
    pub backoff: Backoff,
}

impl RetryPolicy {
    /// What is done when a run of this layer fails; `None`: of a table that is in no layer.
    pub fn of(layer: Option<AssetLayer>) -> Self {
        let (retries, first_s) = match layer {
            Some(AssetLayer::Silver) => (3, 60),
            Some(AssetLayer::Gold) => (2, 120),
            Some(AssetLayer::Bronze) | None => (2, 60),
        };
        Self {
            retries,
            backoff: Backoff {
                base: Duration::from_secs(first_s),
                max: Duration::MAX,
                jitter_percent: 25,
            },
        }
    }

    /// How long to wait after the `failed`th attempt, in microseconds; `jitter` is uniform in 0..1. `None` where it was the last one.
    pub fn delay_us(self, failed: u32, jitter: f64) -> Option<i64> {
        if failed > self.retries {
            return None;
        }
        let delay = self.backoff.delay(failed.saturating_sub(1), jitter);
        Some(i64::try_from(delay.as_micros()).unwrap_or(i64::MAX))
    }
}

/// Units of work at once. A unit is what one commit takes in: a day, or days that share a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Of all kinds.
    pub all: usize,
    /// That nothing live has asked for.
    pub backfill: usize,
    /// Of gold.
    pub gold: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            all: 5,
            backfill: 3,
            gold: 2,
        }
    }
}

//! How often what fails is tried again, and how much is computed at once.

use serde::{Deserialize, Serialize};

/// The layer of a table: what its failures are handled by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Deduplicated tables and those derived from them.
    Silver,
    /// Tables by trading day, and what they carry in `ops`.
    Gold,
    /// Everything else that is computed.
    Other,
}

impl Layer {
    /// The layer of a table, by its namespace.
    pub fn of(asset: &str) -> Self {
        match asset.split('.').next() {
            Some("silver") => Self::Silver,
            Some("gold") => Self::Gold,
            _ => Self::Other,
        }
    }

    /// What is done when a run fails.
    pub fn retries(self) -> RetryPolicy {
        match self {
            Self::Silver => RetryPolicy {
                retries: 3,
                first_s: 60,
            },
            Self::Gold => RetryPolicy {
                retries: 2,
                first_s: 120,
            },
            Self::Other => RetryPolicy {
                retries: 2,
                first_s: 60,
            },
        }
    }
}

/// Attempts after the first, at growing distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries: u32,
    /// Before the first of them, in seconds; before each further one twice the time.
    pub first_s: u32,
}

impl RetryPolicy {
    /// How long to wait after the `failed`th attempt, in microseconds: a quarter more or less than the policy's time, by `jitter` from 0 to
    /// 1. `None` where it was the last one.
    pub fn delay_us(self, failed: u32, jitter: f64) -> Option<i64> {
        if failed > self.retries {
            return None;
        }
        let doubled = i64::from(self.first_s) << failed.saturating_sub(1).min(10);
        let spread = 0.75 + jitter.clamp(0.0, 1.0) / 2.0;
        // Seconds of at most three digits times two to the tenth: exact in a double.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "small numbers"
        )]
        let delay = (doubled as f64 * spread * 1e6) as i64;
        Some(delay)
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

//! Records that are kept undecoded: counted each time, said once a minute and cause.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The same cause is logged again after so long.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What of a topic's undecodable records was not said yet, by code.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<HashMap<&'static str, Notice>>);

#[derive(Debug, Default)]
struct Notice {
    said_at: Option<Instant>,
    unsaid: u64,
}

impl Notices {
    /// Takes note of what a commit kept undecoded, and says what is due.
    pub(crate) fn committed(&self, topic: &str, table: &str, undecodable: &BTreeMap<&'static str, u64>) {
        for (code, records) in self.due(undecodable, Instant::now()) {
            tracing::warn!(
                topic,
                table,
                code,
                records,
                "records could not be decoded: their rows have decode_error and raw_value"
            );
        }
    }

    fn due(&self, undecodable: &BTreeMap<&'static str, u64>, now: Instant) -> Vec<(&'static str, u64)> {
        // Every change is complete in itself.
        let mut notices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        for (&code, records) in undecodable {
            let notice = notices.entry(code).or_default();
            notice.unsaid += records;
            if notice
                .said_at
                .is_none_or(|at| now.duration_since(at) >= SAY_AGAIN_AFTER)
            {
                due.push((code, std::mem::take(&mut notice.unsaid)));
                notice.said_at = Some(now);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_at_once_and_then_once_a_minute() {
        let (notices, start) = (Notices::default(), Instant::now());
        let at = |seconds: u64, counts: &[(&'static str, u64)]| {
            notices.due(&counts.iter().copied().collect(), start + Duration::from_secs(seconds))
        };
        assert_eq!(at(0, &[("truncated", 2)]), [("truncated", 2)]);
        assert_eq!(at(1, &[("truncated", 3), ("tombstone", 1)]), [("tombstone", 1)]);
        assert_eq!(at(59, &[("truncated", 4)]), []);
        assert_eq!(at(60, &[("truncated", 1)]), [("truncated", 8)]);
    }
}

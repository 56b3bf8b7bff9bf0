//! What a commit drops while it is at it: old snapshots and old tags.

use std::collections::HashSet;

use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention};

use crate::table::LoadedTable;

/// Prefix of the tags that keep one snapshot an hour.
pub const HOURLY_TAG_PREFIX: &str = "tapehouse-hourly-";
/// Above this size of the metadata file, snapshots are dropped whatever their age: every commit writes the file anew.
const MAX_METADATA_BYTES: u64 = 900_000;
/// So many snapshots are kept even then.
const MIN_SNAPSHOTS: usize = 20;
/// Snapshots dropped by one commit at most, so that a backlog does not make one commit slow.
const MAX_EXPIRED_AT_ONCE: usize = 64;
const HOUR_MS: i64 = 3_600_000;

/// Which snapshots a table keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A snapshot is kept for so long after it was replaced by the next, in milliseconds. Counted from then and not from its
    /// own time: a reader may have begun with it at the last moment.
    pub max_age_ms: i64,
    /// At most so many snapshots are kept, tagged ones not counted.
    pub max_snapshots: usize,
    /// Snapshots are dropped so many at a time.
    pub batch: usize,
    /// Hourly tags are kept for so long, in milliseconds; 0 = no tags.
    pub hourly_tag_age_ms: i64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_age_ms: 300_000,
            max_snapshots: 300,
            batch: 10,
            hourly_tag_age_ms: 7 * 24 * HOUR_MS,
        }
    }
}

/// What one commit drops and tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RetentionPlan {
    pub expire: Vec<i64>,
    pub drop_refs: Vec<String>,
    pub tag: Option<(String, SnapshotReference)>,
}

/// Plans what the commit of `snapshot_id` at `now_ms` on top of `base` drops. Only the oldest end is ever dropped, and
/// never a snapshot that a branch or tag names.
pub(super) fn plan(base: &LoadedTable, snapshot_id: i64, now_ms: i64, retention: &Retention) -> RetentionPlan {
    let mut plan = RetentionPlan {
        drop_refs: outdated_tags(base, now_ms, retention),
        tag: hourly_tag(base, snapshot_id, now_ms, retention),
        expire: Vec::new(),
    };
    let named: HashSet<i64> = base
        .refs()
        .iter()
        .filter(|(name, _)| !plan.drop_refs.contains(name))
        .map(|(_, reference)| reference.snapshot_id)
        .chain(base.metadata().current_snapshot_id())
        .collect();
    let snapshots = base.snapshots();
    // The current snapshot (named) stays in any case, so each candidate has a successor.
    let candidates: Vec<(i64, i64)> = snapshots
        .windows(2)
        .filter(|pair| !named.contains(&pair[0].snapshot_id()))
        .map(|pair| (pair[0].snapshot_id(), pair[1].timestamp_ms()))
        .collect();
    // Two more will remain: the current one and the one that is being committed.
    let remaining = candidates.len() + 2;
    let aged = candidates
        .iter()
        .take_while(|(_, replaced_ms)| *replaced_ms < now_ms.saturating_sub(retention.max_age_ms))
        .count();
    let oversized = base.metadata_bytes() > MAX_METADATA_BYTES && remaining > MIN_SNAPSHOTS;
    let beyond = remaining.saturating_sub(retention.max_snapshots);
    let count = if beyond > 0 || oversized {
        aged.max(beyond).max(retention.batch)
    } else if aged >= retention.batch {
        aged
    } else {
        0
    };
    plan.expire = candidates
        .iter()
        .take(count.min(MAX_EXPIRED_AT_ONCE))
        .map(|(id, _)| *id)
        .collect();
    plan
}

fn outdated_tags(base: &LoadedTable, now_ms: i64, retention: &Retention) -> Vec<String> {
    let tagged_ms = |reference: &SnapshotReference| {
        let snapshot = base.metadata().snapshot_by_id(reference.snapshot_id);
        snapshot.map_or(0, |snapshot| snapshot.timestamp_ms())
    };
    base.refs()
        .iter()
        .filter(|(name, reference)| name.starts_with(HOURLY_TAG_PREFIX) && !reference.is_branch())
        .filter(|(_, reference)| tagged_ms(reference) < now_ms.saturating_sub(retention.hourly_tag_age_ms))
        .map(|(name, _)| name.clone())
        .collect()
}

/// The first snapshot of each hour (UTC) is tagged.
fn hourly_tag(
    base: &LoadedTable,
    snapshot_id: i64,
    now_ms: i64,
    retention: &Retention,
) -> Option<(String, SnapshotReference)> {
    let name = format!("{HOURLY_TAG_PREFIX}{}", hour_name(now_ms));
    if retention.hourly_tag_age_ms == 0 || name == MAIN_BRANCH || base.refs().contains_key(&name) {
        return None;
    }
    let retention = SnapshotRetention::Tag {
        max_ref_age_ms: Some(retention.hourly_tag_age_ms),
    };
    Some((name, SnapshotReference::new(snapshot_id, retention)))
}

/// `YYYYMMDDTHH` of a time in milliseconds since 1970, UTC.
fn hour_name(time_ms: i64) -> String {
    let hours = time_ms.div_euclid(HOUR_MS);
    let (days, hour) = (hours.div_euclid(24), hours.rem_euclid(24));
    let (year, month, day) = civil_from_days(days);
    format!("{year:04}{month:02}{day:02}T{hour:02}")
}

/// Days since 1970-01-01 to (year, month, day) in the proleptic Gregorian calendar: Howard Hinnant, "chrono-compatible
/// low-level date algorithms", `civil_from_days`.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_named_in_utc() {
        assert_eq!(hour_name(0), "19700101T00");
        assert_eq!(hour_name(1_709_251_199_999), "20240229T23");
        assert_eq!(hour_name(1_709_251_200_000), "20240301T00");
        assert_eq!(hour_name(1_785_542_400_000), "20260801T00");
    }
}

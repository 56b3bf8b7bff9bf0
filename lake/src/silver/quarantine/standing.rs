//! Where each row that was set aside stands.

use std::collections::HashMap;

use serde_json::Value;
use tapehouse_core::quarantine::is_waivable;

use super::entry::{Decision, Entry, RecordId, Verdict};

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has decided.
    Open,
    /// Acknowledged: it stays out.
    Dropped,
    /// Its rule is waived.
    Replayed,
}

impl Standing {
    /// As people and programs see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Dropped => "dropped",
            Self::Replayed => "replayed",
        }
    }

    /// Whether `verdict` may be given now; else why not. Replay after drop is a change of mind. A replayed row is in silver, or was and
    /// has been replaced: what is there can only be replaced by a later record of its key.
    ///
    /// # Errors
    /// What people are told.
    pub fn permits(self, verdict: Verdict) -> Result<(), &'static str> {
        match (self, verdict) {
            (Self::Open, _) | (Self::Dropped, Verdict::Replay) => Ok(()),
            (Self::Dropped, Verdict::Drop) => Err("is dropped already"),
            (Self::Replayed, Verdict::Replay) => Err("is replayed already"),
            (Self::Replayed, Verdict::Drop) => {
                Err("is replayed, which is final: the row leaves silver only when a later record of its key comes")
            }
        }
    }
}

/// Says of each of `entries` where it stands after `decisions`.
pub fn standings(entries: &[Entry], decisions: &[Decision]) -> Vec<Standing> {
    let mut last: HashMap<(RecordId, &str), Standing> = HashMap::new();
    for decision in decisions {
        let standing = last
            .entry((decision.id, decision.rule.as_str()))
            .or_insert(Standing::Open);
        match decision.verdict {
            Verdict::Replay => *standing = Standing::Replayed,
            Verdict::Drop if *standing != Standing::Replayed => *standing = Standing::Dropped,
            Verdict::Drop => {}
        }
    }
    let of = |entry: &Entry| last.get(&(entry.id, entry.rule.as_str())).copied();
    entries
        .iter()
        .map(|entry| of(entry).unwrap_or(Standing::Open))
        .collect()
}

/// Why no valid row would be left if the rule of `entry` were waived at `now_us`, microseconds since 1970-01-01 UTC; `None`: one is. The
/// row's JSON must have been read.
pub fn refusal(entry: &Entry, now_us: i64) -> Option<String> {
    if !is_waivable(&entry.rule) {
        return Some(format!(
            "what rule {} has set aside is no valid row of {}",
            entry.rule,
            entry.id.table.name()
        ));
    }
    let row: Value = serde_json::from_str(&entry.row_json).unwrap_or_default();
    match entry.rule.as_str() {
        "unknown_side" if row["side"].is_null() => Some("it has no side".to_owned()),
        // A day that has not come has no partition in any layer above.
        "after_record" => {
            let time = row[entry.id.table.timestamp_column()].as_str().and_then(time_us);
            match time {
                Some(time) if time <= now_us => None,
                _ => Some("its own time has not come yet".to_owned()),
            }
        }
        _ => None,
    }
}

/// An instant in the form that rows have in JSON.
fn time_us(text: &str) -> Option<i64> {
    let array = arrow_array::StringArray::from(vec![text]);
    let cast = arrow_cast::cast(&array, &crate::bronze::timestamptz()).ok()?;
    let times = arrow_array::cast::AsArray::as_primitive_opt::<arrow_array::types::TimestampMicrosecondType>(&cast)?;
    times.iter().next().flatten()
}

#[cfg(test)]
mod tests {
    use super::super::RecordId;
    use super::*;
    use crate::silver::SilverTable;

    fn entry(rule: &str, row_json: &str) -> Entry {
        Entry {
            id: RecordId {
                table: SilverTable::Trades,
                coordinates: (0, 0, 7),
            },
            bronze_table: "bronze.raw_trades".to_owned(),
            rule: rule.to_owned(),
            rule_version: 1,
            reason: String::new(),
            row_json: row_json.to_owned(),
            after_decision: None,
        }
    }

    fn decision(number: u64, rule: &str, verdict: Verdict) -> Decision {
        Decision {
            number,
            id: entry(rule, "").id,
            bronze_table: String::new(),
            rule: rule.to_owned(),
            rule_version: 1,
            verdict,
            decided_at_us: 0,
            decided_by: String::new(),
            note: None,
        }
    }

    #[test]
    fn a_decision_is_about_one_rule_and_replay_is_final() {
        let entries = [entry("negative", "{}"), entry("unknown_side", "{}")];
        let replayed = decision(0, "negative", Verdict::Replay);
        assert_eq!(
            standings(&entries, std::slice::from_ref(&replayed)),
            [Standing::Replayed, Standing::Open]
        );
        let dropped = decision(1, "unknown_side", Verdict::Drop);
        assert_eq!(
            standings(&entries, &[replayed, dropped]),
            [Standing::Replayed, Standing::Dropped]
        );
        assert!(Standing::Replayed.permits(Verdict::Drop).is_err());
        assert!(Standing::Replayed.permits(Verdict::Replay).is_err());
        assert!(Standing::Dropped.permits(Verdict::Drop).is_err());
        assert!(Standing::Dropped.permits(Verdict::Replay).is_ok());
    }

    #[test]
    fn what_leaves_no_valid_row_is_refused() {
        for rule in [
            "null_timestamp",
            "before_first_date",
            "not_finite",
            "null_symbol",
            "null_price",
        ] {
            assert!(refusal(&entry(rule, "{}"), 0).is_some(), "{rule}");
        }
        assert_eq!(refusal(&entry("negative", "{}"), 0), None);
        assert!(refusal(&entry("unknown_side", r#"{"side":null}"#), 0).is_some());
        assert_eq!(refusal(&entry("unknown_side", r#"{"side":"hold"}"#), 0), None);
        let after = entry("after_record", r#"{"trade_timestamp":"2026-01-05T15:00:00Z"}"#);
        assert_eq!(refusal(&after, 1_767_625_200_000_000), None);
        assert!(refusal(&after, 1_767_625_199_999_999).is_some());
    }
}

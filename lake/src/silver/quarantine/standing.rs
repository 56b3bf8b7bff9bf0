//! Where each row that was set aside stands.

use std::collections::HashMap;

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

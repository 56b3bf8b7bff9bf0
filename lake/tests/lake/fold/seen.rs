//! What has happened in a run: a step that never came tests nothing.

use std::collections::BTreeMap;

/// How often it happened.
#[derive(Debug, Default)]
pub struct Seen(BTreeMap<&'static str, usize>);

impl Seen {
    pub fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    pub fn is_complete(&self) -> bool {
        let all = [
            "chunk",
            "outdated",
            "crash before silver",
            "crash after silver",
            "replayed range",
            "index lost",
            "decided",
            "applied",
            "compacted",
            "late deletes",
            "rebuilt",
            "checked",
        ];
        all.iter().all(|what| self.0.contains_key(what))
    }
}

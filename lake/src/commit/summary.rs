//! Totals in a snapshot's summary, as other engines write them.

use std::collections::HashMap;

use crate::table::LoadedTable;

/// (total, what is added to it, what is taken from it).
const TOTALS: [(&str, &str, &str); 6] = [
    ("total-data-files", "added-data-files", "deleted-data-files"),
    ("total-delete-files", "added-delete-files", "removed-delete-files"),
    ("total-records", "added-records", "deleted-records"),
    ("total-files-size", "added-files-size", "removed-files-size"),
    (
        "total-position-deletes",
        "added-position-deletes",
        "removed-position-deletes",
    ),
    (
        "total-equality-deletes",
        "added-equality-deletes",
        "removed-equality-deletes",
    ),
];

/// `added` (what this commit adds and removes) with the totals after it. A total that the parent does not have is not
/// invented: from there on it would be wrong.
pub(super) fn with_totals(base: &LoadedTable, mut added: HashMap<String, String>) -> HashMap<String, String> {
    let number = |map: &HashMap<String, String>, key: &str| map.get(key).and_then(|text| text.parse::<i64>().ok());
    let parent = base
        .metadata()
        .current_snapshot()
        .map(|snapshot| &snapshot.summary().additional_properties);
    for (total, plus, minus) in TOTALS {
        let before = match parent {
            None => Some(0),
            Some(summary) => number(summary, total),
        };
        if let Some(before) = before {
            let after = before + number(&added, plus).unwrap_or(0) - number(&added, minus).unwrap_or(0);
            added.insert(total.to_owned(), after.to_string());
        }
    }
    added
}

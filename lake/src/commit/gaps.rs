//! Offsets that were gone from Kafka before they were read, and that an operator has accepted as lost.

use std::collections::BTreeMap;

use tapehouse_core::offsets::{OffsetRange, PartitionId, Ranges};

use crate::table::LoadedTable;

/// Table property with all accepted gaps: JSON `{"INCARNATION":{"PARTITION":[[START,END],...]}}`.
pub const GAPS_PROPERTY: &str = "tapehouse.gaps";
/// Gaps that one table may have; each was accepted by a person.
const MAX_GAPS: usize = 10_000;

/// Accepted gaps by incarnation and partition, ordered and apart.
pub type Gaps = BTreeMap<i32, BTreeMap<PartitionId, Vec<OffsetRange>>>;

/// The gaps that the table records.
///
/// # Errors
/// When the property is there and cannot be read.
pub fn recorded_gaps(table: &LoadedTable) -> Result<Gaps, serde_json::Error> {
    match table.metadata().properties().get(GAPS_PROPERTY) {
        Some(text) => serde_json::from_str(text),
        None => Ok(Gaps::new()),
    }
}

/// Adds `gaps` of one incarnation; those that touch become one.
pub(super) fn add(all: &mut Gaps, incarnation: i32, gaps: &Ranges) -> Result<(), String> {
    let partitions = all.entry(incarnation).or_default();
    for (partition, gap) in &gaps.0 {
        let known = partitions.entry(*partition).or_default();
        known.push(*gap);
        known.sort_unstable_by_key(|gap| gap.start);
        let mut merged: Vec<OffsetRange> = Vec::with_capacity(known.len());
        for gap in known.drain(..) {
            match merged.last_mut() {
                Some(last) if gap.start <= last.end => last.end = last.end.max(gap.end),
                _ => merged.push(gap),
            }
        }
        *known = merged;
    }
    let count: usize = all.values().flat_map(BTreeMap::values).map(Vec::len).sum();
    if count > MAX_GAPS {
        return Err(format!(
            "it has {MAX_GAPS} accepted gaps already: ingest the topic into a new table"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_that_touch_become_one() {
        let mut all = Gaps::new();
        let gap = |start, end| Ranges([(0, OffsetRange::new(start, end))].into());
        for (start, end) in [(10, 20), (30, 40), (20, 25), (10, 20)] {
            add(&mut all, 1, &gap(start, end)).unwrap();
        }
        assert_eq!(all[&1][&0], [OffsetRange::new(10, 25), OffsetRange::new(30, 40)]);
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(text, r#"{"1":{"0":[[10,25],[30,40]]}}"#);
    }
}

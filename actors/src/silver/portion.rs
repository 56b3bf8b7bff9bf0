//! What of bronze one commit of silver is made from.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array as _, BooleanArray, RecordBatch};
use arrow_schema::ArrowError;
use arrow_select::filter::filter_record_batch;
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_core::quarantine::Outcome;
use tapehouse_lake::silver::clean::Coordinates;
use tapehouse_lake::silver::quarantine::{Decision, Verdict};

/// Decisions applied in one commit at most: with their rows, what bounds its memory.
const MAX_DECISIONS: u64 = 20_000;
/// Records of a partition that lie nearer than this are read in one go.
const NEAR_OFFSETS: i64 = 20_000;

/// Ranges of offsets, or records that were decided about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Portion {
    /// Ranges that the commit covers.
    pub(crate) ranges: BTreeMap<i32, Ranges>,
    /// Decisions that it covers.
    pub(crate) decisions: Range<u64>,
    /// Records that are replayed, with the last decision about each; of ranges none.
    replayed: HashMap<Coordinates, u64>,
}

impl Portion {
    /// All rows of these ranges.
    pub(crate) fn of_ranges(ranges: BTreeMap<i32, Ranges>) -> Self {
        Self {
            ranges,
            ..Self::default()
        }
    }

    /// The rows about which was decided from number `first` on; `None` where nothing was.
    pub(crate) fn of_decisions(all: &[Decision], first: u64) -> Option<Self> {
        let end = first + MAX_DECISIONS;
        let taken = all.iter().filter(|decision| (first..end).contains(&decision.number));
        let mut portion = Self {
            decisions: first..first,
            ..Self::default()
        };
        for decision in taken {
            portion.decisions.end = portion.decisions.end.max(decision.number + 1);
            if decision.verdict == Verdict::Replay {
                portion.replayed.insert(decision.id.coordinates, decision.number);
            }
        }
        (!portion.decisions.is_empty()).then_some(portion)
    }

    /// Of what quarantined rows are the outcome.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.decisions.is_empty() {
            true => Outcome::Ranges(self.ranges.clone()),
            false => Outcome::Decisions(self.decisions.end),
        }
    }

    /// The last decision of this portion about the record.
    pub(crate) fn decision_about(&self, coordinates: Coordinates) -> Option<u64> {
        self.replayed.get(&coordinates).copied()
    }

    /// The ranges to be read, one set after the other: of a partition one can be asked for at a time.
    pub(crate) fn reads(&self) -> Vec<BTreeMap<i32, Ranges>> {
        if self.decisions.is_empty() {
            return vec![self.ranges.clone()];
        }
        let mut records: Vec<Coordinates> = self.replayed.keys().copied().collect();
        records.sort_unstable();
        let mut spans: BTreeMap<(i32, i32), Vec<OffsetRange>> = BTreeMap::new();
        for (incarnation, partition, offset) in records {
            let of_partition = spans.entry((incarnation, partition)).or_default();
            match of_partition.last_mut() {
                Some(last) if offset - last.end < NEAR_OFFSETS => last.end = offset + 1,
                _ => of_partition.push(OffsetRange::new(offset, offset + 1)),
            }
        }
        let mut reads: Vec<BTreeMap<i32, Ranges>> = Vec::new();
        for ((incarnation, partition), spans) in spans {
            for (turn, span) in spans.into_iter().enumerate() {
                if reads.len() <= turn {
                    reads.push(BTreeMap::new());
                }
                let ranges = reads[turn].entry(incarnation).or_default();
                ranges.0.insert(partition, span);
            }
        }
        reads
    }

    /// Of rows that were read those that are meant.
    pub(crate) fn select(&self, rows: RecordBatch) -> Result<RecordBatch, ArrowError> {
        if self.decisions.is_empty() {
            return Ok(rows);
        }
        let typed = |name: &str| ArrowError::SchemaError(format!("column {name} is missing or has another type"));
        let column = |name: &'static str| rows.column_by_name(name).ok_or_else(|| typed(name));
        let int = |name| column(name)?.as_primitive_opt::<Int32Type>().ok_or_else(|| typed(name));
        let (incarnations, partitions) = (int("topic_incarnation")?, int("kafka_partition")?);
        let offsets = column("kafka_offset")?;
        let offsets = offsets
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(|| typed("kafka_offset"))?;
        let is_meant = |row: usize| {
            incarnations.is_valid(row) && partitions.is_valid(row) && offsets.is_valid(row) && {
                let record = (incarnations.value(row), partitions.value(row), offsets.value(row));
                self.replayed.contains_key(&record)
            }
        };
        let mask: BooleanArray = (0..rows.num_rows()).map(|row| Some(is_meant(row))).collect();
        filter_record_batch(&rows, &mask)
    }
}

#[cfg(test)]
mod tests {
    use tapehouse_lake::silver::SilverTable;
    use tapehouse_lake::silver::quarantine::RecordId;

    use super::*;

    fn decision(number: u64, coordinates: Coordinates, verdict: Verdict) -> Decision {
        Decision {
            number,
            id: RecordId {
                table: SilverTable::Trades,
                coordinates,
            },
            bronze_table: String::new(),
            rule: "negative".to_owned(),
            rule_version: 1,
            verdict,
            decided_at_us: 0,
            decided_by: String::new(),
            note: None,
        }
    }

    #[test]
    fn every_replayed_record_is_read_once_and_far_ones_apart() {
        let all = [
            decision(0, (0, 0, 1), Verdict::Replay),
            decision(1, (0, 0, 50_000), Verdict::Replay),
            decision(2, (0, 0, 50_007), Verdict::Replay),
            decision(3, (0, 1, 9), Verdict::Drop),
            decision(4, (1, 0, 3), Verdict::Replay),
            decision(5, (0, 0, 1), Verdict::Replay),
        ];
        let portion = Portion::of_decisions(&all, 0).unwrap();
        assert_eq!(
            (portion.decisions.clone(), portion.decision_about((0, 0, 1))),
            (0..6, Some(5))
        );
        let range = |start, end| Ranges([(0, OffsetRange::new(start, end))].into());
        let expected: [BTreeMap<i32, Ranges>; 2] = [
            [(0, range(1, 2)), (1, range(3, 4))].into(),
            [(0, range(50_000, 50_008))].into(),
        ];
        assert_eq!(portion.reads(), expected);
        let rest = Portion::of_decisions(&all, 3).unwrap();
        assert_eq!(
            (rest.decisions.clone(), rest.decision_about((0, 0, 50_000))),
            (3..6, None)
        );
        assert!(Portion::of_decisions(&all, 6).is_none());
        // A drop alone is applied too: nothing is read for it.
        let dropped = Portion::of_decisions(&all[..4], 3).unwrap();
        assert!(dropped.reads().is_empty() && dropped.decisions == (3..4));
    }
}

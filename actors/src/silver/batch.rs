//! The cleaned rows of one merge, and what is said of them.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array as _, RecordBatch};
use tapehouse_core::freshness::ProducedAt;
use tapehouse_lake::silver::clean::{Cleaned, RULES_VERSION};
use tapehouse_lake::silver::merge::{KeyedRows, Plan};
use tapehouse_lake::silver::quarantine::Entry;

use super::progress::SilverRows;
use crate::supervisor::Shared;

/// What a rule has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    Dropped,
    Quarantined,
    Defaulted,
}

impl Action {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Quarantined => "quarantined",
            Self::Defaulted => "defaulted",
        }
    }
}

/// Rows of one merge.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    cleaned: Vec<Cleaned>,
    entries: Vec<Entry>,
    produced_at: ProducedAt,
    input: u64,
    rules: BTreeMap<(Action, &'static str), u64>,
}

impl Batch {
    /// Notes when these rows of bronze were produced.
    pub(crate) fn seen(&mut self, bronze: &RecordBatch) {
        let column = bronze.column_by_name("kafka_timestamp");
        let Some(times) = column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>()) else {
            return;
        };
        // Records come in runs of one millisecond: counted a run at a time.
        let (mut last, mut records) = (None, 0);
        for row in (0..times.len()).filter(|row| times.is_valid(*row)) {
            let time_ms = times.value(row).div_euclid(1000);
            if last != Some(time_ms) {
                if let Some(last) = last {
                    self.produced_at.add(last, records);
                }
                (last, records) = (Some(time_ms), 0);
            }
            records += 1;
        }
        if let Some(last) = last {
            self.produced_at.add(last, records);
        }
    }

    /// Adds cleaned rows, and of those set aside what is to be recorded.
    pub(crate) fn add(&mut self, cleaned: Cleaned, entries: Vec<Entry>) {
        self.entries.extend(entries);
        let counts = &cleaned.counts;
        self.input += counts.input;
        let by_action = [
            (Action::Dropped, &counts.dropped),
            (Action::Quarantined, &counts.quarantined),
            (Action::Defaulted, &counts.defaulted),
        ];
        for (action, counts) in by_action {
            for (rule, count) in counts {
                *self.rules.entry((action, *rule)).or_default() += count;
            }
        }
        self.cleaned.push(cleaned);
    }

    /// The rows set aside, which are not kept here any more.
    pub(crate) fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    /// The rows that stay.
    pub(crate) fn keyed(&self) -> impl Iterator<Item = KeyedRows<'_>> {
        self.cleaned.iter().map(|cleaned| KeyedRows {
            rows: &cleaned.rows,
            keys: &cleaned.keys,
            orders: &cleaned.orders,
        })
    }

    pub(crate) fn produced_at(&self) -> &ProducedAt {
        &self.produced_at
    }

    /// How often each rule was applied.
    pub(crate) fn rules(&self) -> &BTreeMap<(Action, &'static str), u64> {
        &self.rules
    }

    fn by(&self, action: Action) -> u64 {
        let of_action = self.rules.iter().filter(|((of, _), _)| *of == action);
        of_action.map(|(_, count)| count).sum()
    }

    /// What became of the rows.
    pub(crate) fn rows(&self, plan: &Plan) -> SilverRows {
        SilverRows {
            input: self.input,
            written: plan.written,
            deduplicated: plan.deduplicated,
            dropped: self.by(Action::Dropped),
            quarantined: self.by(Action::Quarantined),
        }
    }

    /// What the commit's summary says of the rows.
    pub(crate) fn summary(&self, rows: &SilverRows, shared: &Shared) -> BTreeMap<String, String> {
        let mut summary = summary_of(shared);
        summary.extend([
            ("tapehouse.input".to_owned(), rows.input.to_string()),
            ("tapehouse.written".to_owned(), rows.written.to_string()),
            ("tapehouse.deduplicated".to_owned(), rows.deduplicated.to_string()),
            ("tapehouse.rules-version".to_owned(), RULES_VERSION.to_string()),
        ]);
        for ((action, rule), count) in &self.rules {
            summary.insert(format!("tapehouse.{}.{rule}", action.label()), count.to_string());
        }
        summary
    }
}

/// What every commit's summary says: who made it.
pub(crate) fn summary_of(shared: &Shared) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("tapehouse.run-id".to_owned(), shared.run_id.to_string()),
        ("tapehouse.node".to_owned(), shared.settings.node.clone()),
    ])
}

//! Decisions to take rows in although a rule has set them aside.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array as _, Int32Array, Int64Array};
use tapehouse_core::quarantine::is_waivable;

/// Incarnation, partition and offset of a record.
pub type Coordinates = (i32, i32, i64);

/// Which rules are waived for which records. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waivers {
    rules: Arc<HashMap<Coordinates, Vec<String>>>,
    known: u64,
}

impl Waivers {
    /// Nothing is waived.
    pub fn none() -> Self {
        Self::default()
    }

    /// These rules are waived, by all decisions below number `known`.
    pub fn new(waived: impl IntoIterator<Item = (Coordinates, String)>, known: u64) -> Self {
        let mut rules: HashMap<Coordinates, Vec<String>> = HashMap::new();
        for (coordinates, rule) in waived {
            rules.entry(coordinates).or_default().push(rule);
        }
        Self {
            rules: rules.into(),
            known,
        }
    }

    /// Number of the first decision that is not known here.
    pub fn known(&self) -> u64 {
        self.known
    }

    /// The waived rules of each record.
    pub fn iter(&self) -> impl Iterator<Item = (Coordinates, &[String])> {
        self.rules
            .iter()
            .map(|(coordinates, rules)| (*coordinates, rules.as_slice()))
    }

    /// Whether `rule` is waived for the record. What no decision can waive is not.
    pub fn waives(&self, coordinates: Coordinates, rule: &str) -> bool {
        let rules = self.rules.get(&coordinates);
        rules.is_some_and(|rules| is_waivable(rule) && rules.iter().any(|waived| waived == rule))
    }
}

/// The waivers of a batch's rows.
pub(super) struct Waived {
    waivers: Waivers,
    incarnation: Int32Array,
    partition: Int32Array,
    offset: Int64Array,
}

impl Waived {
    pub(super) fn new(
        waivers: &Waivers,
        incarnation: &Int32Array,
        partition: &Int32Array,
        offset: &Int64Array,
    ) -> Self {
        Self {
            waivers: waivers.clone(),
            incarnation: incarnation.clone(),
            partition: partition.clone(),
            offset: offset.clone(),
        }
    }

    /// Whether the rule is waived for the row. Asked only where a rule has found something.
    pub(super) fn of(&self, row: usize, rule: &str) -> bool {
        if self.waivers.rules.is_empty()
            || self.incarnation.is_null(row)
            || self.partition.is_null(row)
            || self.offset.is_null(row)
        {
            return false;
        }
        let coordinates = (
            self.incarnation.value(row),
            self.partition.value(row),
            self.offset.value(row),
        );
        self.waivers.waives(coordinates, rule)
    }
}

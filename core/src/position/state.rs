//! The carried form of a position: what `serde` writes, and its fingerprint.

use std::collections::VecDeque;

use super::{Lot, Position};
use crate::fingerprint::Fingerprint;

/// A position as it is written. Money is text: it is wider than the numbers of most readers of JSON.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// Signed, 10^-8.
    net: i64,
    /// 10^-16.
    cost: String,
    /// Oldest first: microseconds since 1970-01-01 UTC, quantity in 10^-8.
    lots: Vec<(i64, i64)>,
}

impl From<Position> for State {
    fn from(position: Position) -> Self {
        Self {
            net: position.net,
            cost: position.cost.to_string(),
            lots: position.lots.iter().map(|lot| (lot.opened_us, lot.quantity)).collect(),
        }
    }
}

impl TryFrom<State> for Position {
    type Error = &'static str;

    fn try_from(state: State) -> Result<Self, &'static str> {
        let cost: i128 = state.cost.parse().map_err(|_| "the cost of a position is no number")?;
        let held = i128::from(state.net).abs();
        let lots: VecDeque<Lot> = state
            .lots
            .into_iter()
            .map(|(opened_us, quantity)| Lot { opened_us, quantity })
            .collect();
        if state.net == i64::MIN || lots.iter().any(|lot| lot.quantity <= 0) {
            return Err("a quantity of a position is out of range");
        }
        if lots.iter().map(|lot| i128::from(lot.quantity)).sum::<i128>() != held {
            return Err("the lots of a position are not what it holds");
        }
        if !lots.iter().is_sorted_by(|a, b| a.opened_us < b.opened_us) {
            return Err("the lots of a position are not in their order");
        }
        // An average of prices is within what a price can be.
        if cost.unsigned_abs() > held.unsigned_abs() << 63 {
            return Err("the cost of a position is out of range");
        }
        Ok(Self {
            net: state.net,
            cost,
            lots,
        })
    }
}

impl Position {
    /// A fingerprint of all that is carried: equal where all later days are equal.
    pub fn hash(&self) -> Fingerprint {
        let hash = Fingerprint::EMPTY.with_text("position");
        let hash = hash.with_number(i128::from(self.net)).with_number(self.cost);
        self.lots.iter().fold(hash, |hash, lot| {
            hash.with_number(i128::from(lot.opened_us))
                .with_number(i128::from(lot.quantity))
        })
    }
}

//! All that one trader holds.

use std::collections::BTreeMap;

use super::{Fill, Performance, PerformanceFold, Position, PositionError};
use crate::fingerprint::Fingerprint;

/// A fill with all that puts it in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolFill<'a> {
    /// Symbol.
    pub symbol: &'a str,
    /// When its latest version was made, microseconds since 1970-01-01 UTC.
    pub event_us: i64,
    /// Its key.
    pub trade_id: &'a str,
    /// Quantity, price and time.
    pub fill: Fill,
}

impl<'a> SymbolFill<'a> {
    fn order(&self) -> (i64, i64, &'a str) {
        (self.fill.trade_us, self.event_us, self.trade_id)
    }
}

/// Fills of one trader in their order, each once.
#[derive(Clone, Copy, Debug)]
pub struct Fills<'f>(&'f [SymbolFill<'f>]);

impl<'f> Fills<'f> {
    /// Looks whether they are in the order of (trade_timestamp, event_timestamp, trade_id), strictly.
    ///
    /// # Errors
    /// When they are not.
    pub fn in_order(fills: &'f [SymbolFill<'_>]) -> Result<Self, PositionError> {
        match fills.iter().is_sorted_by(|a, b| a.order() < b.order()) {
            true => Ok(Self(fills)),
            false => Err(PositionError::Order),
        }
    }

    /// Puts them in order first.
    ///
    /// # Errors
    /// When one is there twice.
    pub fn sort(fills: &'f mut [SymbolFill<'_>]) -> Result<Self, PositionError> {
        fills.sort_unstable_by_key(SymbolFill::order);
        Self::in_order(fills)
    }
}

/// One trader's positions by symbol, none of them flat.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Book(BTreeMap<String, Position>);

impl Book {
    /// Takes in one day's fills; the trader's figures, `None` without fills.
    ///
    /// # Errors
    /// Numbers that overflow, fills of before what was taken in: the book is then as after the fill before, and of no use.
    pub fn day(&mut self, fills: Fills<'_>) -> Result<Option<Performance>, PositionError> {
        let mut performance = PerformanceFold::default();
        for SymbolFill { symbol, fill, .. } in fills.0 {
            let close = match self.0.get_mut(*symbol) {
                Some(position) => position.apply(fill)?,
                None => self.0.entry((*symbol).to_owned()).or_default().apply(fill)?,
            };
            performance.add(fill.quantity, close.as_ref())?;
        }
        // Only now: within a day a symbol may go through flat many times.
        self.0.retain(|_, position| !position.is_flat());
        Ok(performance.finish())
    }

    /// The positions, ascending by symbol.
    pub fn positions(&self) -> impl Iterator<Item = (&str, &Position)> {
        self.0.iter().map(|(symbol, position)| (symbol.as_str(), position))
    }

    /// The position of one symbol; `None` where it is flat.
    pub fn position(&self, symbol: &str) -> Option<&Position> {
        self.0.get(symbol)
    }

    /// Puts back what was carried; nothing where it is flat.
    pub fn restore(&mut self, symbol: String, position: Position) {
        if !position.is_flat() {
            self.0.insert(symbol, position);
        }
    }

    /// A fingerprint of all that is carried.
    pub fn hash(&self) -> Fingerprint {
        self.0
            .iter()
            .fold(Fingerprint::EMPTY.with_text("book"), |hash, (symbol, position)| {
                hash.with_text(symbol).with_text(&position.hash().to_string())
            })
    }
}

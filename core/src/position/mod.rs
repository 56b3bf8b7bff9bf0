//! Positions: average cost, realized profit and holding time of one trader's fills.
//!
//! Quantities and prices are whole numbers of 10^-8, money is whole numbers of 10^-16: a product of the two is exact. A position keeps
//! what it has cost in all, never the average itself, so opening is exact too. One thing is rounded: the share of the cost that a
//! partial close takes out, half to even, to 10^-16. What it takes out is what the profit is reckoned against, so no money is lost:
//! realized + unrealized = cash + inventory at the mark, to the last digit, over any number of fills. Selling out takes out all.
//!
//! Nothing wraps: [`PositionError`] says what was too large.

mod book;
mod decimal;
mod performance;
mod state;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use self::book::{Book, Fills, SymbolFill};
pub use self::decimal::{Money, Price, Quantity};
pub use self::performance::{Performance, PerformanceFold};
use self::state::State;

/// A fill that cannot be reckoned with; nothing was changed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    /// A price or quantity that is not a number, or beyond 92,233,720,368.
    #[error("a {0} is not a number or beyond 92,233,720,368")]
    Number(&'static str),
    /// A position of more than 92,233,720,368, or money of more than 1.7 * 10^22.
    #[error("{0} overflows")]
    Overflow(&'static str),
    /// Fills that are not in their order.
    #[error("fills are not in the order of trade_timestamp, event_timestamp, trade_id")]
    Order,
}

/// One fill of one symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// When it was traded, microseconds since 1970-01-01 UTC.
    pub trade_us: i64,
    /// Positive bought, negative sold; zero changes nothing.
    pub quantity: Quantity,
    /// Price.
    pub price: Price,
}

/// What a fill closed of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// How much of it, positive.
    pub quantity: Quantity,
    /// Realized profit: quantity * (price - average cost) * the position's sign.
    pub pnl: Money,
    /// Sum over the closed lots, oldest first, of quantity (10^-8) * time held (microseconds).
    pub held: i128,
}

/// Part of a position that was opened at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lot {
    opened_us: i64,
    /// 10^-8, positive.
    quantity: i64,
}

/// What one trader holds of one symbol, with all that the next day needs. Serializable; see [`Self::hash`].
///
/// It has a lot for each instant at which something was opened that is not closed yet: as many as the fills since it was last flat.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "State", into = "State")]
pub struct Position {
    /// Signed, 10^-8.
    net: i64,
    /// |net| * average cost, 10^-16. Zero where net is.
    cost: i128,
    /// Oldest first; together |net|.
    lots: VecDeque<Lot>,
}

impl Position {
    /// Positive long, negative short.
    pub fn net_quantity(&self) -> Quantity {
        Quantity::from_units(self.net)
    }

    /// Whether nothing is held.
    pub fn is_flat(&self) -> bool {
        self.net == 0
    }

    /// Average cost of one; `None` where nothing is held. Within 2 units of the last place of the exact quotient.
    pub fn avg_entry_price(&self) -> Option<f64> {
        let held = i128::from(self.net.unsigned_abs());
        (held != 0).then(|| decimal::quotient(self.cost, held) / decimal::UNITS)
    }

    /// net quantity * price.
    pub fn value(&self, price: Price) -> Money {
        Money::from_units(i128::from(self.net) * i128::from(price.units()))
    }

    /// (price - average cost) * net quantity.
    ///
    /// # Errors
    /// Beyond 1.7 * 10^22.
    pub fn unrealized_pnl(&self, price: Price) -> Result<Money, PositionError> {
        let gain = self
            .value(price)
            .units()
            .checked_sub(i128::from(self.net.signum()) * self.cost);
        gain.map(Money::from_units)
            .ok_or(PositionError::Overflow("unrealized profit"))
    }

    /// Takes in the next fill; what it closed, if anything. One that crosses zero closes all and opens the rest at its price.
    ///
    /// # Errors
    /// Numbers that overflow; a fill earlier than one that was taken in before, where its lot is still open. The position stays as it was.
    pub fn apply(&mut self, fill: &Fill) -> Result<Option<Close>, PositionError> {
        let signed = fill.quantity.units();
        if signed == 0 {
            return Ok(None);
        }
        let before = i128::from(self.net);
        let after = before + i128::from(signed);
        let after = i64::try_from(after).ok().filter(|net| *net != i64::MIN);
        let after = after.ok_or(PositionError::Overflow("position"))?;
        if self.lots.back().is_some_and(|lot| lot.opened_us > fill.trade_us) {
            return Err(PositionError::Order);
        }
        let closes = self.net != 0 && (self.net < 0) != (signed < 0);
        if !closes {
            self.open(fill, signed.unsigned_abs())?;
            self.net = after;
            return Ok(None);
        }
        let quantity = self.net.unsigned_abs().min(signed.unsigned_abs());
        let close = self.close(fill, quantity)?;
        // What is left of a fill that crosses zero: now nothing is held, so this cannot overflow.
        let rest = signed.unsigned_abs() - quantity;
        if rest != 0 {
            self.open(fill, rest)?;
        }
        self.net = after;
        Ok(Some(close))
    }

    fn open(&mut self, fill: &Fill, quantity: u64) -> Result<(), PositionError> {
        let overflow = PositionError::Overflow("cost");
        let paid = i128::from(quantity) * i128::from(fill.price.units());
        let cost = self.cost.checked_add(paid).ok_or(overflow)?;
        let quantity = i64::try_from(quantity).map_err(|_| overflow)?;
        self.cost = cost;
        match self.lots.back_mut() {
            // Together no more than the position, which fits.
            Some(lot) if lot.opened_us == fill.trade_us => lot.quantity += quantity,
            _ => self.lots.push_back(Lot {
                opened_us: fill.trade_us,
                quantity,
            }),
        }
        Ok(())
    }

    /// Takes `quantity`, at most what is held and not zero, out of cost and lots.
    fn close(&mut self, fill: &Fill, quantity: u64) -> Result<Close, PositionError> {
        let held = i128::from(self.net.unsigned_abs());
        let closed = i128::from(quantity);
        let taken = decimal::share(self.cost, closed, held);
        let gain = (closed * i128::from(fill.price.units())).checked_sub(taken);
        let pnl = gain.and_then(|gain| gain.checked_mul(i128::from(self.net.signum())));
        let pnl = pnl.ok_or(PositionError::Overflow("realized profit"))?;
        let time = self.time_of_oldest(fill.trade_us, quantity)?;
        let quantity_units = i64::try_from(quantity).map_err(|_| PositionError::Overflow("position"))?;
        self.cost -= taken;
        self.drop_oldest(quantity_units);
        self.net -= self.net.signum() * quantity_units;
        Ok(Close {
            quantity: Quantity::from_units(quantity_units),
            pnl: Money::from_units(pnl),
            held: time,
        })
    }

    fn time_of_oldest(&self, now_us: i64, quantity: u64) -> Result<i128, PositionError> {
        let mut left = i128::from(quantity);
        let mut sum = 0_i128;
        for lot in &self.lots {
            let part = left.min(i128::from(lot.quantity));
            let time = part * (i128::from(now_us) - i128::from(lot.opened_us));
            sum = sum.checked_add(time).ok_or(PositionError::Overflow("time held"))?;
            left -= part;
            if left == 0 {
                break;
            }
        }
        Ok(sum)
    }

    fn drop_oldest(&mut self, quantity: i64) {
        let mut left = quantity;
        while let Some(lot) = self.lots.front_mut() {
            if lot.quantity > left {
                lot.quantity -= left;
                break;
            }
            left -= lot.quantity;
            self.lots.pop_front();
            if left == 0 {
                break;
            }
        }
    }
}

//! One trader's day: what the fills of all its symbols, in their order, amount to.

use super::decimal::quotient;
use super::{Close, Money, PositionError, Quantity};

/// A trader's figures of one day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Performance {
    /// Profit of the closing fills. Exact but for the last rounding.
    pub realized_pnl: f64,
    /// Closing fills with a profit above 0 over all closing fills; `None` without any.
    pub win_rate: Option<f64>,
    /// Fills, those of zero quantity included.
    pub trade_count: u64,
    /// Sum of |quantity|.
    pub total_volume: f64,
    /// The largest of running peak - cumulative realized profit, both from 0; never negative.
    pub max_drawdown: f64,
    /// Mean over sample deviation of the closing fills' profits; `None` for fewer than two or a deviation of 0.
    pub sharpe_proxy: Option<f64>,
    /// Time held, weighted by closed quantity, oldest lots first; `None` where nothing was closed.
    pub avg_hold_seconds: Option<f64>,
}

/// Adds up one trader's day. Fills of all its symbols come in the order of (trade_timestamp, event_timestamp, trade_id).
#[derive(Clone, Debug, Default)]
pub struct PerformanceFold {
    fills: u64,
    wins: u64,
    volume: i128,
    realized: i128,
    peak: i128,
    drawdown: i128,
    closed: i128,
    held: i128,
    /// Profit of each closing fill, 10^-16: as many as the trader's fills of one day.
    profits: Vec<i128>,
}

impl PerformanceFold {
    /// Takes in a fill and what it closed.
    ///
    /// # Errors
    /// Sums that overflow.
    pub fn add(&mut self, quantity: Quantity, close: Option<&Close>) -> Result<(), PositionError> {
        self.fills += 1;
        let volume = i128::from(quantity.units().unsigned_abs());
        self.volume = sum(self.volume, volume, "volume")?;
        let Some(close) = close else {
            return Ok(());
        };
        let profit = close.pnl.units();
        self.realized = sum(self.realized, profit, "realized profit")?;
        self.peak = self.peak.max(self.realized);
        let down = self.peak.checked_sub(self.realized);
        self.drawdown = self.drawdown.max(down.ok_or(PositionError::Overflow("drawdown"))?);
        self.closed = sum(self.closed, i128::from(close.quantity.units()), "volume")?;
        self.held = sum(self.held, close.held, "time held")?;
        self.wins += u64::from(profit > 0);
        self.profits.push(profit);
        Ok(())
    }

    /// The figures; `None` where there were no fills.
    pub fn finish(&self) -> Option<Performance> {
        let closes = self.profits.len();
        (self.fills > 0).then(|| Performance {
            realized_pnl: Money::from_units(self.realized).to_f64(),
            win_rate: (closes > 0).then(|| self.wins as f64 / closes as f64),
            trade_count: self.fills,
            total_volume: self.volume as f64 / super::decimal::UNITS,
            max_drawdown: Money::from_units(self.drawdown).to_f64(),
            sharpe_proxy: self.sharpe(),
            avg_hold_seconds: (self.closed > 0).then(|| quotient(self.held, self.closed) / 1e6),
        })
    }

    /// Whether all are equal is decided exactly; then two passes in the order of the fills. The unit of money cancels out.
    fn sharpe(&self) -> Option<f64> {
        let first = self.profits.first()?;
        if self.profits.iter().all(|profit| profit == first) {
            return None;
        }
        let count = self.profits.len() as f64;
        let mean = self.realized as f64 / count;
        let square = |profit: &i128| (*profit as f64 - mean).powi(2);
        let variance = self.profits.iter().map(square).sum::<f64>() / (count - 1.0);
        (variance > 0.0).then(|| mean / variance.sqrt())
    }
}

fn sum(a: i128, b: i128, what: &'static str) -> Result<i128, PositionError> {
    a.checked_add(b).ok_or(PositionError::Overflow(what))
}

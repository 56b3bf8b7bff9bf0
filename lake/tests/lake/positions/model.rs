//! What traders must have made and hold, by the contract's own words: a loop over all fills in floating point.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;

use tapehouse_core::calendar::Calendar;
use tapehouse_core::new_york;

use crate::market::Trade;

/// Fills, then realized_pnl, total_volume, max_drawdown, win_rate, sharpe_proxy, avg_hold_seconds.
#[derive(Clone, Debug)]
pub struct Made {
    pub trades: i64,
    pub figures: [Option<f64>; 6],
}

/// Date of the price, then net_quantity, avg_entry_price, current_price, unrealized_pnl, position_value.
#[derive(Clone, Debug)]
pub struct Held {
    pub price_date: i32,
    pub figures: [f64; 5],
}

pub trait Alike: Debug {
    fn is_alike(&self, other: &Self) -> bool;
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}

impl Alike for Made {
    fn is_alike(&self, other: &Self) -> bool {
        let same = |(a, b): (&Option<f64>, &Option<f64>)| match (a, b) {
            (Some(a), Some(b)) => near(*a, *b),
            (a, b) => a == b,
        };
        self.trades == other.trades && self.figures.iter().zip(&other.figures).all(same)
    }
}

impl Alike for Held {
    fn is_alike(&self, other: &Self) -> bool {
        let mut figures = self.figures.iter().zip(&other.figures);
        self.price_date == other.price_date && figures.all(|(a, b)| near(*a, *b))
    }
}

pub fn demand_alike<K: Ord + Debug, V: Alike>(found: &BTreeMap<K, V>, expected: &BTreeMap<K, V>, context: &str) {
    let keys: BTreeSet<&K> = found.keys().chain(expected.keys()).collect();
    for key in keys {
        match (found.get(key), expected.get(key)) {
            (Some(found), Some(expected)) if found.is_alike(expected) => {}
            (found, expected) => panic!("{context}: {key:?}: found {found:?}, expected {expected:?}"),
        }
    }
}

#[derive(Default)]
struct Position {
    net: f64,
    cost: f64,
    lots: VecDeque<(i64, f64)>,
}

#[derive(Default)]
struct Day {
    trades: i64,
    volume: f64,
    profits: Vec<f64>,
    closed: f64,
    held_us: f64,
}

impl Day {
    fn made(&self) -> Made {
        let (mut total, mut peak, mut drawdown) = (0.0_f64, 0.0_f64, 0.0_f64);
        for profit in &self.profits {
            total += profit;
            peak = peak.max(total);
            drawdown = drawdown.max(peak - total);
        }
        let count = self.profits.len() as f64;
        let mean = total / count;
        let variance = self.profits.iter().map(|profit| (profit - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let are_equal = self.profits.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 1e-9);
        let has_closed = !self.profits.is_empty();
        let wins = self.profits.iter().filter(|profit| **profit > 1e-9).count() as f64;
        Made {
            trades: self.trades,
            figures: [
                Some(total),
                Some(self.volume),
                Some(drawdown),
                has_closed.then(|| wins / count),
                (count >= 2.0 && !are_equal).then(|| mean / variance.sqrt()),
                has_closed.then(|| self.held_us / self.closed / 1e6),
            ],
        }
    }
}

/// What there must be.
#[derive(Default)]
pub struct Model {
    pub made: BTreeMap<(i32, String), Made>,
    pub held: BTreeMap<(i32, String, String), Held>,
}

impl Model {
    /// Of these trades.
    pub fn of<'a>(trades: impl Iterator<Item = &'a Trade>) -> Self {
        let all: Vec<&Trade> = trades.collect();
        let carried: BTreeSet<i32> = all.iter().map(|trade| new_york::date(trade.time_us)).collect();
        let mut days = carried.clone();
        if let (Some(first), Some(last)) = (carried.first(), carried.last()) {
            days.extend(
                Calendar::nyse()
                    .sessions(*first, *last)
                    .unwrap()
                    .iter()
                    .map(|session| session.day),
            );
        }
        let mut fills: Vec<&Trade> = all.into_iter().filter(|trade| !trade.needs_review).collect();
        fills.sort_by_key(|trade| (trade.time_us, trade.event_us, format!("T{}", trade.id)));
        let mut model = Self::default();
        let mut books: BTreeMap<(String, String), Position> = BTreeMap::new();
        let mut prices: BTreeMap<String, (f64, i32)> = BTreeMap::new();
        let mut fills = fills.into_iter().peekable();
        for day in days {
            let mut made: BTreeMap<String, Day> = BTreeMap::new();
            while let Some(fill) = fills.next_if(|fill| new_york::date(fill.time_us) == day) {
                prices.insert(fill.symbol.to_owned(), (fill.price, day));
                let Some(trader) = fill.trader else { continue };
                let position = books.entry((trader.to_owned(), fill.symbol.to_owned())).or_default();
                let of_day = made.entry(trader.to_owned()).or_default();
                of_day.trades += 1;
                of_day.volume += fill.quantity;
                let signed = if fill.side == "SELL" {
                    -fill.quantity
                } else {
                    fill.quantity
                };
                apply(position, signed, fill, of_day);
            }
            let rows = made
                .iter()
                .map(|(trader, of_day)| ((day, trader.clone()), of_day.made()));
            model.made.extend(rows);
            for ((trader, symbol), position) in books.iter().filter(|(_, position)| position.net != 0.0) {
                let (price, price_date) = prices[symbol];
                let figures = [
                    position.net,
                    position.cost,
                    price,
                    (price - position.cost) * position.net,
                    position.net * price,
                ];
                model
                    .held
                    .insert((day, trader.clone(), symbol.clone()), Held { price_date, figures });
            }
        }
        model
    }
}

fn apply(position: &mut Position, signed: f64, fill: &Trade, of_day: &mut Day) {
    if signed == 0.0 {
        return;
    }
    let mut rest = signed.abs();
    if position.net * signed < 0.0 {
        let closed = position.net.abs().min(rest);
        of_day
            .profits
            .push(closed * (fill.price - position.cost) * position.net.signum());
        of_day.closed += closed;
        let mut left = closed;
        while left > 0.0 {
            let Some((opened_us, quantity)) = position.lots.pop_front() else {
                panic!("lots are what is held")
            };
            let part = quantity.min(left);
            of_day.held_us += part * (fill.time_us - opened_us) as f64;
            left -= part;
            if quantity > part {
                position.lots.push_front((opened_us, quantity - part));
            }
        }
        position.net += closed * signed.signum();
        rest -= closed;
    }
    if rest > 0.0 {
        let held = position.net.abs();
        position.cost = match held > 0.0 {
            true => (held * position.cost + rest * fill.price) / (held + rest),
            false => fill.price,
        };
        position.net += rest * signed.signum();
        position.lots.push_back((fill.time_us, rest));
    }
}

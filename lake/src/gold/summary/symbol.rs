//! One symbol's day.

use tapehouse_core::exact_sum::ExactSum;

/// What puts trades in order: trade_timestamp and event_timestamp in microseconds, trade_id.
pub(super) type Order<'a> = (i64, i64, &'a str);

/// The first or the last trade, by what `is_before` says of two.
#[derive(Debug, Default)]
struct Edge {
    at: Option<(i64, i64)>,
    id: String,
    price: f64,
    /// Trades of another price have the same order, as far as it was given.
    is_tied: bool,
}

impl Edge {
    /// Takes a trade where it comes before (`is_first`) or after all others.
    #[inline]
    fn offer(&mut self, (trade_us, event_us, id): Order<'_>, price: f64, is_first: bool) {
        let order = match self.at {
            None => std::cmp::Ordering::Less,
            Some(at) => {
                let order = (trade_us, event_us).cmp(&at).then_with(|| id.cmp(&self.id));
                if is_first { order } else { order.reverse() }
            }
        };
        match order {
            std::cmp::Ordering::Less => {
                self.at = Some((trade_us, event_us));
                self.id.clear();
                self.id.push_str(id);
                self.price = price;
                self.is_tied = false;
            }
            std::cmp::Ordering::Equal => self.is_tied |= self.price.to_bits() != price.to_bits(),
            std::cmp::Ordering::Greater => {}
        }
    }
}

/// A sum and how many were summed.
#[derive(Debug, Default)]
struct Mean {
    sum: ExactSum,
    count: u64,
}

impl Mean {
    fn add(&mut self, number: f64) {
        self.sum.add(number);
        self.count += 1;
    }

    fn value(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum.value() / self.count as f64)
    }
}

/// One symbol's day as far as it was seen.
#[derive(Debug, Default)]
pub(super) struct Symbol {
    trades: i64,
    reviews: i64,
    first: Edge,
    last: Edge,
    high: f64,
    low: f64,
    volume: ExactSum,
    notional: ExactSum,
    spread: Mean,
    change: Mean,
}

impl Symbol {
    #[inline]
    pub(super) fn add_trade(&mut self, order: Order<'_>, price: f64, quantity: f64) {
        self.first.offer(order, price, true);
        self.last.offer(order, price, false);
        let is_first = self.trades == 0;
        self.high = if is_first { price } else { self.high.max(price) };
        self.low = if is_first { price } else { self.low.min(price) };
        self.trades += 1;
        self.volume.add(quantity);
        self.notional.add(price * quantity);
    }

    pub(super) fn add_review(&mut self) {
        self.reviews += 1;
    }

    pub(super) fn add_spread(&mut self, spread: f64) {
        self.spread.add(spread);
    }

    pub(super) fn add_change(&mut self, change: f64) {
        self.change.add(change);
    }

    /// Whether open or close hang on trade ids that were not given.
    pub(super) fn needs_ids(&self) -> bool {
        self.first.is_tied || self.last.is_tied
    }

    pub(super) fn trades(&self) -> i64 {
        self.trades
    }

    pub(super) fn reviews(&self) -> i64 {
        self.reviews
    }

    pub(super) fn open(&self) -> Option<f64> {
        self.first.at.map(|_| self.first.price)
    }

    pub(super) fn close(&self) -> Option<f64> {
        self.last.at.map(|_| self.last.price)
    }

    pub(super) fn high(&self) -> Option<f64> {
        (self.trades > 0).then_some(self.high)
    }

    pub(super) fn low(&self) -> Option<f64> {
        (self.trades > 0).then_some(self.low)
    }

    pub(super) fn volume(&self) -> Option<f64> {
        Some(self.volume.value())
    }

    pub(super) fn vwap(&self) -> Option<f64> {
        let volume = self.volume.value();
        (volume > 0.0).then(|| self.notional.value() / volume)
    }

    pub(super) fn spread(&self) -> Option<f64> {
        self.spread.value()
    }

    pub(super) fn change(&self) -> Option<f64> {
        self.change.value()
    }
}

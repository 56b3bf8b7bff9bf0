//! One-minute bars over the published trades.

use std::collections::VecDeque;

pub(super) const MINUTE_US: i64 = 60_000_000;
/// Bars of closed minutes that wait for being published.
const MAX_CLOSED: usize = 65_536;

/// Start of the minute in which an instant lies.
pub(super) fn minute_start(at_us: i64) -> i64 {
    at_us - at_us.rem_euclid(MINUTE_US)
}

/// Open, high, low, close and volume of a symbol's minute. Prices are in ticks, times in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bar {
    pub symbol: u16,
    pub start_us: i64,
    pub open_ticks: i64,
    pub high_ticks: i64,
    pub low_ticks: i64,
    pub close_ticks: i64,
    pub volume: f64,
    /// Times of the trades that gave open and close: trades are published out of trade-time order.
    open_us: i64,
    close_us: i64,
}

impl Bar {
    pub fn end_us(&self) -> i64 {
        self.start_us + MINUTE_US
    }
}

/// A trade as far as bars see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Print {
    pub symbol: u16,
    pub price_ticks: i64,
    /// Shares; 0 where the record does not say.
    pub quantity: u32,
    pub trade_us: i64,
}

/// The running minute of every symbol, and the closed ones that wait.
pub(super) struct Bars {
    minute_us: i64,
    open: Vec<Option<Bar>>,
    closed: VecDeque<Bar>,
    /// Symbols whose running bar changed since it was last published, each once.
    changed: VecDeque<u16>,
    is_changed: Vec<bool>,
    /// Closed bars that found no room.
    pub lost: u64,
}

impl Bars {
    pub fn new(symbols: usize) -> Self {
        Self {
            minute_us: i64::MIN,
            open: vec![None; symbols],
            closed: VecDeque::new(),
            changed: VecDeque::new(),
            is_changed: vec![false; symbols],
            lost: 0,
        }
    }

    /// Closes the running minute if `now_us` lies after it. No trade of an earlier minute may follow.
    pub fn roll(&mut self, now_us: i64) {
        let minute_us = minute_start(now_us);
        if minute_us <= self.minute_us {
            return;
        }
        self.minute_us = minute_us;
        self.changed.clear();
        self.is_changed.fill(false);
        for bar in self.open.iter_mut().filter_map(Option::take) {
            if self.closed.len() >= MAX_CLOSED {
                self.closed.pop_front();
                self.lost += 1;
            }
            self.closed.push_back(bar);
        }
    }

    pub fn add(&mut self, print: Print) {
        let symbol = usize::from(print.symbol);
        match &mut self.open[symbol] {
            Some(bar) => {
                bar.high_ticks = bar.high_ticks.max(print.price_ticks);
                bar.low_ticks = bar.low_ticks.min(print.price_ticks);
                bar.volume += f64::from(print.quantity);
                if print.trade_us < bar.open_us {
                    (bar.open_us, bar.open_ticks) = (print.trade_us, print.price_ticks);
                }
                if print.trade_us >= bar.close_us {
                    (bar.close_us, bar.close_ticks) = (print.trade_us, print.price_ticks);
                }
            }
            none => {
                *none = Some(Bar {
                    symbol: print.symbol,
                    start_us: minute_start(print.trade_us),
                    open_ticks: print.price_ticks,
                    high_ticks: print.price_ticks,
                    low_ticks: print.price_ticks,
                    close_ticks: print.price_ticks,
                    volume: f64::from(print.quantity),
                    open_us: print.trade_us,
                    close_us: print.trade_us,
                });
            }
        }
        if !std::mem::replace(&mut self.is_changed[symbol], true) {
            self.changed.push_back(print.symbol);
        }
    }

    /// The next bar to publish: closed minutes first, then running ones that changed, longest unpublished first.
    pub fn next(&mut self) -> Option<Bar> {
        if let Some(bar) = self.closed.pop_front() {
            return Some(bar);
        }
        let symbol = usize::from(self.changed.pop_front()?);
        self.is_changed[symbol] = false;
        self.open[symbol]
    }

    /// Takes back what [`Self::next`] just gave, to be given next.
    pub fn put_back(&mut self, bar: Bar) {
        if bar.start_us < self.minute_us {
            self.closed.push_front(bar);
        } else if !std::mem::replace(&mut self.is_changed[usize::from(bar.symbol)], true) {
            self.changed.push_front(bar.symbol);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(price_ticks: i64, trade_us: i64) -> Print {
        Print {
            symbol: 0,
            price_ticks,
            quantity: 10,
            trade_us,
        }
    }

    #[test]
    fn open_and_close_go_by_trade_time_not_arrival() {
        let mut bars = Bars::new(1);
        bars.roll(MINUTE_US);
        for (price, at) in [(105, 30), (100, 10), (120, 20), (90, 25)] {
            bars.add(print(price, MINUTE_US + at));
        }
        let bar = bars.next().unwrap();
        assert_eq!(
            (bar.open_ticks, bar.high_ticks, bar.low_ticks, bar.close_ticks),
            (100, 120, 90, 105)
        );
        assert_eq!(
            (bar.volume, bar.start_us, bar.end_us()),
            (40.0, MINUTE_US, 2 * MINUTE_US)
        );
        assert!(bars.next().is_none(), "unchanged since");
        bars.add(print(107, MINUTE_US + 40));
        bars.roll(2 * MINUTE_US);
        assert_eq!(bars.next().unwrap().close_ticks, 107);
        assert!(bars.next().is_none());
    }

    #[test]
    fn waiting_bars_are_limited_and_the_loss_is_counted() {
        let mut bars = Bars::new(1);
        for minute in 0..=(MAX_CLOSED as i64 + 3) {
            bars.roll(minute * MINUTE_US);
            bars.add(print(100, minute * MINUTE_US));
        }
        assert_eq!((bars.closed.len(), bars.lost), (MAX_CLOSED, 3));
    }
}

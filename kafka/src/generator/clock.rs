//! Event time: one market time, and per topic a strictly increasing one.

use super::Topic;
use super::options::{EventClock, GeneratorOptions};

/// Event time in microseconds since 1970.
pub(super) struct EventTime {
    clock: EventClock,
    start_us: Option<i64>,
    /// Event time minus wall time, once known; live only.
    shift_us: Option<i64>,
    trades: u64,
    /// Market time of the newest trade, synthetic only.
    market_us: Option<i64>,
    last_us: [i64; 3],
}

impl EventTime {
    pub fn new(options: &GeneratorOptions) -> Self {
        Self {
            clock: options.clock,
            start_us: options.start_us,
            shift_us: None,
            trades: 0,
            market_us: None,
            last_us: [i64::MIN; 3],
        }
    }

    /// Event time of a topic's next record: later than the one before, of the same topic, by at least 1 us, so that
    /// keys that contain a time are unique and corrections are later than what they correct.
    pub fn next(&mut self, topic: Topic, now_us: i64) -> i64 {
        let market_us = match self.clock {
            EventClock::Live => self.live(now_us),
            EventClock::Synthetic { trades_per_second } => self.synthetic(topic, trades_per_second, now_us),
        };
        let last_us = &mut self.last_us[topic.index()];
        *last_us = market_us.max(last_us.saturating_add(1));
        *last_us
    }

    /// Event time that is surely over: no trade will come before it. `None` before the first trade.
    pub fn passed(&mut self, now_us: i64) -> Option<i64> {
        let last_us = self.last_us[Topic::Trades.index()];
        match self.clock {
            _ if last_us == i64::MIN => None,
            EventClock::Live => Some(self.live(now_us).max(last_us)),
            EventClock::Synthetic { .. } => Some(last_us),
        }
    }

    fn live(&mut self, now_us: i64) -> i64 {
        let shift_us = *self
            .shift_us
            .get_or_insert_with(|| self.start_us.map_or(0, |start_us| start_us - now_us));
        now_us + shift_us
    }

    fn synthetic(&mut self, topic: Topic, trades_per_second: f64, now_us: i64) -> i64 {
        let start_us = *self.start_us.get_or_insert(now_us);
        if topic == Topic::Trades {
            self.market_us = Some(start_us + (self.trades as f64 * 1e6 / trades_per_second) as i64);
            self.trades += 1;
        }
        self.market_us.unwrap_or(start_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_time_is_wall_time_shifted_to_the_start() {
        let mut time = EventTime::new(&GeneratorOptions {
            start_us: Some(1_000),
            ..GeneratorOptions::default()
        });
        assert_eq!(time.next(Topic::Trades, 50_000), 1_000);
        assert_eq!(
            time.next(Topic::Trades, 50_000),
            1_001,
            "strictly increasing within one instant"
        );
        assert_eq!(time.next(Topic::Trades, 50_700), 1_700);
        assert_eq!(time.next(Topic::Orderbook, 50_700), 1_700);
    }

    #[test]
    fn synthetic_time_is_counted_in_trades() {
        let clock = EventClock::Synthetic {
            trades_per_second: 1_000.0,
        };
        let mut time = EventTime::new(&GeneratorOptions {
            clock,
            start_us: Some(5),
            ..GeneratorOptions::default()
        });
        let trades: Vec<i64> = (0..3).map(|turn| time.next(Topic::Trades, turn * 777)).collect();
        assert_eq!(trades, [5, 1_005, 2_005]);
        assert_eq!(time.next(Topic::Orderbook, 0), 2_005);
        assert_eq!(time.next(Topic::Orderbook, 0), 2_006);
        assert_eq!(time.next(Topic::Trades, 0), 3_005, "other topics do not move it");
    }
}

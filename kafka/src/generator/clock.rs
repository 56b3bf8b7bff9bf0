//! Event time: one market time, and per topic a strictly increasing one.

use tapehouse_core::calendar::{Calendar, Session};

use super::Topic;
use super::options::{EventClock, GeneratorOptions};

/// Event time in microseconds since 1970.
pub(super) struct EventTime {
    clock: EventClock,
    start_us: Option<i64>,
    /// Event time minus wall time, once known; live only.
    shift_us: Option<i64>,
    trades: u64,
    /// What is gone through, of [`EventClock::Sessions`].
    sessions: Vec<Session>,
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
            sessions: match options.clock {
                EventClock::Sessions {
                    first_day, last_day, ..
                } => {
                    // Options with other days do not pass their check.
                    Calendar::nyse().sessions(first_day, last_day).unwrap_or_default()
                }
                EventClock::Live | EventClock::Synthetic { .. } => Vec::new(),
            },
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
            EventClock::Sessions { trades_per_day, .. } => self.in_session(topic, u64::from(trades_per_day)),
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
            EventClock::Synthetic { .. } | EventClock::Sessions { .. } => Some(last_us),
        }
    }

    /// Whether all sessions are gone through.
    pub fn is_over(&self) -> bool {
        match self.trades_per_day() {
            Some(trades_per_day) => self.trades >= trades_per_day * self.sessions.len() as u64,
            None => false,
        }
    }

    fn trades_per_day(&self) -> Option<u64> {
        match self.clock {
            EventClock::Sessions { trades_per_day, .. } => Some(u64::from(trades_per_day)),
            EventClock::Live | EventClock::Synthetic { .. } => None,
        }
    }

    fn in_session(&mut self, topic: Topic, trades_per_day: u64) -> i64 {
        let number = match topic {
            Topic::Trades => self.trades,
            Topic::Orderbook | Topic::Marketdata => self.trades.saturating_sub(1),
        };
        let (day, of_day) = (number / trades_per_day, number % trades_per_day);
        let session = usize::try_from(day).ok().and_then(|day| self.sessions.get(day));
        if topic == Topic::Trades {
            self.trades += 1;
        }
        let Some(session) = session.or(self.sessions.last()) else {
            return 0;
        };
        let span_us = i128::from(session.close_us - session.open_us);
        let after_us = span_us * i128::from(of_day) / i128::from(trades_per_day);
        session.open_us + i64::try_from(after_us).unwrap_or_default()
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

    /// 2024-07-02 is an ordinary day, on the 3rd it closes at 13:00, the 4th is a holiday, the 6th and 7th are a weekend.
    #[test]
    fn sessions_are_gone_through_and_nothing_between_them() {
        let first_day = 19_906;
        let mut time = EventTime::new(&GeneratorOptions {
            clock: EventClock::Sessions {
                first_day,
                last_day: first_day + 6,
                trades_per_day: 4,
            },
            ..GeneratorOptions::default()
        });
        let mut minutes = Vec::new();
        while !time.is_over() {
            let trade_us = time.next(Topic::Trades, 0);
            let book_us = time.next(Topic::Orderbook, 0);
            assert!((trade_us..trade_us + 1_000).contains(&book_us), "{trade_us} {book_us}");
            let day = tapehouse_core::new_york::date(trade_us);
            let midnight_us = tapehouse_core::new_york::instant(day, 0);
            minutes.push((day - first_day, (trade_us - midnight_us) / 60_000_000));
        }
        let whole = [570, 667, 765, 862];
        let half = [570, 622, 675, 727];
        let days = [(0, whole), (1, half), (3, whole), (6, whole)];
        let expected: Vec<(i32, i64)> = days
            .into_iter()
            .flat_map(|(day, minutes)| minutes.map(|minute| (day, minute)))
            .collect();
        assert_eq!(minutes, expected);
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

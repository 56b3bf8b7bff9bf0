//! This node's clock, and how far it is from its neighbours', as far as their answers tell.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A node whose clock is further ahead of its neighbours' refuses to commit, in milliseconds: its snapshots would be stamped
/// with a time to come, and nobody else could commit behind them without doing the same.
pub const MOST_AHEAD_MS: i64 = 30_000;

/// One look at another clock. Times are milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What it said.
    pub theirs_ms: i64,
    /// How much later it may have been: 1000 where whole seconds are told.
    pub resolution_ms: i64,
    /// Our clock when we asked.
    pub asked_ms: i64,
    /// Our clock when the answer was there.
    pub answered_ms: i64,
}

impl Sighting {
    /// How far our clock is ahead at the very least: as if their clock had been read when we asked, at the end of what its
    /// resolution permits.
    pub fn least_ahead_ms(&self) -> i64 {
        let ahead = self.asked_ms.saturating_sub(self.theirs_ms);
        ahead.saturating_sub(self.resolution_ms)
    }

    /// How far our clock is behind at the very least.
    pub fn least_behind_ms(&self) -> i64 {
        self.theirs_ms.saturating_sub(self.answered_ms)
    }
}

/// Milliseconds since 1970-01-01 UTC, now.
pub fn now_ms() -> i64 {
    i64::try_from(since_1970().as_millis()).unwrap_or(i64::MAX)
}

/// Microseconds since 1970-01-01 UTC, now.
pub fn now_us() -> i64 {
    i64::try_from(since_1970().as_micros()).unwrap_or(i64::MAX)
}

/// A clock before 1970 counts as 1970.
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Milliseconds since 1970-01-01 UTC of an HTTP date (`Sun, 06 Nov 1994 08:49:37 GMT`); `None` for anything else.
pub fn http_date_ms(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.trim().split_once(", ")?;
    let parts: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts[..] else {
        return None;
    };
    let number = |text: &str, range: std::ops::RangeInclusive<i64>| {
        let number = text.parse::<i64>().ok()?;
        range.contains(&number).then_some(number)
    };
    let month = i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let (day, year) = (number(day, 1..=31)?, number(year, 1970..=9999)?);
    let clock: Vec<&str> = time.split(':').collect();
    let [hours, minutes, seconds] = clock[..] else {
        return None;
    };
    let seconds = number(hours, 0..=23)? * 3600 + number(minutes, 0..=59)? * 60 + number(seconds, 0..=60)?;
    Some((days_since_1970(year, month, day) * 86_400 + seconds) * 1000)
}

/// Days of the proleptic Gregorian calendar: years begin in March, so that the leap day is their last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days_of_years = 365 * year + year / 4 - year / 100 + year / 400;
    // 1 March of year 0 is 719,468 days before 1970-01-01.
    days_of_years + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates() {
        assert_eq!(http_date_ms("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777_000));
        assert_eq!(http_date_ms("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(http_date_ms("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199_000));
        assert_eq!(http_date_ms("Mon, 23 Nov 2026 11:41:29 GMT"), Some(1_795_434_089_000));
        for bad in [
            "",
            "yesterday",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "a, b c d e GMT",
        ] {
            assert_eq!(http_date_ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_slow_answer_never_accuses_the_clock() {
        let sighting = Sighting {
            theirs_ms: 100_000,
            resolution_ms: 1000,
            asked_ms: 100_500,
            answered_ms: 160_000,
        };
        assert!(sighting.least_ahead_ms() <= 0 && sighting.least_behind_ms() <= 0);
        let ahead = Sighting {
            asked_ms: 220_000,
            answered_ms: 220_010,
            ..sighting
        };
        assert_eq!(ahead.least_ahead_ms(), 119_000);
    }

    #[test]
    fn a_neighbour_may_say_any_number() {
        for theirs_ms in [i64::MIN, i64::MAX] {
            let sighting = Sighting {
                theirs_ms,
                resolution_ms: 1,
                asked_ms: 1,
                answered_ms: -1,
            };
            assert_eq!(sighting.least_ahead_ms() > 0, theirs_ms < 0);
            assert_eq!(sighting.least_behind_ms() > 0, theirs_ms > 0);
        }
    }
}

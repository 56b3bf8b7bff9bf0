//! When a schedule fires: cron expressions in America/New_York, and what is made up for after a time in which nobody looked.
//!
//! Where the clock is changed: an expression with fixed hours fires once a day that it means, at the first instant after where the clock
//! skips its time, at the first of both where the clock shows it twice. One whose hour is a wildcard (`*`, `*/2`) fires whenever the clock
//! shows a time that it means: the skipped hour never, the repeated one twice.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use serde::{Deserialize, Serialize};

use crate::new_york;

/// No change of the clock moves it by more.
const MOST_CHANGED_HOURS: i64 = 3;
/// Firings that are made up for at most: a schedule of every minute after a year would have half a million.
pub const MOST_MISSED: usize = 1000;

/// A cron expression of five fields: minute, hour, day of the month, month, day of the week (0 and 7 are Sunday). Where both days are
/// restricted, either may match.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    cron: Cron,
    has_fixed_hours: bool,
}

/// A text that is no cron expression of five fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no cron expression of five fields: {reason}")]
pub struct ScheduleError {
    text: String,
    reason: String,
}

/// What is done about firings that nobody was there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// One of them, the last, is made up for: the work looks at how things are.
    Once,
    /// Each of them is made up for, in order: the work is about the time at which it was due.
    Each,
}

/// What is remembered of a schedule. Times are in microseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleState {
    /// Firings until then are done, or are nobody's; `None` before it was looked at first.
    pub seen_us: Option<i64>,
    /// The last firing whose work was done.
    pub fired_us: Option<i64>,
    /// Whether it fires no more.
    pub is_paused: bool,
}

impl Schedule {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(text).map_err(|error| ScheduleError {
            text: text.to_owned(),
            reason: error.to_string(),
        })?;
        let hours = text.split_whitespace().nth(1).unwrap_or("*");
        Ok(Self {
            text: text.to_owned(),
            has_fixed_hours: !hours.starts_with('*'),
            cron,
        })
    }

    /// The expression.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first firing after an instant, both in microseconds since 1970-01-01 UTC; `None` where there is none, as of February 30.
    pub fn next_after(&self, after_us: i64) -> Option<i64> {
        match self.has_fixed_hours {
            true => self.next_of_fixed(after_us),
            false => self.next_of_any(after_us),
        }
    }

    fn next_of_fixed(&self, after_us: i64) -> Option<i64> {
        // What the clock showed before may be shown again, or fire only now.
        let mut local = clock(after_us)?.checked_sub(MOST_CHANGED_HOURS.hours()).ok()?;
        loop {
            local = self.cron.find_next_occurrence(&local, false).ok()?;
            let fires_us = instant(local);
            if fires_us > after_us {
                return Some(fires_us);
            }
        }
    }

    fn next_of_any(&self, after_us: i64) -> Option<i64> {
        let (mut from_us, mut inclusive) = (after_us, false);
        loop {
            let (east_us, until_us) = new_york::offset(from_us);
            let local = civil(from_us.checked_add(east_us)?)?;
            let local = self.cron.find_next_occurrence(&local, inclusive).ok()?;
            let fires_us = local_us(local).checked_sub(east_us)?;
            if fires_us < until_us {
                return Some(fires_us);
            }
            // The clock is changed before: it shows other times from then on.
            (from_us, inclusive) = (until_us, true);
        }
    }

    /// The firings after `last_us` and until `now_us` that are to be done now, in order, at most [`MOST_MISSED`], the latest ones.
    pub fn due(&self, last_us: i64, now_us: i64, catch_up: CatchUp) -> Vec<i64> {
        let most = match catch_up {
            CatchUp::Once => 1,
            CatchUp::Each => MOST_MISSED,
        };
        let mut due = std::collections::VecDeque::new();
        let mut at_us = last_us;
        while let Some(next_us) = self.next_after(at_us).filter(|next_us| *next_us <= now_us) {
            if due.len() == most {
                due.pop_front();
            }
            due.push_back(next_us);
            at_us = next_us;
        }
        due.into()
    }
}

/// What a clock in New York shows.
fn clock(time_us: i64) -> Option<DateTime> {
    civil(time_us.checked_add(new_york::offset(time_us).0)?)
}

/// A date and time by its microseconds since midnight of 1970-01-01, of whatever zone.
fn civil(local_us: i64) -> Option<DateTime> {
    let timestamp = Timestamp::from_microsecond(local_us).ok()?;
    Some(TimeZone::UTC.to_datetime(timestamp))
}

fn local_us(local: DateTime) -> i64 {
    let timestamp = TimeZone::UTC.to_timestamp(local);
    timestamp.map_or(i64::MAX, |timestamp| timestamp.as_microsecond())
}

/// When a clock in New York first shows this, or a later time where it skips this one.
fn instant(local: DateTime) -> i64 {
    const DAY_US: i64 = 86_400_000_000;
    let local_us = local_us(local);
    let day = i32::try_from(local_us.div_euclid(DAY_US)).unwrap_or(i32::MAX);
    new_york::instant(day, local_us.rem_euclid(DAY_US))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(time: &str) -> i64 {
        time.parse::<Timestamp>().unwrap().as_microsecond()
    }

    fn text(time_us: i64) -> String {
        Timestamp::from_microsecond(time_us).unwrap().to_string()
    }

    fn firings(cron: &str, from: &str, until: &str) -> Vec<String> {
        let due = Schedule::parse(cron).unwrap().due(us(from), us(until), CatchUp::Each);
        due.into_iter().map(text).collect()
    }

    #[test]
    fn five_in_the_afternoon_of_each_weekday_is_another_instant_in_summer() {
        let of_march = firings("0 17 * * 1-5", "2024-03-07T22:00:00Z", "2024-03-12T00:00:00Z");
        assert_eq!(of_march, ["2024-03-08T22:00:00Z", "2024-03-11T21:00:00Z"]);
        let monthly = firings("0 3 1 * *", "2024-02-01T08:00:00Z", "2024-05-01T07:00:00Z");
        assert_eq!(
            monthly,
            ["2024-03-01T08:00:00Z", "2024-04-01T07:00:00Z", "2024-05-01T07:00:00Z"]
        );
    }

    #[test]
    fn a_fixed_hour_that_is_skipped_fires_at_the_first_instant_after_it_and_one_that_is_repeated_fires_once() {
        // 2024-03-10: 02:00 EST is 03:00 EDT.
        let spring = firings("30 2 * * *", "2024-03-09T08:00:00Z", "2024-03-12T00:00:00Z");
        assert_eq!(spring, ["2024-03-10T07:00:00Z", "2024-03-11T06:30:00Z"]);
        // 2024-11-03: 01:30 is shown at 05:30 and 06:30 UTC.
        let autumn = firings("30 1 * * *", "2024-11-02T06:00:00Z", "2024-11-04T12:00:00Z");
        assert_eq!(autumn, ["2024-11-03T05:30:00Z", "2024-11-04T06:30:00Z"]);
        // Asked between both.
        let schedule = Schedule::parse("30 1 * * *").unwrap();
        let next = schedule.next_after(us("2024-11-03T06:00:00Z")).map(text);
        assert_eq!(next.as_deref(), Some("2024-11-04T06:30:00Z"));
        // Two skipped times of one day are one instant.
        let both = firings("0,30 2 * * *", "2024-03-10T00:00:00Z", "2024-03-10T12:00:00Z");
        assert_eq!(both, ["2024-03-10T07:00:00Z"]);
    }

    #[test]
    fn a_wildcard_hour_fires_on_every_instant_of_days_of_23_and_25_hours() {
        let spring = firings("*/30 * * * *", "2024-03-10T04:59:59Z", "2024-03-11T03:59:59Z");
        assert_eq!(spring.len(), 46);
        let autumn = firings("*/30 * * * *", "2024-11-03T03:59:59Z", "2024-11-04T04:59:59Z");
        assert_eq!(autumn.len(), 50);
        let every_other = firings("0 */2 * * *", "2024-03-10T06:00:00Z", "2024-03-10T10:00:00Z");
        assert_eq!(every_other, ["2024-03-10T08:00:00Z", "2024-03-10T10:00:00Z"]);
    }

    #[test]
    fn what_was_missed_is_made_up_for_once_or_each() {
        let schedule = Schedule::parse("*/5 * * * *").unwrap();
        let (last, now) = (us("2024-06-03T12:00:00Z"), us("2024-06-03T12:16:00Z"));
        let due = |catch_up| -> Vec<String> { schedule.due(last, now, catch_up).into_iter().map(text).collect() };
        assert_eq!(due(CatchUp::Once), ["2024-06-03T12:15:00Z"]);
        assert_eq!(
            due(CatchUp::Each),
            ["2024-06-03T12:05:00Z", "2024-06-03T12:10:00Z", "2024-06-03T12:15:00Z"]
        );
        assert!(schedule.due(now, now, CatchUp::Each).is_empty());
        assert_eq!(
            schedule.due(us("2024-05-01T00:00:00Z"), now, CatchUp::Each).len(),
            MOST_MISSED
        );
    }

    #[test]
    fn what_is_no_expression_is_refused_and_what_never_is_never_fires() {
        for wrong in ["", "* * * *", "60 * * * *", "0 0 0 * * *", "soon"] {
            let error = Schedule::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("five fields"), "{error}");
        }
        assert_eq!(Schedule::parse("0 0 30 2 *").unwrap().next_after(0), None);
        assert_eq!(Schedule::parse("0 17 * * 1-5").unwrap().text(), "0 17 * * 1-5");
    }
}

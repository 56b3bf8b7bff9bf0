//! The trading calendar of the New York Stock Exchange: which days are sessions, and from when to when.
//!
//! Dates are days since 1970-01-01 in New York, instants microseconds since 1970-01-01 UTC. The calendar is data
//! (`data/nyse-2020-2030.txt`), which a configuration may replace; a year that it does not know is an error and never a guess.

mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use jiff::civil::Date;

pub use self::parse::CalendarError;
use crate::fingerprint::Fingerprint;
use crate::new_york;

const MINUTE_US: i64 = 60_000_000;
/// Microseconds from midnight to the opening, 09:30.
const OPEN_US: i64 = (9 * 60 + 30) * MINUTE_US;
/// Microseconds from midnight to the close, 16:00.
const CLOSE_US: i64 = 16 * 60 * MINUTE_US;
/// What comes so long after a day's end still belongs to its final rows.
const LATENESS_US: i64 = 15 * MINUTE_US;
/// Microseconds from midnight to the end of the lateness after 17:00.
const FINAL_US: i64 = 17 * 60 * MINUTE_US + LATENESS_US;
/// The calendar that is part of the program.
const NYSE: &str = include_str!("../../data/nyse-2020-2030.txt");

static BUILT_IN: LazyLock<Calendar> =
    LazyLock::new(|| Calendar::parse(NYSE).expect("the built-in calendar is sound, as a test shows"));

/// Sessions, holidays and early closes of some years.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    version: String,
    years: (i16, i16),
    days: (i32, i32),
    holidays: BTreeMap<i32, String>,
    /// Microseconds from midnight to the close.
    early_closes: BTreeMap<i32, i64>,
}

/// One day's trading hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The date.
    pub day: i32,
    /// First instant of trading.
    pub open_us: i64,
    /// First instant after it.
    pub close_us: i64,
    /// Whether it closes before 16:00.
    pub is_early_close: bool,
}

/// What a calendar day is. Shown as `session`, `early close`, `weekend` or `holiday: NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayKind<'a> {
    /// A trading day.
    Session(Session),
    /// A Saturday or Sunday.
    Weekend,
    /// A Monday to Friday without trading, with its name.
    Holiday(&'a str),
}

impl fmt::Display for DayKind<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(session) if session.is_early_close => formatter.write_str("early close"),
            Self::Session(_) => formatter.write_str("session"),
            Self::Weekend => formatter.write_str("weekend"),
            Self::Holiday(name) => write!(formatter, "holiday: {name}"),
        }
    }
}

/// A day of a year that the calendar does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is beyond the trading calendar, which knows {first_year} to {last_year}", DayText(*day))]
pub struct UnknownYear {
    /// The date.
    pub day: i32,
    /// First year of the calendar.
    pub first_year: i16,
    /// Last year of the calendar.
    pub last_year: i16,
}

struct DayText(i32);

impl fmt::Display for DayText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = jiff::Span::new().try_days(self.0);
        match date.and_then(|days| Date::constant(1970, 1, 1).checked_add(days)) {
            Ok(date) => date.fmt(formatter),
            Err(_) => write!(formatter, "day {} since 1970-01-01", self.0),
        }
    }
}

/// Days since 1970-01-01.
fn day_of(date: Date) -> i32 {
    // Dates have years of four digits.
    (date.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24) as i32
}

/// Whether a day is a Saturday or a Sunday. 1970-01-01 was a Thursday.
fn is_weekend(day: i32) -> bool {
    (i64::from(day) + 3).rem_euclid(7) >= 5
}

impl Calendar {
    /// The New York Stock Exchange from 2020 to 2030.
    pub fn nyse() -> &'static Self {
        &BUILT_IN
    }

    /// Reads a calendar in the form of `data/nyse-2020-2030.txt`.
    ///
    /// # Errors
    /// The first line that is wrong, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, CalendarError> {
        parse::parse(text)
    }

    /// The version that its author gave it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// First and last date that it knows.
    pub fn days(&self) -> (i32, i32) {
        self.days
    }

    /// A fingerprint of all that it says, an input of what is derived by it. Version, comments and the order of lines do not count.
    pub fn hash(&self) -> Fingerprint {
        let head = [OPEN_US, CLOSE_US, i64::from(self.days.0), i64::from(self.days.1)];
        let hash = head
            .iter()
            .fold(Fingerprint::EMPTY.with_text("calendar"), |hash, number| {
                hash.with_number(i128::from(*number))
            });
        let hash = hash.with_number(self.holidays.len() as i128);
        let hash = self.holidays.iter().fold(hash, |hash, (day, name)| {
            hash.with_number(i128::from(*day)).with_text(name)
        });
        self.early_closes.iter().fold(hash, |hash, (day, close_us)| {
            hash.with_number(i128::from(*day)).with_number(i128::from(*close_us))
        })
    }

    /// What kind of day this is.
    ///
    /// # Errors
    /// A day beyond the calendar's years.
    pub fn day(&self, day: i32) -> Result<DayKind<'_>, UnknownYear> {
        if day < self.days.0 || day > self.days.1 {
            return Err(UnknownYear {
                day,
                first_year: self.years.0,
                last_year: self.years.1,
            });
        }
        if is_weekend(day) {
            return Ok(DayKind::Weekend);
        }
        if let Some(name) = self.holidays.get(&day) {
            return Ok(DayKind::Holiday(name));
        }
        let early_us = self.early_closes.get(&day);
        Ok(DayKind::Session(Session {
            day,
            open_us: new_york::instant(day, OPEN_US),
            close_us: new_york::instant(day, *early_us.unwrap_or(&CLOSE_US)),
            is_early_close: early_us.is_some(),
        }))
    }

    /// The instant from which on what is derived of a day is final: 17:15 of a session, an hour and a quarter after the close of most and
    /// a quarter after the schedule; a quarter past midnight where there is no trading.
    ///
    /// # Errors
    /// A day beyond the calendar's years.
    pub fn final_us(&self, day: i32) -> Result<i64, UnknownYear> {
        Ok(match self.session(day)? {
            Some(_) => new_york::instant(day, FINAL_US),
            None => new_york::instant(day.saturating_add(1), LATENESS_US),
        })
    }

    /// The day's session; `None` where there is no trading.
    ///
    /// # Errors
    /// A day beyond the calendar's years.
    pub fn session(&self, day: i32) -> Result<Option<Session>, UnknownYear> {
        Ok(match self.day(day)? {
            DayKind::Session(session) => Some(session),
            DayKind::Weekend | DayKind::Holiday(_) => None,
        })
    }

    /// The first session after a day.
    ///
    /// # Errors
    /// When the calendar ends before it.
    pub fn next_session(&self, day: i32) -> Result<Session, UnknownYear> {
        self.nearest(day, 1)
    }

    /// The last session before a day.
    ///
    /// # Errors
    /// When the calendar begins after it.
    pub fn previous_session(&self, day: i32) -> Result<Session, UnknownYear> {
        self.nearest(day, -1)
    }

    /// All sessions from `first` to `last`, both included; none where `last` is before `first`.
    ///
    /// # Errors
    /// When one of the two is beyond the calendar's years.
    pub fn sessions(&self, first: i32, last: i32) -> Result<Vec<Session>, UnknownYear> {
        self.day(first)?;
        self.day(last)?;
        let days = (first..=last).map(|day| self.session(day));
        days.filter_map(Result::transpose).collect()
    }

    /// The calendar's own end is the limit of the search.
    fn nearest(&self, day: i32, step: i32) -> Result<Session, UnknownYear> {
        let mut day = day;
        loop {
            day = day.saturating_add(step);
            if let Some(session) = self.session(day)? {
                return Ok(session);
            }
        }
    }
}

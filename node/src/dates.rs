//! Ranges of dates on the command line.

use jiff::civil::Date;
use tapehouse_core::calendar::Calendar;

/// Two dates, both included, in days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateRange {
    /// The first.
    pub first: i32,
    /// The last.
    pub last: i32,
}

/// Reads `2024-06-24..2024-07-09`.
///
/// # Errors
/// What it must be.
pub fn parse_range(text: &str) -> Result<DateRange, String> {
    let expected = || "must be two dates, both included, like 2024-06-24..2024-07-09".to_owned();
    let (first, last) = text.split_once("..").ok_or_else(expected)?;
    let day = |text: &str| parse_day(text).map_err(|_| expected());
    let range = DateRange {
        first: day(first)?,
        last: day(last)?,
    };
    if range.last < range.first {
        return Err("the last date is before the first".to_owned());
    }
    Ok(range)
}

/// Reads `2024-07-05`: days since 1970-01-01.
///
/// # Errors
/// What it must be.
pub fn parse_day(text: &str) -> Result<i32, String> {
    let date = text.trim().parse::<Date>();
    date.map(days_since_1970)
        .map_err(|_| "must be a date like 2024-07-05".to_owned())
}

/// The trading days of a range; none where the calendar does not know them.
pub fn sessions(range: DateRange) -> Vec<i32> {
    let sessions = Calendar::nyse().sessions(range.first, range.last).unwrap_or_default();
    sessions.iter().map(|session| session.day).collect()
}

fn days_since_1970(date: Date) -> i32 {
    // A civil date is within some 10,000 years.
    (date.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let range = parse_range("2024-06-24..2024-07-09").unwrap();
        assert_eq!((range.first, range.last), (19_898, 19_913));
        // A weekend twice, and Independence Day.
        assert_eq!(sessions(range).len(), 11);
        assert_eq!(parse_range("2024-06-24..2024-06-24").map(sessions), Ok(vec![19_898]));
        for bad in [
            "2024-06-24",
            "2024-06-24..",
            "2024-07-09..2024-06-24",
            "24.6.2024..9.7.2024",
            "2024-02-30..2024-03-01",
        ] {
            assert!(parse_range(bad).is_err(), "{bad}");
        }
    }
}

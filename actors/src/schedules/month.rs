//! Calendar months.

use std::fmt;

use jiff::civil::Date;

/// A month, by its first and last day since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Month {
    pub(super) first: i32,
    pub(super) last: i32,
    year: i16,
    month: i8,
}

impl Month {
    /// The month before the one of this day.
    pub(super) fn before(day: i32) -> Self {
        let epoch = Date::constant(1970, 1, 1);
        let date = jiff::Span::new().try_days(day).and_then(|days| epoch.checked_add(days));
        // Dates beyond the year 9999 come from no clock.
        let last = date.map_or(epoch, |date| date.first_of_month().yesterday().unwrap_or(epoch));
        let since_epoch = |date: Date| (date.duration_since(epoch).as_hours() / 24) as i32;
        Self {
            first: since_epoch(last.first_of_month()),
            last: since_epoch(last),
            year: last.year(),
            month: last.month(),
        }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04}-{:02}", self.year, self.month)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_month_before_is_that_of_the_year_before_in_january() {
        // 2024-03-01, 2024-03-31 and 2024-01-15.
        for (day, first, last, text) in [
            (19_783, 19_754, 19_782, "2024-02"),
            (19_813, 19_754, 19_782, "2024-02"),
            (19_737, 19_692, 19_722, "2023-12"),
        ] {
            let month = Month::before(day);
            assert_eq!(
                (month.first, month.last, month.to_string().as_str()),
                (first, last, text)
            );
        }
    }
}

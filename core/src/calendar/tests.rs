use jiff::civil::{Date, Weekday, date};

use super::*;

const HOUR_US: i64 = 3_600_000_000;

fn day(text: &str) -> i32 {
    day_of(text.parse().unwrap())
}

fn kind(text: &str) -> String {
    Calendar::nyse().day(day(text)).unwrap().to_string()
}

/// The exchange's rules, from its rule 7.2 and its notices, written down apart from the data.
mod rules {
    use super::*;

    /// The n-th weekday of a month; the last where n is -1.
    fn nth(year: i16, month: i8, n: i8, weekday: Weekday) -> Date {
        date(year, month, 1).nth_weekday_of_month(n, weekday).unwrap()
    }

    /// Two days before Easter, by the algorithm of Meeus, Jones and Butcher.
    fn good_friday(year: i16) -> Date {
        let y = i32::from(year);
        let (a, b, c) = (y % 19, y / 100, y % 100);
        let h = (19 * a + b - b / 4 - (b - (b + 8) / 25 + 1) / 3 + 15) % 30;
        let l = (32 + 2 * (b % 4) + 2 * (c / 4) - h - c % 4) % 7;
        let m = (a + 11 * h + 22 * l) / 451;
        let (month, day) = ((h + l - 7 * m + 114) / 31, (h + l - 7 * m + 114) % 31 + 1);
        let easter = date(year, month as i8, day as i8);
        easter.yesterday().unwrap().yesterday().unwrap()
    }

    /// The weekday on which a fixed date is kept.
    fn kept(date: Date) -> Date {
        match date.weekday() {
            Weekday::Saturday => date.yesterday().unwrap(),
            Weekday::Sunday => date.tomorrow().unwrap(),
            _ => date,
        }
    }

    pub(super) fn holidays(year: i16) -> Vec<Date> {
        let mut days = vec![
            nth(year, 1, 3, Weekday::Monday),
            nth(year, 2, 3, Weekday::Monday),
            good_friday(year),
            nth(year, 5, -1, Weekday::Monday),
            kept(date(year, 7, 4)),
            nth(year, 9, 1, Weekday::Monday),
            nth(year, 11, 4, Weekday::Thursday),
            kept(date(year, 12, 25)),
        ];
        // On a Saturday it would fall into the old year, whose last trading day it must not take.
        days.extend(Some(kept(date(year, 1, 1))).filter(|kept| kept.year() == year));
        days.extend((year >= 2022).then(|| kept(date(year, 6, 19))));
        days.extend((year == 2025).then(|| date(2025, 1, 9)));
        days.sort_unstable();
        days
    }

    pub(super) fn early_closes(year: i16) -> Vec<Date> {
        let eve = |month, day| {
            let eve = date(year, month, day);
            // From Monday to Thursday: on a Friday the holiday itself is kept.
            (eve.weekday().to_monday_zero_offset() < 4).then_some(eve)
        };
        let after_thanksgiving = nth(year, 11, 4, Weekday::Thursday).tomorrow().unwrap();
        [eve(7, 3), Some(after_thanksgiving), eve(12, 24)]
            .into_iter()
            .flatten()
            .collect()
    }
}

#[test]
fn the_data_follows_the_exchanges_rules() {
    let calendar = Calendar::nyse();
    let (mut holidays, mut early_closes) = (Vec::new(), Vec::new());
    for year in 2020..=2030 {
        holidays.extend(rules::holidays(year).into_iter().map(day_of));
        early_closes.extend(rules::early_closes(year).into_iter().map(day_of));
    }
    assert!(calendar.holidays.keys().copied().eq(holidays));
    assert!(calendar.early_closes.keys().copied().eq(early_closes));
    assert!(calendar.early_closes.values().all(|close_us| *close_us == 13 * HOUR_US));
    let (first, last) = calendar.days();
    assert_eq!((first, last), (day("2020-01-01"), day("2030-12-31")));
    assert_eq!(calendar.sessions(first, last).unwrap().len(), 2_763);
    // Each year has 250 to 253.
    for year in 2020..=2030 {
        let sessions = calendar.sessions(day_of(date(year, 1, 1)), day_of(date(year, 12, 31)));
        assert!((250..=253).contains(&sessions.unwrap().len()), "{year}");
    }
}

#[test]
fn days_that_are_easily_wrong() {
    for (text, expected) in [
        ("2025-01-09", "holiday: National Day of Mourning for President Carter"),
        ("2021-06-18", "session"),
        ("2022-06-20", "holiday: Juneteenth"),
        ("2021-12-31", "session"),
        ("2027-12-31", "session"),
        ("2023-01-02", "holiday: New Year's Day"),
        ("2022-01-01", "weekend"),
        ("2024-03-29", "holiday: Good Friday"),
        ("2024-07-03", "early close"),
        ("2020-07-02", "session"),
        ("2020-07-03", "holiday: Independence Day"),
        ("2022-07-01", "session"),
        ("2024-11-29", "early close"),
        ("2021-12-24", "holiday: Christmas Day"),
        ("2021-12-23", "session"),
        ("2022-12-23", "session"),
        ("2024-12-24", "early close"),
        ("2024-06-30", "weekend"),
    ] {
        assert_eq!(kind(text), expected, "{text}");
    }
}

#[test]
fn hours_of_a_session_follow_the_clock() {
    let calendar = Calendar::nyse();
    let of = |text: &str| calendar.session(day(text)).unwrap().unwrap();
    // 14:30 to 21:00 UTC in winter, 13:30 to 20:00 in summer: instants from GNU date.
    let winter = of("2024-03-08");
    assert_eq!(
        (winter.open_us, winter.close_us),
        (1_709_908_200_000_000, 1_709_931_600_000_000)
    );
    let summer = of("2024-03-11");
    assert_eq!(
        (summer.open_us, summer.close_us),
        (1_710_163_800_000_000, 1_710_187_200_000_000)
    );
    let half = of("2024-07-03");
    assert_eq!(
        (half.open_us, half.close_us),
        (1_720_013_400_000_000, 1_720_026_000_000_000)
    );
    assert!(half.is_early_close && !summer.is_early_close);
    assert_eq!(calendar.session(day("2024-07-04")).unwrap(), None);
}

#[test]
fn neighbours_skip_what_is_no_session() {
    let calendar = Calendar::nyse();
    let next = |text: &str| calendar.next_session(day(text)).map(|session| session.day);
    let previous = |text: &str| calendar.previous_session(day(text)).map(|session| session.day);
    assert_eq!(next("2024-07-03"), Ok(day("2024-07-05")));
    assert_eq!(next("2024-07-05"), Ok(day("2024-07-08")));
    assert_eq!(previous("2024-07-08"), Ok(day("2024-07-05")));
    assert_eq!(previous("2024-07-07"), Ok(day("2024-07-05")));
    // From Thursday over Good Friday and the weekend.
    assert_eq!(next("2024-03-28"), Ok(day("2024-04-01")));
    // The day before the calendar begins is no session that it knows, but one may ask from there.
    assert_eq!(next("2019-12-31"), Ok(day("2020-01-02")));
    assert!(next("2030-12-31").is_err());
    assert!(previous("2020-01-02").is_err());
    let days: Vec<i32> = calendar
        .sessions(day("2024-06-29"), day("2024-07-08"))
        .unwrap()
        .iter()
        .map(|s| s.day)
        .collect();
    let expected = ["2024-07-01", "2024-07-02", "2024-07-03", "2024-07-05", "2024-07-08"].map(day);
    assert_eq!(days, expected);
    assert_eq!(calendar.sessions(day("2024-07-08"), day("2024-07-01")), Ok(Vec::new()));
    assert!(calendar.sessions(day("2024-07-08"), day("2031-01-01")).is_err());
}

#[test]
fn an_unknown_year_is_an_error() {
    for text in ["2019-12-31", "2031-01-01"] {
        let error = Calendar::nyse().day(day(text)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{text} is beyond the trading calendar, which knows 2020 to 2030")
        );
    }
    for day in [i32::MIN, i32::MAX] {
        assert!(
            Calendar::nyse()
                .day(day)
                .unwrap_err()
                .to_string()
                .contains("since 1970-01-01")
        );
        assert!(Calendar::nyse().next_session(day).is_err());
    }
}

const SMALL: &str = "version 1\nyears 2024 2024\nholiday 2024-07-04 Independence Day\nearly_close 2024-07-03 13:00\n";

#[test]
fn the_hash_is_of_what_it_says() {
    let hash = |text: &str| Calendar::parse(text).unwrap().hash();
    let small = hash(SMALL);
    // A change of this value means that all gold is computed anew: it must be on purpose.
    assert_eq!(Calendar::nyse().hash().to_string(), "d05365da955381c98a07fd1b735c931d");
    let shuffled = "# A comment.\nearly_close  2024-07-03 13:00\r\nyears 2024 2024\n\nholiday 2024-07-04\tIndependence Day\nversion 2";
    assert_eq!(hash(shuffled), small);
    for (from, to) in [
        ("13:00", "13:01"),
        ("2024-07-03", "2024-07-02"),
        ("2024-07-04", "2024-07-05"),
        ("years 2024 2024", "years 2024 2025"),
        ("Independence", "independence"),
        ("holiday 2024-07-04 Independence Day\n", ""),
        ("early_close 2024-07-03 13:00\n", ""),
    ] {
        assert_ne!(hash(&SMALL.replace(from, to)), small, "{from} -> {to}");
    }
}

/// What is replaced in the small calendar, by what, and what is said then.
const MISTAKES: [(&str, &str, &str); 15] = [
    (
        "holiday 2024",
        "holyday 2024",
        "line 3, key: \"holyday\" is none of version, years, holiday, early_close",
    ),
    (
        "version 1",
        "version",
        "line 1, version: 1 to 100 characters are wanted, not \"\"",
    ),
    (
        "years 2024 2024",
        "years 2024",
        "line 2, years: a first and a last year are wanted, not \"2024\"",
    ),
    (
        "2024 2024",
        "2025 2024",
        "line 2, years: ascending years are wanted, at most 200 of them, not \"2025 2024\"",
    ),
    (
        "2024 2024",
        "1 9999",
        "line 2, years: ascending years are wanted, at most 200 of them, not \"1 9999\"",
    ),
    (
        "years 2024 2024",
        "years 2025 2026",
        "line 4, date: not within the years 2025 to 2026",
    ),
    ("version 1", "years 2024 2024", "line 2, key: a second line `years`"),
    (
        "2024-07-04",
        "20240704",
        "line 3, date: YYYY-MM-DD is wanted, not \"20240704\"",
    ),
    (
        "2024-07-04",
        "2024-02-30",
        "line 3, date: YYYY-MM-DD is wanted, not \"2024-02-30\"",
    ),
    (
        "2024-07-04",
        "2024-07-06",
        "line 3, date: 2024-07-06 is a weekend, when there is no trading anyway",
    ),
    (
        "2024-07-03",
        "2024-07-04",
        "line 4, date: line 3 has 2024-07-04 already",
    ),
    (
        " Independence Day",
        "",
        "line 3, name: 1 to 100 characters are wanted, not \"\"",
    ),
    (
        "13:00",
        "16:00",
        "line 4, time: HH:MM after 09:30 and before 16:00 is wanted, not \"16:00\"",
    ),
    (
        "13:00",
        "1:00",
        "line 4, time: HH:MM after 09:30 and before 16:00 is wanted, not \"1:00\"",
    ),
    (
        "13:00",
        "12:60",
        "line 4, time: HH:MM after 09:30 and before 16:00 is wanted, not \"12:60\"",
    ),
];

#[test]
fn mistakes_have_a_line_and_a_field() {
    for (from, to, expected) in MISTAKES {
        let error = Calendar::parse(&SMALL.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.to_string(), format!("trading calendar, {expected}"));
    }
    assert_eq!(Calendar::parse(""), Err(CalendarError::Missing("version TEXT")));
    assert_eq!(
        Calendar::parse("version 1"),
        Err(CalendarError::Missing("years FIRST LAST"))
    );
}

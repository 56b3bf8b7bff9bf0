//! The calendar's text: a line a fact, so that a mistake has a line number.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use jiff::civil::Date;

use super::{CLOSE_US, Calendar, MINUTE_US, OPEN_US, day_of, is_weekend};

/// Years that one calendar may span.
const MAX_YEARS: i16 = 200;
/// Characters of a version or a holiday's name.
const MAX_WORDS_CHARS: usize = 100;

/// Why a text is no calendar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// A line is wrong.
    #[error("trading calendar, line {line}, {field}: {reason}")]
    Line {
        /// From 1.
        line: usize,
        /// Which part of the line.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A line that has to be there is not.
    #[error("trading calendar: no line `{0}`")]
    Missing(&'static str),
}

/// A part of a line and what is wrong with it.
type Wrong = (&'static str, String);

/// What was read so far. Facts about days wait for the years.
#[derive(Default)]
struct Draft {
    version: Option<String>,
    years: Option<(i16, i16)>,
    /// By day: the line and the fact.
    facts: BTreeMap<i32, (usize, Fact)>,
}

enum Fact {
    Holiday(String),
    EarlyClose(i64),
}

pub(super) fn parse(text: &str) -> Result<Calendar, CalendarError> {
    let mut draft = Draft::default();
    for (at, line) in text.lines().enumerate() {
        let (line, content) = (at + 1, line.trim());
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let wrong = |(field, reason)| CalendarError::Line { line, field, reason };
        read(&mut draft, line, content).map_err(wrong)?;
    }
    finish(draft)
}

fn read(draft: &mut Draft, line: usize, content: &str) -> Result<(), Wrong> {
    let (key, rest) = split(content);
    match key {
        "version" if draft.version.is_none() => draft.version = Some(words("version", rest)?),
        "years" if draft.years.is_none() => draft.years = Some(years(rest)?),
        "version" | "years" => return Err(("key", format!("a second line `{key}`"))),
        "holiday" => {
            let (day, name) = split(rest);
            let name = words("name", name)?;
            fact(draft, line, day, Fact::Holiday(name))?;
        }
        "early_close" => {
            let (day, time) = split(rest);
            let close_us = time_of_day(time)?;
            fact(draft, line, day, Fact::EarlyClose(close_us))?;
        }
        _ => {
            let known = "version, years, holiday, early_close";
            return Err(("key", format!("{key:?} is none of {known}")));
        }
    }
    Ok(())
}

fn split(text: &str) -> (&str, &str) {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (first, rest.trim())
}

fn words(field: &'static str, text: &str) -> Result<String, Wrong> {
    if text.is_empty() || text.chars().count() > MAX_WORDS_CHARS || text.chars().any(char::is_control) {
        return Err((
            field,
            format!("1 to {MAX_WORDS_CHARS} characters are wanted, not {text:?}"),
        ));
    }
    Ok(text.to_owned())
}

fn years(text: &str) -> Result<(i16, i16), Wrong> {
    let wrong = |reason: &str| ("years", format!("{reason}, not {text:?}"));
    let (first, last) = split(text);
    let year = |text: &str| text.parse().ok().filter(|year| (1..=9999).contains(year));
    let (Some(first), Some(last)) = (year(first), year(last)) else {
        return Err(wrong("a first and a last year are wanted"));
    };
    let (first, last): (i16, i16) = (first, last);
    if last < first || last - first >= MAX_YEARS {
        return Err(wrong(&format!(
            "ascending years are wanted, at most {MAX_YEARS} of them"
        )));
    }
    Ok((first, last))
}

fn fact(draft: &mut Draft, line: usize, day: &str, fact: Fact) -> Result<(), Wrong> {
    let date: Option<Date> = day.parse().ok();
    // The reader takes other forms too; one is enough.
    let Some(date) = date.filter(|date| date.to_string() == day) else {
        return Err(("date", format!("YYYY-MM-DD is wanted, not {day:?}")));
    };
    if is_weekend(day_of(date)) {
        return Err(("date", format!("{day} is a weekend, when there is no trading anyway")));
    }
    match draft.facts.entry(day_of(date)) {
        Entry::Occupied(before) => Err(("date", format!("line {} has {day} already", before.get().0))),
        Entry::Vacant(entry) => {
            entry.insert((line, fact));
            Ok(())
        }
    }
}

/// `HH:MM`, in microseconds since midnight, within the regular hours.
fn time_of_day(text: &str) -> Result<i64, Wrong> {
    let wrong = || {
        (
            "time",
            format!("HH:MM after 09:30 and before 16:00 is wanted, not {text:?}"),
        )
    };
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let number = |digits: &str, end: i64| {
        let is_plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<i64>().ok().filter(|number| is_plain && *number < end)
    };
    let (Some(hours), Some(minutes)) = (number(hours, 24), number(minutes, 60)) else {
        return Err(wrong());
    };
    let time_us = (hours * 60 + minutes) * MINUTE_US;
    match OPEN_US < time_us && time_us < CLOSE_US {
        true => Ok(time_us),
        false => Err(wrong()),
    }
}

fn finish(draft: Draft) -> Result<Calendar, CalendarError> {
    let version = draft.version.ok_or(CalendarError::Missing("version TEXT"))?;
    let years = draft.years.ok_or(CalendarError::Missing("years FIRST LAST"))?;
    let days = (
        day_of(jiff::civil::date(years.0, 1, 1)),
        day_of(jiff::civil::date(years.1, 12, 31)),
    );
    let (mut holidays, mut early_closes) = (BTreeMap::new(), BTreeMap::new());
    for (day, (line, fact)) in draft.facts {
        if day < days.0 || day > days.1 {
            return Err(CalendarError::Line {
                line,
                field: "date",
                reason: format!("not within the years {} to {}", years.0, years.1),
            });
        }
        match fact {
            Fact::Holiday(name) => {
                holidays.insert(day, name);
            }
            Fact::EarlyClose(close_us) => {
                early_closes.insert(day, close_us);
            }
        }
    }
    Ok(Calendar {
        version,
        years,
        days,
        holidays,
        early_closes,
    })
}

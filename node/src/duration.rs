//! Durations on the command line: `500ms`, `30s`, `5m`, `2h`.

use std::time::Duration;

/// Reads a duration.
///
/// # Errors
/// A text for people.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unknown unit `{unit}`: 500ms, 30s, 5m or 2h")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "must be like 500ms, 30s, 5m or 2h".to_owned())?;
    Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse("3"), Ok(Duration::from_secs(3)));
        for bad in ["", "s", "3d", "-1s", "1e9h"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

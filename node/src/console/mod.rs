//! What people and programs see: results on stdout, everything else on stderr.

mod live;
pub mod logs;
mod style;
mod table;

use std::io::{self, Write as _};

use clap::ValueEnum;

pub use live::Live;
pub use style::Style;
pub use table::{Align, Table};

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Aligned columns, for people.
    #[default]
    Table,
    /// JSON, for programs.
    Json,
}

/// Writes `text` and a newline to stdout. A reader that has gone away (`| head`) is no error.
pub fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush());
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        tracing::warn!(%error, "stdout cannot be written");
    }
}

/// Writes a line to stderr, for what is neither a result nor a log line.
pub fn note(text: &str) {
    // Nothing can be told where stderr is gone.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes `value` as indented JSON.
pub fn print_json(value: &serde_json::Value) {
    print(&format!("{value:#}"));
}

/// `number` with a thin separator every three digits: 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `bytes` in the largest binary unit that leaves at least 1.
pub fn sized(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// How long ago `then_ms` is, seen from `now_ms` (both milliseconds since 1970-01-01 UTC).
pub fn ago(then_ms: i64, now_ms: i64) -> String {
    let seconds = now_ms.saturating_sub(then_ms).max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// `time_ms` as RFC 3339 in UTC.
pub fn rfc3339(time_ms: i64) -> Option<String> {
    jiff::Timestamp::from_millisecond(time_ms)
        .ok()
        .map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(sized(1023), "1023 B");
        assert_eq!(sized(1536), "1.5 KiB");
        assert_eq!(sized(3 << 30), "3.0 GiB");
        assert_eq!(ago(0, 5_000), "5 s ago");
        assert_eq!(ago(0, 600_000), "10 min ago");
        assert_eq!(rfc3339(0).as_deref(), Some("1970-01-01T00:00:00Z"));
    }
}

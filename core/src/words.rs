//! Words of others in messages of ours.

/// The first `max_chars` characters of `text`, in one line: a server's words are shown on terminals and in logs, and neither forge
/// a line there nor fill it.
pub fn one_line(text: &str, max_chars: usize) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(max_chars).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_line_and_no_end() {
        assert_eq!(
            one_line("no\n2026 INFO well \u{1b}[31m", 100),
            "no 2026 INFO well  [31m"
        );
        assert_eq!(one_line(&"\u{e4}".repeat(100), 3).chars().count(), 3);
    }
}

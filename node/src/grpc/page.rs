//! Pages of a list. A token names the first element of the next page, so that it stays right while the list grows.

use std::ops::Range;

use super::refusal::Refusal;

/// Marks a token as ours; anything else is refused.
const PREFIX: &str = "v1:";

/// Which elements of `names` to answer with, and the token of the next page, empty at the end. `size` 0 means `largest`.
///
/// # Errors
/// A token that is none, or whose element is gone from a list that is not sorted.
pub fn page(names: &[String], size: u32, largest: usize, token: &str) -> Result<(Range<usize>, String), Refusal> {
    let size = match usize::try_from(size) {
        Ok(0) => largest,
        Ok(size) => size.min(largest),
        Err(_) => largest,
    };
    let start = if token.is_empty() { 0 } else { start(names, token)? };
    let end = start.saturating_add(size).min(names.len());
    let next = names
        .get(end)
        .map_or(String::new(), |name| format!("{PREFIX}{}", hex(name)));
    Ok((start..end, next))
}

fn start(names: &[String], token: &str) -> Result<usize, Refusal> {
    let refused = || Refusal::invalid("page_token is not one of this list: begin again without it");
    let first = token.strip_prefix(PREFIX).and_then(unhex).ok_or_else(refused)?;
    if let Some(position) = names.iter().position(|name| *name == first) {
        return Ok(position);
    }
    // The element was removed since: a sorted list goes on behind it.
    if names.is_sorted() {
        return Ok(names.partition_point(|name| *name < first));
    }
    Err(refused())
}

/// Hexadecimal: opaque, and safe in any shell.
fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<String> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    String::from_utf8(pairs.iter().map(|[high, low]| high << 4 | low).collect()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.chars().map(String::from).collect()
    }

    /// All pages, one after the other.
    fn walk(names: &[String], size: u32) -> Vec<Range<usize>> {
        let (mut token, mut pages) = (String::new(), Vec::new());
        loop {
            let (range, next) = page(names, size, 100, &token).unwrap();
            pages.push(range);
            if next.is_empty() {
                return pages;
            }
            token = next;
        }
    }

    #[test]
    fn pages_cover_the_list_once() {
        assert_eq!(walk(&names("abcde"), 2), [0..2, 2..4, 4..5]);
        assert_eq!(walk(&names("ca"), 1), [0..1, 1..2]);
        assert_eq!(walk(&names("abc"), 0).first(), Some(&(0..3)));
        assert_eq!(walk(&[], 5).first(), Some(&(0..0)));
        assert_eq!(page(&names("abc"), u32::MAX, 2, "").unwrap().0, 0..2);
    }

    #[test]
    fn a_list_that_changes() {
        let (_, token) = page(&names("abcd"), 2, 100, "").unwrap();
        assert_eq!(page(&names("abd"), 2, 100, &token).unwrap().0, 2..3);
        assert_eq!(page(&names("aabbcd"), 2, 100, &token).unwrap().0, 4..6);
    }

    #[test]
    fn tokens_that_are_none() {
        for token in ["c", "v1:", "v1:6", "v1:zz", "v2:63", "v1:ff"] {
            let list = names("zac");
            assert!(page(&list, 1, 100, token).is_err(), "{token}");
        }
    }
}

//! Symbols and sides.

use arrow_array::builder::StringBuilder;
use arrow_array::{Array, StringArray};
use arrow_buffer::NullBuffer;

/// Symbols trimmed and in upper case, blank ones null.
pub(super) fn symbols(received: &StringArray) -> StringArray {
    if are_symbols(received) {
        return received.clone();
    }
    let mut symbols = StringBuilder::with_capacity(received.len(), received.value_data().len());
    let mut scratch = String::new();
    for received in received {
        let symbol = received.unwrap_or_default().trim();
        if symbol.is_empty() {
            symbols.append_null();
        } else if symbol.is_ascii() {
            scratch.clear();
            scratch.push_str(symbol);
            scratch.make_ascii_uppercase();
            symbols.append_value(&scratch);
        } else {
            symbols.append_value(symbol.to_uppercase());
        }
    }
    symbols.finish()
}

/// Whether all are as [`symbols`] would make them: nearly always, and one look at all bytes says so.
fn are_symbols(received: &StringArray) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !byte.is_ascii_lowercase();
    let offsets = received.value_offsets();
    let (start, end) = (offsets[0] as usize, offsets[received.len()] as usize);
    let bytes = &received.value_data()[start..end];
    bytes.iter().fold(true, |all, byte| all & is_plain(byte))
        && (0..received.len()).all(|row| received.value_length(row) > 0 || received.is_null(row))
}

/// Whether a text says nothing.
pub(super) fn is_blank(texts: &StringArray, row: usize) -> bool {
    texts.is_null(row) || texts.value(row).trim().is_empty()
}

/// Sides as BUY and SELL, unknown ones null.
pub(super) fn sides(received: &StringArray) -> StringArray {
    let is_side = |row| matches!(received.value(row), BUY | SELL);
    if received.null_count() == 0 && (0..received.len()).all(is_side) {
        return received.clone();
    }
    received.iter().map(|received| side(received?)).collect()
}

/// The sides, unknown ones as they were received: those that a decision takes in.
pub(super) fn or_received(sides: &StringArray, received: &StringArray) -> StringArray {
    sides
        .iter()
        .zip(received)
        .map(|(side, received)| side.or(received))
        .collect()
}

const BUY: &str = "BUY";
const SELL: &str = "SELL";

fn side(received: &str) -> Option<&'static str> {
    let received = received.trim();
    [BUY, SELL].into_iter().find(|side| side.eq_ignore_ascii_case(received))
}

/// Which of a trade's values were missing; null where none was.
pub(super) fn review_reasons(prices: Option<&NullBuffer>, symbols: Option<&NullBuffer>, rows: usize) -> StringArray {
    let is_null = |nulls: Option<&NullBuffer>, row| nulls.is_some_and(|nulls| nulls.is_null(row));
    if [prices, symbols]
        .iter()
        .all(|nulls| nulls.is_none_or(|nulls| nulls.null_count() == 0))
    {
        return StringArray::new_null(rows);
    }
    let reason = |row| match (is_null(prices, row), is_null(symbols, row)) {
        (false, false) => None,
        (true, false) => Some("null_price"),
        (false, true) => Some("null_symbol"),
        (true, true) => Some("null_price, null_symbol"),
    };
    (0..rows).map(reason).collect()
}

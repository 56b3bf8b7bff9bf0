//! Fingerprints of states that others rest on: stable over versions of the program and machines.
//!
//! FNV-1a with 128 bits (Fowler, Noll, Vo): it is to notice what has changed, not to withstand anybody.

use std::fmt;

const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// A fingerprint of all that was added, in its order. Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// Of nothing.
    pub const EMPTY: Self = Self(BASIS);

    /// With bytes of a fixed number.
    #[must_use]
    pub fn with_bytes(self, bytes: &[u8]) -> Self {
        let step = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        Self(bytes.iter().fold(self.0, step))
    }

    /// With a text and its length, so that what is cut elsewhere differs.
    #[must_use]
    pub fn with_text(self, text: &str) -> Self {
        self.with_number(text.len() as i128).with_bytes(text.as_bytes())
    }

    /// With a number.
    #[must_use]
    pub fn with_number(self, number: i128) -> Self {
        self.with_bytes(&number.to_le_bytes())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the authors' test vectors.
    #[test]
    fn known_answers() {
        let of = |bytes: &[u8]| Fingerprint::EMPTY.with_bytes(bytes).to_string();
        assert_eq!(of(b""), "6c62272e07bb014262b821756295c58d");
        assert_eq!(of(b"a"), "d228cb696f1a8caf78912b704e4a8964");
        assert_eq!(of(b"foobar"), "343e1662793c64bf6f0d3597ba446f18");
    }

    #[test]
    fn where_a_text_is_cut_counts() {
        let of = |parts: [&str; 2]| parts.iter().fold(Fingerprint::EMPTY, |hash, part| hash.with_text(part));
        assert_ne!(of(["ab", "c"]), of(["a", "bc"]));
    }
}

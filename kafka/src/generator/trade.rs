//! One trade, as compact as the memory of recent trades wants it.

use rand::Rng;
use rand::rngs::SmallRng;

/// What is wrong with fields: null, most of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nulls {
    pub id: bool,
    pub symbol: bool,
    pub price: bool,
    pub quantity: bool,
    /// The price is below 0, where it is not null.
    pub negative_price: bool,
}

/// A moved trade goes so many days at most.
const MOST_DAYS: i64 = 3;
const DAY_US: i64 = 86_400_000_000;

/// A trade by numbers: texts are looked up when it is encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trade {
    /// A UUID, version 4.
    pub id: [u8; 16],
    /// Index of the symbol.
    pub symbol: u16,
    /// Index of the trader.
    pub trader: u16,
    /// Index of the exchange on which it was executed.
    pub venue: u8,
    pub is_buy: bool,
    pub nulls: Nulls,
    pub price_ticks: i64,
    /// Shares.
    pub quantity: u32,
    pub trade_us: i64,
    pub event_us: i64,
}

impl Trade {
    /// Says that it happened some days earlier or later, but not before `first_us` nor after its event. False where no day fits.
    pub fn move_day(&mut self, first_us: i64, rng: &mut SmallRng) -> bool {
        let by_us = rng.random_range(1..=MOST_DAYS) * DAY_US;
        let (one, other) = match rng.random::<bool>() {
            true => (by_us, -by_us),
            false => (-by_us, by_us),
        };
        let fits = |by_us: &i64| (first_us..=self.event_us).contains(&(self.trade_us + by_us));
        match [one, other, -DAY_US, DAY_US].into_iter().find(fits) {
            Some(by_us) => {
                self.trade_us += by_us;
                true
            }
            None => false,
        }
    }
}

/// Writes the usual text form of a UUID.
pub(super) fn uuid_text(id: &[u8; 16]) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in id.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    text
}

/// Makes 128 random bits a UUID of version 4.
pub(super) fn uuid_v4(high: u64, low: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&high.to_be_bytes());
    id[8..].copy_from_slice(&low.to_be_bytes());
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_4_uuids_in_their_usual_form() {
        let id = uuid_v4(0x0123_4567_89ab_cdef, u64::MAX);
        let text = uuid_text(&id);
        let parsed = uuid::Uuid::try_parse_ascii(&text).unwrap();
        assert_eq!((parsed.as_bytes(), parsed.get_version_num()), (&id, 4));
        assert_eq!(std::str::from_utf8(&text).unwrap(), parsed.to_string());
    }
}

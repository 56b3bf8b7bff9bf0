//! Whole numbers of 10^-8 and 10^-16.

use super::PositionError;

/// Units of a quantity or a price in one.
pub(super) const UNITS: f64 = 1e8;
/// Units of money in one. Both are exact in 64-bit floating point.
const MONEY_UNITS: f64 = 1e16;
const UNITS_WHOLE: u128 = 100_000_000;

/// A quantity, whole numbers of 10^-8; at most 92,233,720,368 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i64);

/// A price, whole numbers of 10^-8; at most 92,233,720,368 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price(i64);

/// Money, whole numbers of 10^-16; at most 1.7 * 10^22 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(i128);

impl Quantity {
    /// The nearest to a number, half to even.
    ///
    /// # Errors
    /// Not a number, or too large.
    pub fn from_f64(number: f64) -> Result<Self, PositionError> {
        units_of(number).map(Self).ok_or(PositionError::Number("quantity"))
    }

    /// From units of 10^-8. `i64::MIN` is taken as one more: no negation overflows.
    pub fn from_units(units: i64) -> Self {
        Self(units.max(-i64::MAX))
    }

    /// Units of 10^-8.
    pub fn units(self) -> i64 {
        self.0
    }

    /// The nearest 64-bit number but for one rounding more.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / UNITS
    }
}

impl std::ops::Neg for Quantity {
    type Output = Self;

    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Price {
    /// The nearest to a number, half to even.
    ///
    /// # Errors
    /// Not a number, or too large.
    pub fn from_f64(number: f64) -> Result<Self, PositionError> {
        units_of(number).map(Self).ok_or(PositionError::Number("price"))
    }

    /// Units of 10^-8.
    pub fn units(self) -> i64 {
        self.0
    }
}

impl Money {
    /// From units of 10^-16.
    pub fn from_units(units: i128) -> Self {
        Self(units)
    }

    /// Units of 10^-16.
    pub fn units(self) -> i128 {
        self.0
    }

    /// The nearest 64-bit number but for one rounding more.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / MONEY_UNITS
    }
}

/// The units of 10^-8 nearest to a number, half to even: of the number's own bits, without a rounding before.
fn units_of(number: f64) -> Option<i64> {
    // 2^63 units are some 9.2 * 10^10; what is left has an exponent of at most 36 - 52.
    if !number.is_finite() || number.abs() >= 1e11 {
        return None;
    }
    let bits = number.abs().to_bits();
    let (exponent, fraction) = ((bits >> 52) as i32, bits & ((1 << 52) - 1));
    // number = mantissa * 2^-shift
    let (mantissa, shift) = match exponent {
        0 => (fraction, 1074),
        _ => (fraction | (1 << 52), 1075 - exponent),
    };
    let scaled = u128::from(mantissa) * UNITS_WHOLE;
    let units = match u32::try_from(shift) {
        Ok(shift @ 1..=127) => {
            let (whole, rest, half) = (scaled >> shift, scaled & ((1 << shift) - 1), 1_u128 << (shift - 1));
            whole + u128::from(rest > half || (rest == half && whole % 2 == 1))
        }
        // 80 bits shifted by more than 127 are nothing; below 10^11 nothing is shifted to the left.
        _ => 0,
    };
    let units = i64::try_from(units).ok()?;
    Some(if number < 0.0 { -units } else { units })
}

/// total * part / whole, half to even. `0 < part <= whole < 2^63`, so nothing overflows and part = whole gives the total.
pub(super) fn share(total: i128, part: i128, whole: i128) -> i128 {
    let (each, rest) = (total.div_euclid(whole), total.rem_euclid(whole));
    let product = rest * part;
    let (quotient, over) = (product / whole, product % whole);
    let floor = each * part + quotient;
    match (over * 2).cmp(&whole) {
        std::cmp::Ordering::Less => floor,
        std::cmp::Ordering::Equal => floor + floor.rem_euclid(2),
        std::cmp::Ordering::Greater => floor + 1,
    }
}

/// A quotient as a 64-bit number, within 1 unit of the last place; 0 < divisor < 2^127.
pub(super) fn quotient(number: i128, divisor: i128) -> f64 {
    let (whole, rest) = (number / divisor, number % divisor);
    whole as f64 + rest as f64 / divisor as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_the_nearest_units() {
        let cases: [(f64, Option<i64>); 17] = [
            (0.0, Some(0)),
            (-0.0, Some(0)),
            (0.1, Some(10_000_000)),
            (150.30, Some(15_030_000_000)),
            (-2.5, Some(-250_000_000)),
            (1e-8, Some(1)),
            (0.4e-8, Some(0)),
            (0.6e-8, Some(1)),
            // Ties, exact in binary: 2^-9 = 195312.5 units, 3 * 2^-9 = 585937.5.
            (0.001_953_125, Some(195_312)),
            (0.005_859_375, Some(585_938)),
            (-0.005_859_375, Some(-585_938)),
            (f64::MIN_POSITIVE, Some(0)),
            (5e-324, Some(0)),
            (92_233_720_368.0, Some(9_223_372_036_800_000_000)),
            (92_233_720_369.0, None),
            (f64::INFINITY, None),
            (f64::NAN, None),
        ];
        for (number, units) in cases {
            assert_eq!(units_of(number), units, "{number:e}");
        }
    }

    #[test]
    fn shares_are_rounded_half_to_even_on_both_sides_of_zero() {
        for (total, part, whole, expected) in [
            (10, 1, 4, 2),
            (14, 1, 4, 4),
            (-10, 1, 4, -2),
            (-14, 1, 4, -4),
            (11, 1, 4, 3),
            (-11, 1, 4, -3),
            (9, 1, 4, 2),
            (7, 3, 3, 7),
            (-7, 3, 3, -7),
            (1 << 126, (1 << 63) - 1, (1 << 63) - 1, 1 << 126),
        ] {
            assert_eq!(share(total, part, whole), expected, "{total} * {part} / {whole}");
        }
    }
}

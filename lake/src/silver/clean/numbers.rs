//! Rules and arithmetic of numbers.

use std::sync::Arc;

use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, Float64Array};

use super::levels::Levels;
use super::verdicts::Verdicts;

/// Beyond this, scaled, a double has no digits to round, and rounding would not be repeatable.
const MAX_SCALED: f64 = (1_u64 << 51) as f64;

/// Whether a number is none that a row may have.
type Holds = fn(f64) -> bool;

/// Sets aside rows with a number that is no amount: first for numbers that are not finite, then for negative ones.
pub(super) fn judge(verdicts: &mut Verdicts, numbers: &[(&str, &Float64Array)], levels: &[(&str, &Levels)]) {
    let rules: [(&'static str, Holds); 2] = [
        ("not_finite", |value| !value.is_finite()),
        ("negative", |value| value < 0.0),
    ];
    // Nearly always there is nothing to find, and one look at each number says so.
    let numbers: Vec<_> = numbers.iter().filter(|(_, column)| !are_amounts(column)).collect();
    let levels: Vec<_> = levels.iter().filter(|(_, levels)| !levels.are_amounts()).collect();
    for (rule, holds) in rules {
        for (name, column) in &numbers {
            verdicts.quarantine_where(
                rule,
                |row| column.is_valid(row) && holds(column.value(row)),
                |row| format!("{name} is {}", column.value(row)),
            );
        }
        for (name, levels) in &levels {
            verdicts.quarantine_found(
                rule,
                |row| levels.find(row, holds),
                |(level, field, value)| format!("{field} of level {level} of {name} is {value}"),
            );
        }
    }
}

/// Whether all values are finite and not negative. What stands under a null may deceive, at no harm: then rows are looked at.
pub(super) fn are_amounts(column: &Float64Array) -> bool {
    let is_amount = |value: &f64| *value >= 0.0 && *value < f64::INFINITY;
    column.values().iter().fold(true, |all, value| all & is_amount(value))
}

/// The values, null ones as 0.
pub(super) fn or_zero(column: &Float64Array) -> ArrayRef {
    match column.null_count() {
        0 => Arc::new(column.clone()),
        _ => Arc::new(column.iter().map(Option::unwrap_or_default).collect::<Float64Array>()),
    }
}

/// Rounds to decimals, half to even.
#[derive(Clone, Copy)]
pub(super) struct Rounding {
    scale: f64,
}

impl Rounding {
    pub(super) fn to_decimals(decimals: u8) -> Self {
        Self {
            scale: 10_f64.powi(i32::from(decimals)),
        }
    }

    pub(super) fn round(self, value: f64) -> f64 {
        let scaled = value * self.scale;
        match scaled.abs() < MAX_SCALED {
            true => scaled.round_ties_even() / self.scale,
            false => value,
        }
    }

    pub(super) fn all(self, column: &Float64Array) -> Float64Array {
        column.unary::<_, Float64Type>(|value| self.round(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_even_neighbour() {
        let cents = Rounding::to_decimals(2);
        // The last four are ties, or none, as their products with 100 are.
        let cases = [
            (10.001, 10.0),
            (10.004, 10.0),
            (10.006, 10.01),
            (0.125, 0.12),
            (0.375, 0.38),
            (2.5, 2.5),
            (0.0, 0.0),
            (2.675, 2.68),
            (2.665, 2.66),
            (1.005, 1.0),
            (1.015, 1.01),
        ];
        for (value, rounded) in cases {
            assert_eq!(cents.round(value), rounded, "{value}");
        }
        assert_eq!(Rounding::to_decimals(0).round(2.5), 2.0);
        assert_eq!(Rounding::to_decimals(4).round(1.000_25), 1.000_2);
    }

    #[test]
    fn what_is_rounded_stays_as_it_is() {
        let cents = Rounding::to_decimals(2);
        let mut value = 1e-5;
        while value < 1e300 {
            let once = cents.round(value);
            assert_eq!(cents.round(once), once, "{value}");
            assert!(
                (once - value).abs() <= 0.005 + value * f64::EPSILON,
                "{value} became {once}"
            );
            value *= 1.0137;
        }
        for decimals in [20, 255] {
            assert_eq!(Rounding::to_decimals(decimals).round(1.25), 1.25);
        }
    }
}

//! Sums of floating-point numbers that do not depend on the order of the numbers.
//!
//! The exact sum is kept as a few numbers that do not overlap (Shewchuk, "Adaptive Precision Floating-Point Arithmetic and Fast Robust
//! Geometric Predicates", 1997, GROW-EXPANSION), and rounded once at the end, half to even: the algorithm of Python's `math.fsum`.
//! So what is summed needs no sorting, and memory does not grow with the number of numbers.

/// The sum of all numbers added so far.
#[derive(Clone, Debug, Default)]
pub struct ExactSum {
    /// Ascending by magnitude, none of them zero, no two with overlapping bits: as many as the numbers' exponents span, at most some 40.
    parts: Vec<f64>,
    /// The plain sum of what is not finite, and of what has become so.
    overflow: f64,
}

impl ExactSum {
    /// Adds a number.
    pub fn add(&mut self, number: f64) {
        if !number.is_finite() {
            self.overflow += number;
            return;
        }
        let mut carried = number;
        let mut kept = 0;
        for at in 0..self.parts.len() {
            let part = self.parts[at];
            let (large, small) = match carried.abs() < part.abs() {
                true => (part, carried),
                false => (carried, part),
            };
            let sum = large + small;
            if !sum.is_finite() {
                self.overflow += sum;
                return;
            }
            let lost = small - (sum - large);
            if lost != 0.0 {
                self.parts[kept] = lost;
                kept += 1;
            }
            carried = sum;
        }
        self.parts.truncate(kept);
        if carried != 0.0 {
            self.parts.push(carried);
        }
    }

    /// The exact sum, rounded half to even; infinite where it is beyond the largest number.
    pub fn value(&self) -> f64 {
        if self.overflow != 0.0 {
            return self.overflow;
        }
        let mut parts = self.parts.iter().rev().copied();
        let mut high = parts.next().unwrap_or(0.0);
        let mut low = 0.0;
        for part in parts.by_ref() {
            let before = high;
            high = before + part;
            low = part - (high - before);
            if low != 0.0 {
                break;
            }
        }
        // A tie was rounded by what was seen of it; what is left says to which side it really lies.
        if let Some(rest) = parts.next()
            && ((low < 0.0 && rest < 0.0) || (low > 0.0 && rest > 0.0))
        {
            let twice = low * 2.0;
            let other = high + twice;
            if other - high == twice {
                high = other;
            }
        }
        high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(numbers: &[f64]) -> f64 {
        let mut sum = ExactSum::default();
        numbers.iter().for_each(|number| sum.add(*number));
        sum.value()
    }

    /// Expected values from Python's `math.fsum`.
    #[test]
    #[expect(clippy::float_cmp, reason = "exactly rounded sums have one right value")]
    fn sums_are_rounded_once() {
        assert_eq!(sum(&[]), 0.0);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[1e100, 1.0, -1e100, 1.0]), 2.0);
        assert_eq!(sum(&[2f64.powi(53), 1.0, 1.0]), 9_007_199_254_740_994.0);
        assert_eq!(sum(&[2f64.powi(53), 1.0, 2f64.powi(-100)]), 9_007_199_254_740_994.0);
        assert_eq!(
            sum(&[2f64.powi(53) + 2.0, 1.0, 2f64.powi(-100)]),
            9_007_199_254_740_996.0
        );
        assert_eq!(sum(&[2f64.powi(53), 1.0, -(2f64.powi(-100))]), 9_007_199_254_740_992.0);
        assert_eq!(sum(&[f64::MAX, f64::MAX]), f64::INFINITY);
        assert_eq!(sum(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(sum(&[f64::NAN, 1.0]).is_nan());
    }

    #[test]
    fn order_does_not_matter_to_a_single_bit() {
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 11
        };
        for _ in 0..200 {
            let mut numbers: Vec<f64> = (0..100)
                .map(|_| next() as f64 * 10f64.powi((next() % 40) as i32 - 20))
                .collect();
            let expected = sum(&numbers).to_bits();
            let mut plain = std::collections::BTreeSet::new();
            for _ in 0..20 {
                for at in (1..numbers.len()).rev() {
                    numbers.swap(at, (next() as usize) % (at + 1));
                }
                assert_eq!(sum(&numbers).to_bits(), expected);
                plain.insert(numbers.iter().sum::<f64>().to_bits());
            }
            assert!(
                plain.len() > 1,
                "the numbers must be such that order matters to a plain sum"
            );
        }
    }
}

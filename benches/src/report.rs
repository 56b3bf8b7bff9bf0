//! What a bench found: figures, and which of them must hold.

use serde::Serialize;

/// The middle value; the mean of the two middle ones of an even number. `NaN` of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// On which side of its limit a figure must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The limit or more.
    AtLeast,
    /// The limit or less.
    AtMost,
}

/// A figure that must hold.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What is measured, with its unit.
    pub name: &'static str,
    /// What was measured.
    pub value: f64,
    /// On which side of the limit it must be.
    pub bound: Bound,
    /// The limit.
    pub limit: f64,
    /// Whether it holds.
    pub holds: bool,
}

impl Check {
    /// `value` must be `limit` or more.
    pub fn at_least(name: &'static str, value: f64, limit: f64) -> Self {
        Self {
            name,
            value,
            bound: Bound::AtLeast,
            limit,
            holds: value >= limit,
        }
    }

    /// `value` must be `limit` or less.
    pub fn at_most(name: &'static str, value: f64, limit: f64) -> Self {
        Self {
            name,
            value,
            bound: Bound::AtMost,
            limit,
            holds: value <= limit,
        }
    }

    /// For people.
    pub fn line(&self) -> String {
        let mark = if self.holds { "ok    " } else { "MISSED" };
        let bound = match self.bound {
            Bound::AtLeast => "at least",
            Bound::AtMost => "at most",
        };
        format!(
            "{mark} {}: {:.2}, must be {bound} {}",
            self.name, self.value, self.limit
        )
    }
}

/// Columns, each as wide as its widest cell; numbers stand to the right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(String::len);
        cells.chain(head.get(column).map(|name| name.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(&widths).enumerate();
        let padded: Vec<String> = cells
            .map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(head.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_figure_that_could_not_be_measured_does_not_hold() {
        assert!(Check::at_least("x", 0.8, 0.8).holds && Check::at_most("x", 0.8, 0.8).holds);
        assert!(!Check::at_least("x", f64::NAN, 0.8).holds && !Check::at_most("x", f64::NAN, 0.8).holds);
    }

    #[test]
    fn tables_are_aligned() {
        let rows = vec![vec!["limit".into(), "12".into()], vec!["kcat".into(), "3".into()]];
        assert_eq!(table(&["what", "n"], &rows), "what    n\nlimit  12\nkcat    3");
    }
}

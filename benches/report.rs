//! Figures with their spread: one row per quantity, one column per program, and their ratio.
//!
//! Invariant  nothing but medians, minima and maxima over rounds: no mean hides an outlier, no best round is picked.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use crate::server::Program;

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order in which they were first seen.
    rows: Vec<String>,
    values: BTreeMap<(String, &'static str), Vec<f64>>,
}

impl Report {
    /// Adds one round's value.
    pub fn add(&mut self, program: &Program, row: &str, value: f64) {
        eprintln!("  {:10} {row}: {}", program.name(), Figure(value));
        if !self.rows.iter().any(|known| known == row) {
            self.rows.push(row.to_owned());
        }
        self.values.entry((row.to_owned(), program.name())).or_default().push(value);
    }

    fn cell(&self, row: &str, program: &'static str) -> Option<Spread> {
        self.values.get(&(row.to_owned(), program)).map(|values| Spread::of(values))
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| median (min..max) | ringkeeper | zookeeper | ratio |\n|---|---|---|---|")?;
        for row in &self.rows {
            let [ours, theirs] = ["ringkeeper", "zookeeper"].map(|program| self.cell(row, program));
            let text = |cell: &Option<Spread>| cell.as_ref().map_or("-".to_owned(), ToString::to_string);
            let ratio = match (&ours, &theirs) {
                (Some(ours), Some(theirs)) => format!("{:.2}", ours.median / theirs.median),
                _ => "-".to_owned(),
            };
            writeln!(f, "| {row} | {} | {} | {ratio} |", text(&ours), text(&theirs))?;
        }
        Ok(())
    }
}

/// Median, least and greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one; of an even count the mean of the middle two.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of one value or more.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (count, middle) = (sorted.len(), sorted.len() / 2);
        assert!(count > 0, "a spread of nothing");
        let median = if count % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Self { median, min: sorted[0], max: sorted[count - 1] }
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}..{})", Figure(self.median), Figure(self.min), Figure(self.max))
    }
}

/// A number with three or four digits that say something.
struct Figure(f64);

impl Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0.abs() {
            large if large >= 1000.0 => return write!(f, "{}", with_separators(large)),
            large if large >= 100.0 => 0,
            middle if middle >= 10.0 => 1,
            _ => 2,
        };
        write!(f, "{:.digits$}", self.0)
    }
}

fn with_separators(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_and_figures_are_what_they_say() {
        let spread = Spread::of(&[3.0, 1.0, 2.0, 10.0]);
        assert_eq!(spread, Spread { median: 2.5, min: 1.0, max: 10.0 });
        assert_eq!(spread.to_string(), "2.50 (1.00..10.0)");
        assert_eq!(Figure(1_234_567.2).to_string(), "1,234,567");
    }
}

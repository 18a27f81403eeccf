//! What is printed: each figure with its least, median and greatest value over all rounds.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::options::{MEMORY_TOTAL, Options};
use crate::process::{Cost, cores, dirty_limit, resident_peak};

/// Columns of numbers are so wide.
const NUMBER_WIDTH: usize = 11;

/// What is aimed at, for the median.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Aim {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
}

impl Aim {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }

    fn describe(self) -> String {
        match self {
            Self::AtLeast(least) => format!(">= {}", number(least)),
            Self::AtMost(most) => format!("<= {}", number(most)),
        }
    }
}

/// One figure of one section.
#[derive(Debug, Serialize)]
struct Row {
    section: String,
    what: String,
    unit: &'static str,
    min: f64,
    median: f64,
    max: f64,
    /// One of each round.
    values: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aim: Option<Aim>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
}

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    cores: f64,
    memory_total: u64,
    dirty_limit: Option<u64>,
    seconds: u64,
    rounds: u32,
    rows: Vec<Row>,
    notes: BTreeSet<String>,
}

impl Report {
    /// A report without figures.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            cores: cores()?,
            memory_total: MEMORY_TOTAL,
            dirty_limit: dirty_limit(),
            seconds: options.seconds,
            rounds: options.rounds,
            rows: Vec::new(),
            notes: BTreeSet::new(),
        })
    }

    /// Cores of the machine.
    pub(crate) const fn cores(&self) -> f64 {
        self.cores
    }

    /// Whether a section has figures yet.
    pub(crate) fn has(&self, section: &str) -> bool {
        self.rows.iter().any(|row| row.section == section)
    }

    /// Adds the value of one round.
    pub(crate) fn add(&mut self, section: &str, what: &str, unit: &'static str, value: f64) {
        self.put(section, what, unit, value, None);
    }

    /// As [`Report::add`] for a figure with an aim.
    pub(crate) fn aim(
        &mut self,
        section: &str,
        what: &str,
        unit: &'static str,
        value: f64,
        aim: Aim,
    ) {
        self.put(section, what, unit, value, Some(aim));
    }

    /// Adds what a number cannot say. The same note is printed once.
    pub(crate) fn note(&mut self, section: &str, text: &str) {
        self.notes.insert(format!("{section}: {text}"));
    }

    /// Adds what moving bytes cost each process; the server's share has an aim.
    pub(crate) fn cost(&mut self, section: &str, cost: &Cost, server: Aim) {
        for (role, value) in &cost.roles {
            let what = format!("CPU per GB, {role}");
            if *role == "server" {
                self.aim(section, &what, "s/GB", *value, server);
            } else {
                self.add(section, &what, "s/GB", *value);
            }
        }
        self.add(section, "CPU per GB, total", "s/GB", cost.total);
        self.busy(section, cost);
    }

    /// Adds how many cores were busy, with the measurement and with anything else.
    pub(crate) fn busy(&mut self, section: &str, cost: &Cost) {
        self.add(section, "cores busy", "", cost.busy);
        self.add(section, "cores busy with others", "", cost.others);
        self.note(section, &format!("bound by {}", cost.bound(self.cores)));
    }

    /// Adds what the raw requests cost each process: what the client pays here, the server must pay too.
    pub(crate) fn raw_cost(&mut self, section: &str, name: &str, cost: &Cost) {
        for (role, value) in &cost.roles {
            self.add(
                section,
                &format!("{name}, CPU per GB, {role}"),
                "s/GB",
                *value,
            );
        }
    }

    /// Adds the peak of the server's memory beside what it was given.
    pub(crate) fn memory(&mut self, section: &str, id: u32) -> Result<()> {
        let ratio = float(resident_peak(id)?) / float(MEMORY_TOTAL);
        let what = "resident / memory.total";
        self.aim(section, what, "", ratio, Aim::AtMost(1.25));
        Ok(())
    }

    fn put(&mut self, section: &str, what: &str, unit: &'static str, value: f64, aim: Option<Aim>) {
        let same = |row: &&mut Row| row.section == section && row.what == what;
        if let Some(row) = self.rows.iter_mut().find(same) {
            row.values.push(value);
            row.settle();
            return;
        }
        let mut row = Row {
            section: section.to_owned(),
            what: what.to_owned(),
            unit,
            min: value,
            median: value,
            max: value,
            values: vec![value],
            aim,
            met: None,
        };
        row.settle();
        // Figures of one section stand together, in the order in which they came.
        let after = self.rows.iter().rposition(|row| row.section == section);
        let place = after.map_or(self.rows.len(), |last| last + 1);
        self.rows.insert(place, row);
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        println!("{}", self.table());
    }

    /// Writes what is known so far as JSON to a file, if one is named.
    pub(crate) fn save(&self, json: Option<&Path>) -> Result<()> {
        let Some(path) = json else { return Ok(()) };
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write `{}`", path.display()))
    }

    fn table(&self) -> String {
        let mut out = format!(
            "{} cores, {} s a phase, {} rounds",
            self.cores, self.seconds, self.rounds
        );
        if let Some(dirty) = self.dirty_limit {
            let _ = write!(
                out,
                ", writers wait at {} MB of dirty memory",
                dirty / 1_000_000
            );
        }
        let width = self.rows.iter().map(|row| row.what.len()).max();
        let width = width.unwrap_or_default();
        let mut section = "";
        for row in &self.rows {
            if row.section != section {
                section = &row.section;
                let _ = write!(out, "\n\n{section:width$} {:6}", "");
                for head in ["min", "median", "max", "aim"] {
                    let _ = write!(out, "{head:>NUMBER_WIDTH$}");
                }
            }
            let _ = write!(out, "\n{:width$} {:6}", row.what, row.unit);
            for value in [row.min, row.median, row.max] {
                let _ = write!(out, "{:>NUMBER_WIDTH$}", number(value));
            }
            if let Some(aim) = row.aim {
                let met = if row.met == Some(true) {
                    "met"
                } else {
                    "missed"
                };
                let _ = write!(out, "{:>NUMBER_WIDTH$} {met}", aim.describe());
            }
        }
        out.push('\n');
        for note in &self.notes {
            let _ = write!(out, "\n{note}");
        }
        out
    }
}

impl Row {
    fn settle(&mut self) {
        self.min = quantile(&self.values, 0);
        self.median = quantile(&self.values, 500);
        self.max = quantile(&self.values, 1000);
        self.met = self.aim.map(|aim| aim.is_met(self.median));
    }
}

/// The value that so many of a thousand are not above, in a straight line between the two beside it.
pub(crate) fn quantile(values: &[f64], per_mille: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = sorted.len().saturating_sub(1) * per_mille;
    let share = float((place % 1000) as u64) / 1000.0;
    let below = sorted.get(place / 1000).copied().unwrap_or(f64::NAN);
    let above = sorted.get(place.div_ceil(1000)).copied().unwrap_or(below);
    below + share * (above - below)
}

/// A number to count with roughly.
#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
pub(crate) const fn float(number: u64) -> f64 {
    number as f64
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            cores: 2.0,
            memory_total: MEMORY_TOTAL,
            dirty_limit: None,
            seconds: 1,
            rounds: 3,
            rows: Vec::new(),
            notes: BTreeSet::new(),
        }
    }

    #[test]
    fn rounds_become_one_row_with_its_spread_and_the_median_meets_the_aim() {
        let mut report = report();
        for value in [3.0, 1.0, 2.0] {
            report.aim("a", "x", "s", value, Aim::AtMost(2.0));
            report.aim("b", "y", "s", value, Aim::AtLeast(2.5));
            report.add("a", "z", "s", value);
        }
        let order: Vec<&str> = report.rows.iter().map(|row| row.what.as_str()).collect();
        assert_eq!(order, ["x", "z", "y"]);
        let met: Vec<_> = report.rows.iter().map(|row| row.met).collect();
        assert_eq!(met, [Some(true), None, Some(false)]);
        let spread = |row: &Row| [row.min, row.median, row.max].map(|value| format!("{value}"));
        assert_eq!(spread(&report.rows[0]), ["1", "2", "3"]);
        let table = report.table();
        assert!(table.contains("<= 2.00 met") && table.contains(">= 2.50 missed"));
    }

    #[test]
    fn a_quantile_lies_between_the_values_beside_it() {
        let values: Vec<f64> = (0_u8..=100).rev().map(f64::from).collect();
        let at = |per_mille| format!("{}", quantile(&values, per_mille));
        assert_eq!(
            [at(0), at(500), at(990), at(1000)],
            ["0", "50", "99", "100"]
        );
        assert_eq!(number(quantile(&[1.0, 2.0], 500)), "1.50");
        assert!(quantile(&[], 500).is_nan());
    }
}

//! Results: tables for people, JSON for programs.

use std::io::{self, Write};

use serde::Serialize;

use super::{CliError, Output, Result};

/// Rows under headings; numbers are given as text and aligned to the right.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns; a heading that begins with `>` is of a column of numbers.
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings
                .iter()
                .map(|heading| heading.trim_start_matches('>'))
                .collect(),
            right: headings
                .iter()
                .map(|heading| heading.starts_with('>'))
                .collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; a cell for each column.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(crate) fn render(&self) -> String {
        let headings: Vec<String> = self
            .headings
            .iter()
            .map(|text| text.to_uppercase())
            .collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&headings).chain(&self.rows).collect();
        let mut widths = vec![0; headings.len()];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line.iter()) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for line in lines {
            let cells = line
                .iter()
                .zip(&widths)
                .zip(&self.right)
                .map(|((cell, width), right)| {
                    if *right {
                        format!("{cell:>width$}")
                    } else {
                        format!("{cell:<width$}")
                    }
                });
            let line = cells.collect::<Vec<_>>().join("  ");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Writes `value` as JSON, or the table that stands for it.
pub(crate) fn print(
    output: Output,
    value: &impl Serialize,
    table: impl FnOnce() -> Table,
) -> Result<()> {
    match output {
        Output::Json => print_json(value),
        Output::Table => print_text(&table().render()),
    }
}

/// Writes `value` as JSON over several lines.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| CliError::output(io::Error::other(error)))?;
    text.push('\n');
    print_text(&text)
}

/// Writes text as it is.
pub(crate) fn print_text(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(CliError::output)
}

/// Writes what was done: a sentence for people, the value for programs.
pub(crate) fn print_done(output: Output, value: &impl Serialize, sentence: &str) -> Result<()> {
    match output {
        Output::Json => print_json(value),
        Output::Table => print_text(&format!("{sentence}\n")),
    }
}

/// A number with its thousands apart: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of something: `1 record`, `2,000 records`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(count))
}

/// Tells the user something that is no result, on standard error: a line for people, JSON for programs.
pub(crate) fn say(output: Output, kind: &str, text: &str) {
    match output {
        Output::Json => eprintln!("{}", serde_json::json!({ kind: text })),
        Output::Table => eprintln!("{kind}: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right() {
        let mut table = Table::new(&["name", ">partitions"]);
        table.row(vec!["orders".to_owned(), "12".to_owned()]);
        table.row(vec!["a".to_owned(), "1".to_owned()]);
        assert_eq!(
            table.render(),
            "NAME    PARTITIONS\norders          12\na                1\n"
        );
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(1, "record"), "1 record");
        assert_eq!(counted(0, "record"), "0 records");
        assert_eq!(counted(2_000, "partition"), "2,000 partitions");
    }

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}

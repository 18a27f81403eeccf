//! Each row is a record: a JSON object of its columns, or one of them.

use std::collections::HashSet;

use csv::{ByteRecord, ReaderBuilder};

use super::input::{Fields, Source};
use crate::cli::{CliError, Result};

/// Reads rows. The first one names the columns.
pub(super) struct CsvRows {
    reader: csv::Reader<Source>,
    row: ByteRecord,
    /// For each column what stands before its value: `{"name":` or `,"name":`.
    prefixes: Vec<Vec<u8>>,
    key: Option<usize>,
    value: Option<usize>,
    position: u64,
}

impl CsvRows {
    pub(super) fn new(
        source: Source,
        delimiter: char,
        key: Option<&str>,
        value: Option<&str>,
    ) -> Result<Self> {
        let delimiter = u8::try_from(delimiter)
            .map_err(|_| CliError::usage("the delimiter must be an ASCII character"))?;
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .from_reader(source);
        let columns: Vec<String> = reader
            .headers()
            .map_err(|error| fault(&error))?
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').to_owned())
            .collect();
        if value.is_none() {
            refuse_twins(&columns)?;
        }
        let column = |name: &str| {
            columns
                .iter()
                .position(|column| column == name)
                .ok_or_else(|| {
                    CliError::usage(format!(
                        "no column `{name}`; there are {}",
                        columns.join(", ")
                    ))
                })
        };
        let mut prefixes = Vec::new();
        for (index, name) in columns.iter().enumerate() {
            let mut prefix = vec![if index == 0 { b'{' } else { b',' }];
            write_text(name, &mut prefix);
            prefix.push(b':');
            prefixes.push(prefix);
        }
        Ok(Self {
            key: key.map(column).transpose()?,
            value: value.map(column).transpose()?,
            position: reader.position().byte(),
            reader,
            row: ByteRecord::new(),
            prefixes,
        })
    }

    pub(super) fn next(&mut self, fields: &mut Fields) -> Result<bool> {
        fields.line = self.reader.position().line();
        let read = self.reader.read_byte_record(&mut self.row);
        let more = read.map_err(|error| {
            fields.line = error.position().map_or(fields.line, csv::Position::line);
            fault(&error)
        })?;
        if !more {
            return Ok(false);
        }
        fields.line = self.row.position().map_or(fields.line, csv::Position::line);
        let position = self.reader.position().byte();
        fields.input_bytes = position.saturating_sub(self.position);
        self.position = position;
        if let Some(key) = self.key {
            fields
                .key
                .extend_from_slice(self.row.get(key).unwrap_or_default());
            fields.has_key = true;
        }
        match self.value {
            Some(value) => {
                fields
                    .value
                    .extend_from_slice(self.row.get(value).unwrap_or_default());
            }
            None => self.write_object(&mut fields.value)?,
        }
        Ok(true)
    }

    /// All columns as texts, in their order.
    fn write_object(&self, to: &mut Vec<u8>) -> Result<()> {
        for (prefix, cell) in self.prefixes.iter().zip(self.row.iter()) {
            to.extend_from_slice(prefix);
            let cell = std::str::from_utf8(cell).map_err(|_| {
                let line = self.row.position().map_or(0, csv::Position::line);
                CliError::usage(format!("line {line} is not UTF-8"))
            })?;
            write_text(cell, to);
        }
        to.push(b'}');
        Ok(())
    }
}

/// An object has each of its names once: readers would see only one of two columns.
fn refuse_twins(columns: &[String]) -> Result<()> {
    let mut seen = HashSet::new();
    match columns.iter().find(|name| !seen.insert(name.as_str())) {
        None => Ok(()),
        Some(twin) => Err(CliError::usage(format!(
            "two columns are called `{twin}`: give one another name, or take one column with --value"
        ))),
    }
}

/// A text as JSON.
fn write_text(text: &str, to: &mut Vec<u8>) {
    // Most texts need no escape, and there are millions of them.
    if text
        .bytes()
        .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
    {
        to.push(b'"');
        to.extend_from_slice(text.as_bytes());
        to.push(b'"');
    } else {
        to.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    }
}

fn fault(error: &csv::Error) -> CliError {
    CliError::usage(format!("the input is not CSV: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn rows(
        text: &'static str,
        key: Option<&str>,
        value: Option<&str>,
    ) -> Result<Vec<(String, String)>> {
        let mut rows = CsvRows::new(Box::new(Cursor::new(text)), ',', key, value)?;
        let mut found = Vec::new();
        let mut fields = Fields::default();
        while rows.next(&mut fields)? {
            let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
            found.push((text(&fields.key), text(&fields.value)));
            fields = Fields::default();
        }
        Ok(found)
    }

    #[test]
    fn a_row_becomes_an_object_and_a_column_its_key() {
        let found = rows(
            "carrier,note\nUA,\"say \"\"hi\"\"\"\nAA,\n",
            Some("carrier"),
            None,
        )
        .unwrap();
        assert_eq!(found[0].0, "UA");
        assert_eq!(found[0].1, r#"{"carrier":"UA","note":"say \"hi\""}"#);
        assert_eq!(found[1].1, r#"{"carrier":"AA","note":""}"#);
        let parsed: serde_json::Value = serde_json::from_str(&found[0].1).unwrap();
        assert_eq!(parsed["note"], "say \"hi\"");
    }

    #[test]
    fn a_column_can_be_the_value() {
        let found = rows("a,b\n1,2\n", Some("a"), Some("b")).unwrap();
        assert_eq!(found, [("1".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn a_missing_column_is_answered_with_those_that_are_there() {
        let error = rows("a,b\n1,2\n", Some("c"), None).unwrap_err().to_string();
        assert_eq!(error, "no column `c`; there are a, b");
    }

    #[test]
    fn two_columns_of_one_name_are_refused_where_both_would_be_written() {
        let error = rows("a,b,a\n1,2,3\n", None, None).unwrap_err().to_string();
        assert!(error.contains("two columns are called `a`"), "{error}");
        let found = rows("a,b,a\n1,2,3\n", None, Some("b")).unwrap();
        assert_eq!(found[0].1, "2");
    }

    #[test]
    fn a_row_of_another_length_is_refused() {
        assert!(
            rows("a,b\n1\n", None, None)
                .unwrap_err()
                .to_string()
                .contains("line: 2")
        );
    }
}

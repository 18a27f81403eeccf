//! Each line is a JSON value.

use serde_json::Value;

use super::input::{Fields, Source, read_line};
use crate::cli::{CliError, Result};

/// Reads lines of JSON. Without a key and a value to take out, lines are checked and passed on.
pub(super) struct JsonLines {
    source: Source,
    key: Option<Vec<String>>,
    value: Option<Vec<String>>,
    line: u64,
}

impl JsonLines {
    pub(super) fn new(source: Source, key: Option<&str>, value: Option<&str>) -> Self {
        let path = |name: &str| name.split('.').map(str::to_owned).collect();
        Self {
            source,
            key: key.map(path),
            value: value.map(path),
            line: 0,
        }
    }

    pub(super) fn next(&mut self, fields: &mut Fields) -> Result<bool> {
        fields.input_bytes = 0;
        loop {
            self.line += 1;
            fields.line = self.line;
            let taken = read_line(&mut self.source, &mut fields.value)?;
            fields.input_bytes += taken;
            if taken == 0 {
                return Ok(false);
            }
            if !fields.value.trim_ascii().is_empty() {
                break;
            }
            fields.value.clear();
        }
        let line = self.line;
        let parsed: Value = serde_json::from_slice(&fields.value)
            .map_err(|error| CliError::usage(format!("line {line} is not JSON: {error}")))?;
        if let Some(path) = &self.key {
            write_field(take(&parsed, path, line)?, &mut fields.key);
            fields.has_key = true;
        }
        if let Some(path) = &self.value {
            fields.value.clear();
            write_field(take(&parsed, path, line)?, &mut fields.value);
        }
        Ok(true)
    }
}

fn take<'a>(value: &'a Value, path: &[String], line: u64) -> Result<&'a Value> {
    path.iter()
        .try_fold(value, |value, name| value.get(name))
        .ok_or_else(|| CliError::usage(format!("line {line} has no field `{}`", path.join("."))))
}

/// A text as it is, anything else as JSON.
fn write_field(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::String(text) => to.extend_from_slice(text.as_bytes()),
        other => to.extend_from_slice(other.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn first(
        text: &'static str,
        key: Option<&str>,
        value: Option<&str>,
    ) -> Result<(String, String)> {
        let mut lines = JsonLines::new(Box::new(Cursor::new(text)), key, value);
        let mut fields = Fields::default();
        lines.next(&mut fields)?;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ok((text(fields.key), text(fields.value)))
    }

    #[test]
    fn the_line_is_the_value_as_it_stands_and_a_field_is_the_key() {
        let (key, value) = first(
            "\n{\"b\": 1,  \"a\": {\"id\": \"x\"}}\n",
            Some("a.id"),
            None,
        )
        .unwrap();
        assert_eq!(
            (key.as_str(), value.as_str()),
            ("x", "{\"b\": 1,  \"a\": {\"id\": \"x\"}}")
        );
    }

    #[test]
    fn a_field_can_be_the_value_and_numbers_are_written_as_json() {
        let (key, value) = first("{\"id\": 7, \"v\": [1, 2]}", Some("id"), Some("v")).unwrap();
        assert_eq!((key.as_str(), value.as_str()), ("7", "[1,2]"));
    }

    #[test]
    fn what_is_missing_or_not_json_is_named_with_its_line() {
        let error = first("{\"id\": 7}", Some("name"), None)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "line 1 has no field `name`");
        assert!(
            first("\n{", None, None)
                .unwrap_err()
                .to_string()
                .starts_with("line 2 is not JSON")
        );
    }
}

//! Each line is a record.

use super::input::{Fields, Source, read_line};
use crate::cli::Result;

/// Reads lines, with a key before a separator if there is one.
pub(super) struct TextLines {
    source: Source,
    separator: Option<Vec<u8>>,
    line: u64,
}

impl TextLines {
    pub(super) fn new(source: Source, separator: Option<&str>) -> Self {
        let separator = separator.filter(|separator| !separator.is_empty());
        // The shell makes it hard to type a tab.
        let separator = separator.map(|separator| separator.replace("\\t", "\t").into_bytes());
        Self {
            source,
            separator,
            line: 0,
        }
    }

    pub(super) fn next(&mut self, fields: &mut Fields) -> Result<bool> {
        self.line += 1;
        fields.line = self.line;
        fields.input_bytes = read_line(&mut self.source, &mut fields.value)?;
        if fields.input_bytes == 0 {
            return Ok(false);
        }
        if let Some(separator) = &self.separator
            && let Some(at) = find(&fields.value, separator)
        {
            fields.key.extend_from_slice(&fields.value[..at]);
            fields.has_key = true;
            fields.value.drain(..at + separator.len());
        }
        Ok(true)
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn records(text: &'static str, separator: Option<&str>) -> Vec<(Option<String>, String)> {
        let mut lines = TextLines::new(Box::new(Cursor::new(text)), separator);
        let mut found = Vec::new();
        let mut fields = Fields::default();
        while lines.next(&mut fields).unwrap() {
            let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
            found.push((
                fields.has_key.then(|| text(&fields.key)),
                text(&fields.value),
            ));
            fields = Fields::default();
        }
        found
    }

    #[test]
    fn each_line_is_a_value_with_or_without_an_end() {
        let values: Vec<String> = records("a\r\n\nc", None)
            .into_iter()
            .map(|(_, v)| v)
            .collect();
        assert_eq!(values, ["a", "", "c"]);
    }

    #[test]
    fn a_separator_parts_the_key_from_the_value_at_its_first_place() {
        let found = records("k\tv\tw\nonly", Some("\\t"));
        assert_eq!(found[0], (Some("k".to_owned()), "v\tw".to_owned()));
        assert_eq!(found[1], (None, "only".to_owned()));
    }
}

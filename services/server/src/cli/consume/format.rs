//! Records as text.

use std::io::{self, Write};

use serde::Serialize;
use tidelog_client::Record;

use super::RecordFormat;
use crate::cli::times;

/// A record as programs see it. Bytes that are not UTF-8 are written in hexadecimal under another name, so
/// that nobody takes one for the other.
#[derive(Serialize)]
struct Shown<'a> {
    topic: &'a str,
    partition: u32,
    offset: u64,
    timestamp: String,
    timestamp_ms: i64,
    #[serde(flatten)]
    key: Option<Key<'a>>,
    #[serde(flatten)]
    value: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<Header<'a>>,
}

#[derive(Serialize)]
enum Key<'a> {
    #[serde(rename = "key")]
    Text(&'a str),
    #[serde(rename = "key_hex")]
    Hex(String),
}

#[derive(Serialize)]
enum Value<'a> {
    #[serde(rename = "value")]
    Text(&'a str),
    #[serde(rename = "value_hex")]
    Hex(String),
}

#[derive(Serialize)]
struct Header<'a> {
    key: std::borrow::Cow<'a, str>,
    #[serde(flatten)]
    value: Option<Value<'a>>,
}

/// Writes one record and the end of its line.
pub(super) fn write_record(
    out: &mut impl Write,
    format: RecordFormat,
    topic: &str,
    partition: u32,
    record: &Record,
) -> io::Result<()> {
    let bytes = |field: &Option<bytes::Bytes>| field.clone().unwrap_or_default();
    match format {
        RecordFormat::Raw => out.write_all(&bytes(&record.value))?,
        RecordFormat::KeyValue => {
            out.write_all(&bytes(&record.key))?;
            out.write_all(b"\t")?;
            out.write_all(&bytes(&record.value))?;
        }
        RecordFormat::Json => {
            serde_json::to_writer(&mut *out, &shown(topic, partition, record))?;
        }
    }
    out.write_all(b"\n")
}

fn shown<'a>(topic: &'a str, partition: u32, record: &'a Record) -> Shown<'a> {
    let timestamp_ms = record.timestamp.as_millis();
    Shown {
        topic,
        partition,
        offset: record.offset.get(),
        timestamp: times::format(timestamp_ms),
        timestamp_ms,
        key: record
            .key
            .as_deref()
            .map(|key| match std::str::from_utf8(key) {
                Ok(text) => Key::Text(text),
                Err(_) => Key::Hex(hex(key)),
            }),
        value: record.value.as_deref().map(value),
        headers: record
            .headers
            .iter()
            .map(|header| Header {
                key: header.key_text(),
                value: header.value.as_deref().map(value),
            })
            .collect(),
    }
}

fn value(bytes: &[u8]) -> Value<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Text(text),
        Err(_) => Value::Hex(hex(bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0xf)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidelog_client::RecordHeader;
    use tidelog_types::{Offset, Timestamp};

    use super::*;

    fn text(
        format: RecordFormat,
        key: Option<&'static [u8]>,
        value: Option<&'static [u8]>,
    ) -> String {
        let header = RecordHeader {
            key: Bytes::from_static(b"h"),
            value: Some(Bytes::from_static(b"1")),
        };
        let record = Record {
            offset: Offset::new(7),
            timestamp: Timestamp::from_millis(1_000),
            key: key.map(Bytes::from_static),
            value: value.map(Bytes::from_static),
            headers: [header].into_iter().collect(),
        };
        let mut out = Vec::new();
        write_record(&mut out, format, "t", 3, &record).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn raw_is_the_value_and_key_value_has_a_tab_between() {
        assert_eq!(text(RecordFormat::Raw, Some(b"k"), Some(b"v")), "v\n");
        assert_eq!(
            text(RecordFormat::KeyValue, Some(b"k"), Some(b"v")),
            "k\tv\n"
        );
        assert_eq!(text(RecordFormat::KeyValue, None, None), "\t\n");
    }

    #[test]
    fn json_says_everything_and_tells_bytes_from_text() {
        let json: serde_json::Value =
            serde_json::from_str(&text(RecordFormat::Json, Some(b"\xff\x01"), Some(b"v"))).unwrap();
        assert_eq!(json["offset"], 7);
        assert_eq!(json["timestamp"], "1970-01-01T00:00:01.000Z");
        assert_eq!(json["key_hex"], "ff01");
        assert_eq!(json["value"], "v");
        assert_eq!(json["headers"][0]["value"], "1");
        let tombstone: serde_json::Value =
            serde_json::from_str(&text(RecordFormat::Json, Some(b"k"), None)).unwrap();
        assert!(tombstone.get("value").is_none());
    }
}

//! The records of a batch, one by one.

use std::borrow::Cow;

use bytes::Bytes;
use smallvec::SmallVec;
use tidelog_types::{Offset, Timestamp};

use super::RecordError;
use super::header::{BatchHeader, TimestampType};
use super::varint::{self, VarintError};

/// A record. Its parts are slices of the batch, or of what was decompressed: they are not copied, and
/// keep all of it alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp, or when the batch was appended with log append time.
    pub timestamp: Timestamp,
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value, if it has one; a record with a key and no value is a tombstone.
    pub value: Option<Bytes>,
    /// The headers in the order in which they were sent; a key may come twice.
    pub headers: SmallVec<[RecordHeader; 1]>,
}

/// A header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// The key: UTF-8 by convention, which nobody checks.
    pub key: Bytes,
    /// The value, if it has one.
    pub value: Option<Bytes>,
}

impl RecordHeader {
    /// The key as text, with replacement characters for what is not UTF-8.
    pub fn key_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.key)
    }
}

/// Decodes records one by one, bounded by the bytes of the batch. After an error, or after as many
/// records as the header states, it ends; bytes behind the last record are an error.
#[derive(Clone, Debug)]
pub struct Records {
    body: Bytes,
    at: usize,
    index: u32,
    count: u32,
    base_offset: Offset,
    base_timestamp: i64,
    append_time: Option<Timestamp>,
    offset_delta_next: i32,
    offset_delta_last: i32,
    done: bool,
}

impl Records {
    pub(super) fn new(header: &BatchHeader, base_offset: Offset, body: Bytes) -> Self {
        let appended = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
        Self {
            body,
            at: 0,
            index: 0,
            count: u32::try_from(header.record_count).unwrap_or(0),
            base_offset,
            base_timestamp: header.base_timestamp.as_millis(),
            append_time: appended.then_some(header.max_timestamp),
            offset_delta_next: 0,
            offset_delta_last: header.last_offset_delta,
            done: false,
        }
    }

    /// How many records are still to come, as the header states.
    pub const fn remaining(&self) -> u32 {
        if self.done {
            0
        } else {
            self.count - self.index
        }
    }

    /// Bytes of all records, once decompressed.
    pub const fn byte_count(&self) -> usize {
        self.body.len()
    }

    /// The next record with its bytes as they are.
    pub(super) fn next_raw(&mut self) -> Option<Result<(Record, Raw), RecordError>> {
        let start = self.at;
        let record = match self.next()? {
            Ok(record) => record,
            Err(error) => return Some(Err(error)),
        };
        let bytes = self.body.slice(start..self.at);
        Some(Ok((record, Raw { bytes })))
    }

    fn read_record(&mut self) -> Result<Record, RecordError> {
        let index = self.index;
        let mut frame = Cursor {
            body: &self.body,
            at: self.at,
            end: self.body.len(),
            index,
        };
        let length = frame.length("record")?;
        let start = frame.at;
        frame.skip(length)?;
        self.at = frame.at;
        let mut cursor = Cursor {
            body: &self.body,
            at: start,
            end: self.at,
            index,
        };
        cursor.skip(1)?;
        let timestamp = self.base_timestamp.wrapping_add(cursor.varlong()?);
        let delta = cursor.varint()?;
        let fits = (self.offset_delta_next..=self.offset_delta_last).contains(&delta);
        let offset = u64::try_from(delta)
            .ok()
            .and_then(|delta| self.base_offset.checked_add(delta));
        let Some(offset) = offset.filter(|_| fits) else {
            return Err(RecordError::OffsetDelta { index, delta });
        };
        let key = cursor.optional_bytes("key")?;
        let value = cursor.optional_bytes("value")?;
        let headers = cursor.headers()?;
        if cursor.at != cursor.end {
            return Err(RecordError::RecordTrailing {
                index,
                left: cursor.end - cursor.at,
            });
        }
        // At the largest delta nothing larger follows, and saturation refuses it.
        self.offset_delta_next = delta.saturating_add(1);
        self.index += 1;
        let timestamp = self
            .append_time
            .unwrap_or(Timestamp::from_millis(timestamp));
        Ok(Record {
            offset,
            timestamp,
            key,
            value,
            headers,
        })
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.index == self.count {
            self.done = true;
            let left = self.body.len() - self.at;
            return (left != 0).then_some(Err(RecordError::Trailing(left)));
        }
        let record = self.read_record();
        self.done = record.is_err();
        Some(record)
    }
}

/// The bytes of a record that has been read, with its length in front.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub(super) bytes: Bytes,
}

impl Raw {
    /// Appends it, relative to another base timestamp that is earlier by `shift`; all else is as it was.
    pub(super) fn put_shifted(&self, shift: i64, out: &mut Vec<u8>) {
        let whole = &self.bytes;
        let parts = || {
            let (_, length) = varint::read_i32(whole).ok()?;
            let inner = whole.get(length..)?;
            let (attributes, rest) = inner.split_first()?;
            let (delta, taken) = varint::read_i64(rest).ok()?;
            Some((*attributes, delta, rest.get(taken..)?))
        };
        match parts().filter(|_| shift != 0) {
            Some((attributes, delta, rest)) => {
                let delta = delta.wrapping_add(shift);
                let length = 1 + varint::len(delta) + rest.len();
                varint::put(out, i64::try_from(length).unwrap_or(i64::MAX));
                out.push(attributes);
                varint::put(out, delta);
                out.extend_from_slice(rest);
            }
            None => out.extend_from_slice(whole),
        }
    }
}

/// Reads fields of one record; `at <= end <= body.len()` always holds.
struct Cursor<'a> {
    body: &'a Bytes,
    at: usize,
    end: usize,
    index: u32,
}

impl Cursor<'_> {
    const fn truncated(&self) -> RecordError {
        RecordError::Truncated { index: self.index }
    }

    const fn varint_error(&self, error: VarintError) -> RecordError {
        match error {
            VarintError::Truncated => self.truncated(),
            VarintError::TooLong => RecordError::Varint { index: self.index },
        }
    }

    fn varint(&mut self) -> Result<i32, RecordError> {
        let read = varint::read_i32(&self.body[self.at..self.end]);
        let (value, len) = read.map_err(|error| self.varint_error(error))?;
        self.at += len;
        Ok(value)
    }

    fn varlong(&mut self) -> Result<i64, RecordError> {
        let read = varint::read_i64(&self.body[self.at..self.end]);
        let (value, len) = read.map_err(|error| self.varint_error(error))?;
        self.at += len;
        Ok(value)
    }

    /// A length that must not be negative.
    fn length(&mut self, field: &'static str) -> Result<usize, RecordError> {
        let value = self.varint()?;
        usize::try_from(value).map_err(|_| RecordError::Length {
            index: self.index,
            field,
            value,
        })
    }

    fn skip(&mut self, count: usize) -> Result<(), RecordError> {
        if count > self.end - self.at {
            return Err(self.truncated());
        }
        self.at += count;
        Ok(())
    }

    fn bytes(&mut self, count: usize) -> Result<Bytes, RecordError> {
        let start = self.at;
        self.skip(count)?;
        Ok(self.body.slice(start..self.at))
    }

    fn optional_bytes(&mut self, field: &'static str) -> Result<Option<Bytes>, RecordError> {
        let value = self.varint()?;
        if value == -1 {
            return Ok(None);
        }
        let length = usize::try_from(value).map_err(|_| RecordError::Length {
            index: self.index,
            field,
            value,
        })?;
        self.bytes(length).map(Some)
    }

    fn headers(&mut self) -> Result<SmallVec<[RecordHeader; 1]>, RecordError> {
        let count = self.length("header count")?;
        // Each header takes at least two bytes, so a count past that is a lie.
        if count > (self.end - self.at) / 2 {
            return Err(self.truncated());
        }
        let mut headers = SmallVec::new();
        for _ in 0..count {
            let length = self.length("header key")?;
            let key = self.bytes(length)?;
            let value = self.optional_bytes("header value")?;
            headers.push(RecordHeader { key, value });
        }
        Ok(headers)
    }
}

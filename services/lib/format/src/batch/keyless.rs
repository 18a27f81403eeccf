//! Looks for records without a key, as a topic that is compacted has none. The records go by in a stream: nothing of
//! them is kept, however many there are.

use std::io::{self, BufRead, BufReader, Read};

use super::decompress::stream;
use super::varint::{self, VarintError};
use super::{BatchBuf, Compression, DecodeLimit, RecordError};

/// Records that are named at most.
pub const KEYLESS_NAMED_MAX: usize = 100;
/// Groups of the longest varint.
const GROUPS_MAX: usize = 10;

/// The records of a batch that have no key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyless {
    /// Which ones, counted from 0: the first of them, at most [`KEYLESS_NAMED_MAX`].
    pub indexes: Vec<u32>,
    /// How many.
    pub count: u32,
    /// The bytes of all records, decompressed.
    pub bytes: u64,
}

impl BatchBuf {
    /// Finds the records without a key. What is not compressed has no limit, since nothing of it is made. Records that are broken before their keys, or end in the middle, are errors; what is
    /// behind their keys is not looked at.
    ///
    /// # Errors
    /// Also when there is more than the limit once it is decompressed.
    pub fn keyless(&self, limit: DecodeLimit) -> Result<Keyless, RecordError> {
        let codec = self.compression();
        let body = self.body();
        let broken = |source| RecordError::Decompress { codec, source };
        let Some(reader) = stream(codec, &body, limit).map_err(broken)? else {
            return Err(RecordError::TooLarge { limit: limit.get() });
        };
        let most = match codec {
            Compression::None => u64::MAX,
            _ => limit.get() as u64,
        };
        let mut walk = Walk {
            reader: BufReader::new(reader),
            codec,
            left: most,
            limit,
            index: 0,
        };
        let mut keyless = Keyless::default();
        for index in 0..self.record_count() {
            walk.index = index;
            if walk.record()? {
                continue;
            }
            keyless.count += 1;
            if keyless.indexes.len() < KEYLESS_NAMED_MAX {
                keyless.indexes.push(index);
            }
        }
        keyless.bytes = most - walk.left;
        Ok(keyless)
    }
}

/// A way through records.
struct Walk<R> {
    reader: BufReader<R>,
    codec: Compression,
    /// Bytes that may yet come.
    left: u64,
    limit: DecodeLimit,
    /// The record that it is at.
    index: u32,
}

impl<R: Read> Walk<R> {
    /// Goes behind the next record; answers whether it has a key.
    fn record(&mut self) -> Result<bool, RecordError> {
        let mut rest = u64::MAX;
        let length = self.varint(&mut rest)?;
        rest = self.length("record", length)?;
        self.skip(1, &mut rest)?;
        self.varlong(&mut rest)?;
        self.varint(&mut rest)?;
        let key = self.varint(&mut rest)?;
        if key != -1 {
            let key = self.length("key", key)?;
            self.skip(key, &mut rest)?;
        }
        let all = rest;
        self.skip(all, &mut rest)?;
        Ok(key != -1)
    }

    const fn length(&self, field: &'static str, value: i32) -> Result<u64, RecordError> {
        if value < 0 {
            return Err(RecordError::Length {
                index: self.index,
                field,
                value,
            });
        }
        Ok(value.cast_unsigned() as u64)
    }

    /// Leaves bytes out, of which the record has so many more.
    fn skip(&mut self, count: u64, rest: &mut u64) -> Result<(), RecordError> {
        self.take(count, rest)?;
        let mut left = count;
        while left > 0 {
            let some = self.buffered()?;
            let some = usize::try_from(left).map_or(some, |left| some.min(left));
            self.reader.consume(some);
            left -= some as u64;
        }
        Ok(())
    }

    fn varint(&mut self, rest: &mut u64) -> Result<i32, RecordError> {
        let (bytes, len) = self.groups(rest)?;
        let read = varint::read_i32(&bytes[..len]);
        read.map(|(value, _)| value).map_err(|error| self.of(error))
    }

    fn varlong(&mut self, rest: &mut u64) -> Result<i64, RecordError> {
        let (bytes, len) = self.groups(rest)?;
        let read = varint::read_i64(&bytes[..len]);
        read.map(|(value, _)| value).map_err(|error| self.of(error))
    }

    /// The groups of a varint.
    fn groups(&mut self, rest: &mut u64) -> Result<([u8; GROUPS_MAX], usize), RecordError> {
        let mut groups = [0; GROUPS_MAX];
        for (at, group) in groups.iter_mut().enumerate() {
            self.take(1, rest)?;
            self.buffered()?;
            *group = self.reader.buffer().first().copied().unwrap_or_default();
            self.reader.consume(1);
            if *group & 0x80 == 0 {
                return Ok((groups, at + 1));
            }
        }
        Ok((groups, GROUPS_MAX))
    }

    const fn of(&self, error: VarintError) -> RecordError {
        match error {
            VarintError::Truncated => RecordError::Truncated { index: self.index },
            VarintError::TooLong => RecordError::Varint { index: self.index },
        }
    }

    /// Counts bytes that come next, which the record and the limit must have.
    fn take(&mut self, count: u64, rest: &mut u64) -> Result<(), RecordError> {
        *rest = rest
            .checked_sub(count)
            .ok_or(RecordError::Truncated { index: self.index })?;
        self.left = self.left.checked_sub(count).ok_or(RecordError::TooLarge {
            limit: self.limit.get(),
        })?;
        Ok(())
    }

    /// How many bytes are there; at least one.
    fn buffered(&mut self) -> Result<usize, RecordError> {
        let codec = self.codec;
        match self.reader.fill_buf() {
            Ok([]) => Err(RecordError::Truncated { index: self.index }),
            Ok(bytes) => Ok(bytes.len()),
            Err(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                Err(RecordError::Truncated { index: self.index })
            }
            Err(source) => Err(RecordError::Decompress { codec, source }),
        }
    }
}

//! Bounded reading and plain writing of row values: big-endian integers, lengths checked against what
//! remains.

use bytes::Bytes;
use thiserror::Error;
use tidelog_metadata_api::FencingToken;

/// A stored row cannot be read. It names what was expected; the caller adds the key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("row of kind `{kind}` is damaged: {what}")]
pub struct RowError {
    /// The kind of row.
    pub kind: &'static str,
    /// What is wrong.
    pub what: &'static str,
}

/// Writes a row's value.
#[derive(Debug)]
pub(crate) struct RowWriter(Vec<u8>);

impl RowWriter {
    /// Begins a value with its version.
    pub(crate) fn new(version: u8) -> Self {
        Self(vec![version])
    }

    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn i64(self, value: i64) -> Self {
        self.u64(value.cast_unsigned())
    }

    pub(crate) fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Writes seven bits a byte, lowest first; the high bit says that more follow.
    pub(crate) fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
        self
    }

    /// Writes a signed number as a varint, small ones of either sign in few bytes.
    pub(crate) fn zigzag(self, value: i64) -> Self {
        self.varint(((value << 1) ^ (value >> 63)).cast_unsigned())
    }

    /// Writes a length and the bytes. Longer ones than 4 GiB cannot come up: values are below 100 kB.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.u32(length).fixed(bytes)
    }

    /// Writes whether there is a text, and the text.
    pub(crate) fn option(self, text: Option<&str>) -> Self {
        match text {
            None => self.u8(0),
            Some(text) => self.u8(1).bytes(text.as_bytes()),
        }
    }

    pub(crate) fn finish(self) -> Bytes {
        Bytes::from(self.0)
    }
}

/// Reads a row's value.
#[derive(Debug)]
pub(crate) struct RowReader {
    kind: &'static str,
    rest: Bytes,
}

impl RowReader {
    /// Begins with a value whose first byte must be one of the versions `1..=newest`. Returns it too.
    pub(crate) fn new(
        kind: &'static str,
        value: Bytes,
        newest: u8,
    ) -> Result<(Self, u8), RowError> {
        let mut reader = Self { kind, rest: value };
        let version = reader.u8()?;
        if version == 0 || version > newest {
            return Err(reader.error("its version is newer than this program"));
        }
        Ok((reader, version))
    }

    pub(crate) const fn error(&self, what: &'static str) -> RowError {
        RowError {
            kind: self.kind,
            what,
        }
    }

    fn take(&mut self, length: usize) -> Result<Bytes, RowError> {
        if length > self.rest.len() {
            return Err(self.error("it is cut short"));
        }
        Ok(self.rest.split_to(length))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], RowError> {
        let mut out = [0; N];
        out.copy_from_slice(&self.take(N)?);
        Ok(out)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, RowError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, RowError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, RowError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, RowError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, RowError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, RowError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
                return Err(self.error("a varint is too long"));
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error("a varint is too long"))
    }

    pub(crate) fn zigzag(&mut self) -> Result<i64, RowError> {
        let raw = self.varint()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    pub(crate) fn short_bytes(&mut self) -> Result<Bytes, RowError> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, RowError> {
        let length = self.u32()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    pub(crate) fn text(&mut self) -> Result<String, RowError> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.error("its text is not UTF-8"))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, RowError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error("a flag is neither 0 nor 1")),
        }
    }

    pub(crate) fn option(&mut self) -> Result<Option<String>, RowError> {
        self.flag()?.then(|| self.text()).transpose()
    }

    /// All that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.rest
    }

    pub(crate) fn fencing_token(&mut self) -> Result<FencingToken, RowError> {
        let bytes = self.bytes()?;
        FencingToken::new(bytes).map_err(|_| self.error("its fencing token is too long"))
    }

    /// Ends the value: nothing may follow.
    pub(crate) fn finish(self) -> Result<(), RowError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.error("bytes follow its end"))
        }
    }
}

/// A row is read back as it was written, and with a byte more or fewer it is an error.
#[cfg(test)]
pub(crate) fn assert_round_trip<T: PartialEq + std::fmt::Debug>(
    row: &T,
    value: &Bytes,
    decode: impl Fn(Bytes) -> Result<T, RowError>,
) {
    assert_eq!(decode(value.clone()).as_ref(), Ok(row));
    for cut in 0..value.len() {
        let cut_off = decode(value.slice(..cut));
        assert!(cut_off.is_err(), "cut at {cut} of {row:?}");
    }
    let longer = decode(Bytes::from([value.as_ref(), &[0]].concat()));
    assert!(longer.is_err(), "a byte more after {row:?}");
}

//! Reading and writing integers, bounded by the bytes that remain.

use thiserror::Error;

/// Bytes that do not follow the layout they should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("truncated: `{needed}` bytes needed, `{remaining}` left")]
    Truncated {
        /// What the next field needs.
        needed: u64,
        /// What is there.
        remaining: u64,
    },
    /// A varint goes on past 64 bits.
    #[error("a varint is longer than 64 bits")]
    VarintTooLong,
    /// A varint has needless groups of zeros, so equal values could have different bytes.
    #[error("a varint is not in its shortest form")]
    VarintNotShortest,
    /// A value is outside what its field allows.
    #[error("`{field}` is out of range: `{value}`")]
    Range {
        /// The field.
        field: &'static str,
        /// The value that was read.
        value: u64,
    },
    /// Bytes are left behind the last field.
    #[error("`{0}` bytes left over behind the last field")]
    Trailing(u64),
}

/// Takes integers from the front of a byte slice.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn take(&mut self, count: u64) -> Result<&'a [u8], DecodeError> {
        let remaining = self.rest.len() as u64;
        let short = DecodeError::Truncated {
            needed: count,
            remaining,
        };
        let index = usize::try_from(count).map_err(|_| short)?;
        let (taken, rest) = self.rest.split_at_checked(index).ok_or(short)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let remaining = self.rest.len() as u64;
        let short = DecodeError::Truncated {
            needed: N as u64,
            remaining,
        };
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(short)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for group in 0..10 {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if group == 9 && byte > 1 {
                return Err(DecodeError::VarintTooLong);
            }
            value |= bits << (7 * group);
            if byte & 0x80 == 0 {
                if byte == 0 && group > 0 {
                    return Err(DecodeError::VarintNotShortest);
                }
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// A varint whose field is an integer narrower than 64 bits.
    pub(crate) fn narrow<T: TryFrom<u64>>(
        &mut self,
        field: &'static str,
    ) -> Result<T, DecodeError> {
        let value = self.varint()?;
        T::try_from(value).map_err(|_| DecodeError::Range { field, value })
    }

    pub(crate) fn zigzag(&mut self) -> Result<i64, DecodeError> {
        let raw = self.varint()?;
        Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
    }

    /// A zigzag varint whose field is an integer narrower than 64 bits; the error has the raw value.
    pub(crate) fn narrow_zigzag<T: TryFrom<i64>>(
        &mut self,
        field: &'static str,
    ) -> Result<T, DecodeError> {
        let value = self.zigzag()?;
        T::try_from(value).map_err(|_| DecodeError::Range {
            field,
            value: zigzag(value),
        })
    }

    pub(crate) const fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing(self.rest.len() as u64))
        }
    }
}

pub(crate) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// How many bytes a varint takes: 1 to 10.
pub(crate) const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

pub(crate) fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

/// Appends the CRC-32C of what has been written from `start` on.
pub(crate) fn put_crc(out: &mut Vec<u8>, start: usize) {
    let crc = tidelog_crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&crc.to_be_bytes());
}

/// Splits the CRC-32C off the end of `bytes`: what it covers, the stored one and the computed one.
pub(crate) fn split_crc(bytes: &[u8]) -> Result<(&[u8], u32, u32), DecodeError> {
    let remaining = bytes.len() as u64;
    let short = DecodeError::Truncated {
        needed: 4,
        remaining,
    };
    let (covered, stored) = bytes.split_last_chunk::<4>().ok_or(short)?;
    Ok((
        covered,
        u32::from_be_bytes(*stored),
        tidelog_crc32c::crc32c(covered),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back_and_have_the_length_that_was_foretold() {
        let mut values: Vec<u64> = (0..64)
            .flat_map(|k| [(1 << k) - 1, 1 << k, (1 << k) + 1])
            .collect();
        values.push(u64::MAX);
        for value in values {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(bytes.len(), varint_len(value), "{value}");
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.varint(), Ok(value));
            assert_eq!(reader.finish(), Ok(()));
            let signed = value.cast_signed();
            let mut bytes = Vec::new();
            put_zigzag(&mut bytes, signed);
            assert_eq!(Reader::new(&bytes).zigzag(), Ok(signed));
        }
    }

    #[test]
    fn varints_that_are_not_shortest_or_too_long_are_refused() {
        assert_eq!(
            Reader::new(&[0x80, 0]).varint(),
            Err(DecodeError::VarintNotShortest)
        );
        assert_eq!(
            Reader::new(&[0xff; 10]).varint(),
            Err(DecodeError::VarintTooLong)
        );
        let too_high = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        assert_eq!(
            Reader::new(&too_high).varint(),
            Err(DecodeError::VarintTooLong)
        );
        let cut = Err(DecodeError::Truncated {
            needed: 1,
            remaining: 0,
        });
        assert_eq!(Reader::new(&[0x80]).varint(), cut);
    }

    #[test]
    fn a_count_past_the_end_is_an_error_and_takes_nothing() {
        let mut reader = Reader::new(&[1, 2, 3]);
        let error = DecodeError::Truncated {
            needed: u64::MAX,
            remaining: 3,
        };
        assert_eq!(reader.take(u64::MAX), Err(error));
        assert_eq!(reader.take(3), Ok(&[1, 2, 3][..]));
    }
}

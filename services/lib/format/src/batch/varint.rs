//! Kafka's varints: zigzag, low group first, not necessarily the shortest form.

/// Why a varint cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VarintError {
    /// The bytes end inside it.
    Truncated,
    /// It has more groups than its type allows.
    TooLong,
}

/// Reads a 32-bit varint from the front; answers it and how many bytes it took.
pub(super) fn read_i32(bytes: &[u8]) -> Result<(i32, usize), VarintError> {
    let (raw, len) = read_raw::<5>(bytes)?;
    // Bits past the 32nd in the fifth group are dropped, as Kafka's own reader does.
    let [.., a, b, c, d] = raw.to_be_bytes();
    let raw = u32::from_be_bytes([a, b, c, d]);
    Ok(((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()), len))
}

/// Reads a 64-bit varint from the front; answers it and how many bytes it took.
pub(super) fn read_i64(bytes: &[u8]) -> Result<(i64, usize), VarintError> {
    let (raw, len) = read_raw::<10>(bytes)?;
    Ok(((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()), len))
}

#[inline]
fn read_raw<const GROUPS_MAX: usize>(bytes: &[u8]) -> Result<(u64, usize), VarintError> {
    let mut value = 0_u64;
    for (group, byte) in bytes.iter().take(GROUPS_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * group);
        if byte & 0x80 == 0 {
            return Ok((value, group + 1));
        }
    }
    Err(if bytes.len() < GROUPS_MAX {
        VarintError::Truncated
    } else {
        VarintError::TooLong
    })
}

/// The zigzag form: for values of 32 bits the same as Kafka's 32-bit form.
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// How many bytes [`put`] takes.
#[inline]
pub(super) const fn len(value: i64) -> usize {
    crate::wire::varint_len(zigzag(value))
}

/// Appends a varint.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, value: i64) {
    let mut raw = zigzag(value);
    while raw >= 0x80 {
        out.push((raw & 0x7f) as u8 | 0x80);
        raw >>= 7;
    }
    out.push((raw & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back_with_the_length_that_was_foretold() {
        for value in [
            0,
            1,
            -1,
            63,
            64,
            -64,
            -65,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
        ] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert_eq!(bytes.len(), len(value));
            assert_eq!(
                read_i32(&bytes),
                Ok((i32::try_from(value).unwrap(), bytes.len()))
            );
            assert_eq!(read_i64(&bytes), Ok((value, bytes.len())));
        }
        for value in [i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert_eq!(read_i64(&bytes), Ok((value, 10)));
            assert_eq!(read_i32(&bytes), Err(VarintError::TooLong));
        }
    }

    #[test]
    fn a_longer_form_is_read_and_an_endless_one_is_not() {
        assert_eq!(read_i32(&[0x82, 0x00]), Ok((1, 2)));
        assert_eq!(read_i32(&[0x80, 0x80]), Err(VarintError::Truncated));
        assert_eq!(read_i32(&[0x80; 5]), Err(VarintError::TooLong));
        assert_eq!(read_i64(&[0xff; 12]), Err(VarintError::TooLong));
    }
}

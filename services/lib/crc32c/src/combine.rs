//! CRC-32C of concatenations from the CRCs of the parts.
//!
//! A CRC is the remainder of the message as a polynomial over GF(2), so putting `n` zero bytes behind
//! a message multiplies its CRC by `x^(8n)` modulo the generator, and the CRC of a concatenation is
//! that product for the first part, plus (exclusive or) the CRC of the second. With the powers
//! `x^(2^k)` in a table this costs one multiplication of 32-bit polynomials per set bit of the length,
//! which is cheaper than hashing even a small batch again.

/// The generator of CRC-32C without its highest term; bit 31 is the coefficient of `x^0`.
const GENERATOR: u32 = 0x82f6_3b78;

/// The polynomial 1 in the same bit order.
const ONE: u32 = 1 << 31;

/// `x^(2^k)` modulo the generator, for every bit of a length in bits that comes from 64 bits of bytes.
const POWERS: [u32; 67] = {
    let mut powers = [0; 67];
    let mut power = ONE >> 1;
    let mut k = 0;
    while k < powers.len() {
        powers[k] = power;
        power = multiply(power, power);
        k += 1;
    }
    powers
};

/// Multiplies two polynomials modulo the generator.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = ONE;
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = if b & 1 == 0 {
            b >> 1
        } else {
            (b >> 1) ^ GENERATOR
        };
        bit >>= 1;
    }
    product
}

/// Advances a CRC over `zeros` zero bytes, as a linear map: `shift(a ^ b, n)` is
/// `shift(a, n) ^ shift(b, n)`.
#[must_use]
pub fn shift(crc: u32, zeros: u64) -> u32 {
    let mut factor = ONE;
    let mut rest = zeros;
    // The length in bits is 8 times that in bytes, hence three squarings ahead.
    let mut k = 3;
    while rest != 0 {
        if rest & 1 == 1 {
            factor = if factor == ONE {
                POWERS[k]
            } else {
                multiply(factor, POWERS[k])
            };
        }
        rest >>= 1;
        k += 1;
    }
    multiply(factor, crc)
}

/// The CRC of two byte strings, one behind the other, from their CRCs and the length of the second.
#[must_use]
pub fn combine(first: u32, second: u32, second_len: u64) -> u32 {
    shift(first, second_len) ^ second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combination_equals_the_hash_of_the_whole() {
        let bytes: Vec<u8> = (0..70_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        for len in [0, 1, 2, 3, 7, 8, 61, 64, 1000, 65_535, 70_000] {
            for cut in [0, 1, len / 3, len / 2, len] {
                let cut = cut.min(len);
                let (a, b) = bytes[..len].split_at(cut);
                let combined = combine(crate::crc32c(a), crate::crc32c(b), b.len() as u64);
                assert_eq!(
                    combined,
                    crate::crc32c(&bytes[..len]),
                    "length {len}, cut {cut}"
                );
            }
        }
    }

    #[test]
    fn combination_agrees_with_the_crate_for_lengths_that_no_test_can_hash() {
        for len in [1_u64 << 20, (1 << 28) + 17, (1 << 33) + 5, (1 << 40) - 1] {
            let (a, b) = (0xdead_beef, 0x1234_5678);
            let expected = crc32c::crc32c_combine(a, b, usize::try_from(len).unwrap());
            assert_eq!(combine(a, b, len), expected, "length {len}");
        }
    }
}

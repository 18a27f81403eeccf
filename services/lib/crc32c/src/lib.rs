//! CRC-32C (Castagnoli), the checksum of everything that Tidelog stores.
//!
//! Every byte of the log is hashed on its way in and again on its way out, so the speed of this is part of
//! what a record costs. The bytes themselves are hashed by `crc-fast`, which folds them with carry-less
//! multiplication where the processor can.

mod combine;

pub use combine::{combine, shift};

/// The CRC of bytes.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The CRC of what has the CRC `crc`, with `bytes` behind it: `crc32c_append(0, bytes)` is that of `bytes`.
#[must_use]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    // Nothing in front is the usual case, and advancing over a long piece is dearer than hashing a short one.
    if crc == 0 {
        return crc32c(bytes);
    }
    combine(crc, crc32c(bytes), bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue_of_parametrised_crcs() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn every_length_and_alignment_agrees_with_another_implementation() {
        let bytes: Vec<u8> = (0..5_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        for start in 0..17 {
            for len in (0..300).chain([1_023, 1_024, 1_025, 4_096, 4_900]) {
                let part = &bytes[start..start + len];
                assert_eq!(
                    crc32c(part),
                    ::crc32c::crc32c(part),
                    "from {start}, {len} bytes"
                );
            }
        }
    }

    #[test]
    fn pieces_have_the_crc_of_the_whole() {
        let bytes = b"what is written once and read for years";
        for cut in 0..=bytes.len() {
            let (front, rest) = bytes.split_at(cut);
            let crc = crc32c_append(crc32c_append(0, front), rest);
            assert_eq!(crc, crc32c(bytes), "cut at {cut}");
        }
    }
}

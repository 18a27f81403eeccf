//! A page as it lies on the local disk.
//!
//! ```text
//!   magic "TDPG" | version u8 | length u32 | CRC32C of each block u32... | bytes        little endian
//! ```
//!
//! Nobody but this build reads it: another version is a miss.

use std::io::{Error as IoError, ErrorKind as IoErrorKind, Read, Write};

use foyer::{Code, Error};
use tidelog_types::{BucketId, Incarnation, SegmentName, SegmentSequence};

use crate::page::{BLOCK_BYTES, PAGE_BYTES, Page, PageKey};

const MAGIC: [u8; 4] = *b"TDPG";
const VERSION: u8 = 1;
/// Bytes before the checksums.
const HEAD_BYTES: usize = MAGIC.len() + 1 + size_of::<u32>();
/// Bytes of a key: bucket, incarnation, sequence, page.
const KEY_BYTES: usize = 2 + 8 + 8 + 4;

/// The most that a page takes on disk.
pub(super) const ENTRY_BYTES_MAX: usize = HEAD_BYTES
    + (PAGE_BYTES as usize).div_ceil(BLOCK_BYTES) * size_of::<u32>()
    + PAGE_BYTES as usize
    + KEY_BYTES;

/// A page on its way to or from the disk.
#[derive(Clone, Debug)]
pub(super) struct Entry(pub(super) Page);

fn damaged(what: &str) -> Error {
    Error::io_error(IoError::new(IoErrorKind::InvalidData, what))
}

fn read<const N: usize>(reader: &mut impl Read) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes).map_err(Error::io_error)?;
    Ok(bytes)
}

impl Code for PageKey {
    fn encode(&self, writer: &mut impl Write) -> Result<(), Error> {
        let mut bytes = [0; KEY_BYTES];
        bytes[..2].copy_from_slice(&self.bucket.get().to_le_bytes());
        bytes[2..10].copy_from_slice(&self.segment.incarnation.get().to_le_bytes());
        bytes[10..18].copy_from_slice(&self.segment.sequence.get().to_le_bytes());
        bytes[18..].copy_from_slice(&self.page.to_le_bytes());
        writer.write_all(&bytes).map_err(Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> Result<Self, Error> {
        let bucket = BucketId::new(u16::from_le_bytes(read(reader)?));
        let incarnation = Incarnation::new(u64::from_le_bytes(read(reader)?));
        let sequence = SegmentSequence::new(u64::from_le_bytes(read(reader)?));
        let page = u32::from_le_bytes(read(reader)?);
        Ok(Self::new(
            bucket,
            SegmentName::new(incarnation, sequence),
            page,
        ))
    }

    fn estimated_size(&self) -> usize {
        KEY_BYTES
    }
}

impl Code for Entry {
    fn encode(&self, writer: &mut impl Write) -> Result<(), Error> {
        let (bytes, blocks) = self.0.parts();
        let length = u32::try_from(bytes.len()).map_err(|_| damaged("too long"))?;
        let mut head = Vec::with_capacity(HEAD_BYTES + size_of_val(blocks));
        head.extend_from_slice(&MAGIC);
        head.push(VERSION);
        head.extend_from_slice(&length.to_le_bytes());
        for block in blocks {
            head.extend_from_slice(&block.to_le_bytes());
        }
        writer.write_all(&head).map_err(Error::io_error)?;
        writer.write_all(bytes).map_err(Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> Result<Self, Error> {
        if read::<4>(reader)? != MAGIC || read::<1>(reader)? != [VERSION] {
            return Err(damaged("not a page of this version"));
        }
        let length = u32::from_le_bytes(read(reader)?);
        if length > PAGE_BYTES {
            return Err(damaged("longer than a page"));
        }
        let length = usize::try_from(length).map_err(|_| damaged("longer than a page"))?;
        let mut blocks = Vec::with_capacity(length.div_ceil(BLOCK_BYTES));
        for _ in 0..length.div_ceil(BLOCK_BYTES) {
            blocks.push(u32::from_le_bytes(read(reader)?));
        }
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes).map_err(Error::io_error)?;
        Ok(Self(Page::with_blocks(bytes.into(), blocks.into())))
    }

    fn estimated_size(&self) -> usize {
        let length = self.0.parts().0.len();
        HEAD_BYTES + length.div_ceil(BLOCK_BYTES) * size_of::<u32>() + length
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn encoded(value: &impl Code) -> Vec<u8> {
        let mut out = Vec::new();
        value.encode(&mut out).unwrap();
        out
    }

    #[test]
    fn a_page_comes_back_as_it_was_put_and_takes_no_more_than_is_reckoned() {
        for length in [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1, PAGE_BYTES as usize] {
            let entry = Entry(Page::unproven(Bytes::from(vec![7; length])));
            let bytes = encoded(&entry);
            assert_eq!(bytes.len(), entry.estimated_size());
            assert!(bytes.len() + KEY_BYTES <= ENTRY_BYTES_MAX);
            let back = Entry::decode(&mut bytes.as_slice()).unwrap();
            assert_eq!(back.0.checked_slice(0..u32::MAX).unwrap(), vec![7; length]);
        }
    }

    #[test]
    fn a_page_that_changed_on_disk_does_not_pass() {
        let mut bytes = encoded(&Entry(Page::new(Bytes::from(vec![7; 100]))));
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let back = Entry::decode(&mut bytes.as_slice()).unwrap();
        assert!(back.0.checked_slice(0..u32::MAX).is_err());
        bytes[4] = 9;
        assert!(Entry::decode(&mut bytes.as_slice()).is_err());
    }

    proptest! {
        #[test]
        fn keys_come_back(bucket: u16, incarnation: u64, sequence: u64, page: u32) {
            let name = SegmentName::new(Incarnation::new(incarnation), SegmentSequence::new(sequence));
            let key = PageKey::new(BucketId::new(bucket), name, page);
            prop_assert_eq!(PageKey::decode(&mut encoded(&key).as_slice()).unwrap(), key);
        }

        #[test]
        fn any_bytes_are_a_page_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(Entry::decode(&mut bytes.as_slice()));
        }

        #[test]
        fn any_length_behind_a_sound_head_is_a_page_or_an_error(length: u32) {
            let mut bytes = MAGIC.to_vec();
            bytes.push(VERSION);
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(&[0; 64]);
            drop(Entry::decode(&mut bytes.as_slice()));
        }
    }
}

//! Pages: how a segment is cut, and how a page is checked.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelog_types::{BucketId, SegmentName};

/// Bytes of a page, save for the last of a segment. Large enough that a fetch of one is worth its request,
/// small enough that a lone reader does not wait for what it does not need.
pub const PAGE_BYTES: u32 = 4 * 1024 * 1024;

/// Bytes of a block, the unit of checking: a reader of a few records need not check the whole page.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;

/// What a page costs beside its bytes: key, checksums, and its entries in the tables.
const OVERHEAD_BYTES: usize = 512;

/// A page of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PageKey {
    /// The bucket in which the segment lies.
    pub bucket: BucketId,
    /// The segment.
    pub segment: SegmentName,
    /// Which of its pages, from 0.
    pub page: u32,
}

impl PageKey {
    /// Names a page.
    pub const fn new(bucket: BucketId, segment: SegmentName, page: u32) -> Self {
        Self {
            bucket,
            segment,
            page,
        }
    }
}

impl fmt::Display for PageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}#{}", self.bucket, self.segment, self.page)
    }
}

/// The page in which the byte at `position` of a segment lies, and where in it.
pub fn page_at(position: u64) -> (u32, u32) {
    let size = u64::from(PAGE_BYTES);
    let page = u32::try_from(position / size).unwrap_or(u32::MAX);
    let within = u32::try_from(position % size).unwrap_or(u32::MAX);
    (page, within)
}

/// The bytes of a segment of `length` that a page holds; empty for a page behind its end.
pub fn page_range(page: u32, length: u64) -> Range<u64> {
    let size = u64::from(PAGE_BYTES);
    let start = (u64::from(page) * size).min(length);
    start..(start + size).min(length)
}

/// A page in memory with the checksums of its blocks.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    bytes: Bytes,
    /// Taken at the first check, if not before.
    blocks: Arc<OnceLock<Box<[u32]>>>,
}

/// A block of a page is not what it was when the page came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

impl Page {
    /// Takes the checksums of a page that just came.
    pub(crate) fn new(bytes: Bytes) -> Self {
        let page = Self::unproven(bytes);
        page.blocks();
        page
    }

    /// A page whose readers prove what they take by the checksums of the log: ours would only be one more
    /// pass over the bytes. Should somebody read it with a check, they are taken then.
    pub(crate) fn unproven(bytes: Bytes) -> Self {
        let blocks = Arc::default();
        Self { bytes, blocks }
    }

    fn blocks(&self) -> &[u32] {
        let sums = || {
            self.bytes
                .chunks(BLOCK_BYTES)
                .map(tidelog_crc32c::crc32c)
                .collect()
        };
        self.blocks.get_or_init(sums)
    }

    /// A page with the checksums that it had before, proven by nobody yet.
    pub(crate) fn with_blocks(bytes: Bytes, blocks: Box<[u32]>) -> Self {
        let blocks = Arc::new(OnceLock::from(blocks));
        Self { bytes, blocks }
    }

    /// Its bytes, unchecked, and the checksums of its blocks.
    pub(crate) fn parts(&self) -> (&Bytes, &[u32]) {
        (&self.bytes, self.blocks())
    }

    /// All its bytes, unchecked.
    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What the page counts for against the bound.
    pub(crate) fn weight(&self) -> usize {
        self.bytes.len()
            + self.bytes.len().div_ceil(BLOCK_BYTES) * size_of::<u32>()
            + OVERHEAD_BYTES
    }

    /// The bytes of `range`, as far as the page has them, unchecked: for a page that just came.
    pub(crate) fn slice(&self, range: Range<u32>) -> Bytes {
        self.bytes.slice(self.clamp(range))
    }

    /// The bytes of `range`, as far as the page has them; each block that they touch is checked.
    pub(crate) fn checked_slice(&self, range: Range<u32>) -> Result<Bytes, Damaged> {
        let range = self.clamp(range);
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let first = range.start / BLOCK_BYTES;
        let last = (range.end - 1) / BLOCK_BYTES;
        let blocks = self.bytes.chunks(BLOCK_BYTES).zip(self.blocks());
        let sound = blocks
            .skip(first)
            .take(last - first + 1)
            .all(|(block, sum)| tidelog_crc32c::crc32c(block) == *sum);
        if sound {
            Ok(self.bytes.slice(range))
        } else {
            Err(Damaged)
        }
    }

    fn clamp(&self, range: Range<u32>) -> Range<usize> {
        let clamp = |at: u32| usize::try_from(at).map_or(self.len(), |at| at.min(self.len()));
        let end = clamp(range.end);
        clamp(range.start).min(end)..end
    }

    /// A page whose block at `position` will not pass.
    #[cfg(test)]
    pub(crate) fn damaged(bytes: Bytes, position: usize) -> Self {
        let mut blocks: Box<[u32]> = Self::new(bytes.clone()).blocks().into();
        blocks[position / BLOCK_BYTES] ^= 1;
        let blocks = Arc::new(OnceLock::from(blocks));
        Self { bytes, blocks }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pages_tile_a_segment() {
        let size = u64::from(PAGE_BYTES);
        assert_eq!(page_range(0, 10), 0..10);
        assert_eq!(page_range(1, size * 2), size..size * 2);
        assert_eq!(page_range(2, size * 2 + 1), size * 2..size * 2 + 1);
        assert!(page_range(3, size * 2).is_empty());
        assert!(page_range(u32::MAX, u64::MAX).start > 0);
        assert_eq!(page_at(size - 1), (0, PAGE_BYTES - 1));
        assert_eq!(page_at(size), (1, 0));
    }

    #[test]
    fn only_the_blocks_that_are_asked_for_are_checked() {
        let bytes = Bytes::from(vec![7; BLOCK_BYTES * 3 + 5]);
        let page = Page::damaged(bytes, BLOCK_BYTES + 1);
        let block = u32::try_from(BLOCK_BYTES).unwrap();
        assert!(page.checked_slice(0..block).is_ok());
        assert!(page.checked_slice(block * 2..block * 3 + 5).is_ok());
        assert_eq!(page.checked_slice(0..block + 1), Err(Damaged));
        assert_eq!(page.checked_slice(block * 2 - 1..block * 2), Err(Damaged));
        assert_eq!(page.checked_slice(0..u32::MAX), Err(Damaged));
    }

    proptest! {
        #[test]
        fn a_slice_is_what_the_page_has_of_the_range(
            length in 0..200_000_usize, start in 0..220_000_u32, count in 0..220_000_u32,
        ) {
            let bytes: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
            let page = Page::new(Bytes::from(bytes.clone()));
            let (from, to) = (start as usize, (start + count) as usize);
            let expected = &bytes[from.min(length)..to.min(length)];
            let range = start..start + count;
            prop_assert_eq!(page.checked_slice(range.clone()).unwrap(), expected);
            prop_assert_eq!(page.slice(range), expected);
        }
    }
}

//! Pages as they go over the wire.

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tidelog_api::internal::v1;
use tidelog_cache::{PAGE_BYTES, PageKey, Pool};
use tidelog_types::{BucketId, Incarnation, SegmentName, SegmentSequence};

use crate::settings::CHUNK_BYTES;

/// What came is no page, or not the page that was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum WireError {
    #[error("the page's key is missing or out of range")]
    Key,
    #[error("the page does not begin with its head")]
    NoHead,
    #[error("a page of `{0}` bytes is announced")]
    TooLong(u32),
    #[error("`{came}` bytes came of `{announced}`")]
    Length { announced: u32, came: usize },
    #[error("the checksum is `{came:08x}`, not `{announced:08x}`")]
    Checksum { announced: u32, came: u32 },
}

pub(crate) fn key_to_wire(key: PageKey) -> v1::PageKey {
    v1::PageKey {
        bucket: u32::from(key.bucket.get()),
        incarnation: key.segment.incarnation.get(),
        sequence: key.segment.sequence.get(),
        page: key.page,
    }
}

pub(crate) fn key_from_wire(key: Option<&v1::PageKey>) -> Result<PageKey, WireError> {
    let key = key.ok_or(WireError::Key)?;
    let bucket = u16::try_from(key.bucket).map_err(|_| WireError::Key)?;
    let incarnation = Incarnation::new(key.incarnation);
    let segment = SegmentName::new(incarnation, SegmentSequence::new(key.sequence));
    Ok(PageKey::new(BucketId::new(bucket), segment, key.page))
}

pub(crate) const fn pool_to_wire(pool: Pool) -> v1::PagePool {
    match pool {
        Pool::Tail => v1::PagePool::Tail,
        Pool::CatchUp => v1::PagePool::CatchUp,
    }
}

pub(crate) const fn pool_from_wire(pool: v1::PagePool) -> Pool {
    match pool {
        v1::PagePool::Unspecified | v1::PagePool::Tail => Pool::Tail,
        v1::PagePool::CatchUp => Pool::CatchUp,
    }
}

pub(crate) fn head_of(page: &Bytes) -> v1::PageHead {
    v1::PageHead {
        // A page is never longer than 4 MiB.
        length: u32::try_from(page.len()).unwrap_or(u32::MAX),
        crc32c: tidelog_crc32c::crc32c(page),
    }
}

/// The parts of a page, in order.
pub(crate) fn chunks(page: Bytes) -> impl Iterator<Item = Bytes> + Send {
    let length = page.len();
    (0..length)
        .step_by(CHUNK_BYTES)
        .map(move |at| page.slice(at..(at + CHUNK_BYTES).min(length)))
}

/// Puts a page together from its parts. Memory grows with what has come, not with what is announced.
#[derive(Debug)]
pub(crate) struct Assembly {
    head: v1::PageHead,
    bytes: BytesMut,
}

impl Assembly {
    pub(crate) fn new(head: Option<v1::PageHead>) -> Result<Self, WireError> {
        let head = head.ok_or(WireError::NoHead)?;
        if head.length > PAGE_BYTES {
            return Err(WireError::TooLong(head.length));
        }
        let bytes = BytesMut::new();
        Ok(Self { head, bytes })
    }

    /// Takes the next part.
    pub(crate) fn push(&mut self, part: &Bytes) -> Result<(), WireError> {
        let came = self.bytes.len() + part.len();
        if came > usize::try_from(self.head.length).unwrap_or(usize::MAX) {
            return Err(self.wrong_length(came));
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }

    /// The page, if all of it came as it was sent.
    pub(crate) fn finish(self) -> Result<Bytes, WireError> {
        let came = self.bytes.len();
        if u32::try_from(came) != Ok(self.head.length) {
            return Err(self.wrong_length(came));
        }
        let (announced, came) = (self.head.crc32c, tidelog_crc32c::crc32c(&self.bytes));
        if announced == came {
            Ok(self.bytes.freeze())
        } else {
            Err(WireError::Checksum { announced, came })
        }
    }

    const fn wrong_length(&self, came: usize) -> WireError {
        let announced = self.head.length;
        WireError::Length { announced, came }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(page: &Bytes, parts: &[Bytes]) -> Result<Bytes, WireError> {
        let mut assembly = Assembly::new(Some(head_of(page)))?;
        for part in parts {
            assembly.push(part)?;
        }
        assembly.finish()
    }

    #[test]
    fn a_page_comes_as_it_was_sent() {
        for length in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, PAGE_BYTES as usize] {
            let page: Bytes = (0..length).map(|at| at.to_le_bytes()[0]).collect();
            let parts: Vec<Bytes> = chunks(page.clone()).collect();
            assert!(parts.iter().all(|part| part.len() <= CHUNK_BYTES));
            assert_eq!(sent(&page, &parts), Ok(page));
        }
    }

    #[test]
    fn a_page_that_is_changed_cut_or_lengthened_is_refused() {
        let page = Bytes::from(vec![7; 100]);
        let mut changed = page.to_vec();
        changed[50] ^= 1;
        let wrong = sent(&page, &[changed.into()]);
        assert!(matches!(wrong, Err(WireError::Checksum { .. })));
        let wrong = sent(&page, &[page.slice(..99)]);
        assert!(matches!(wrong, Err(WireError::Length { .. })));
        let wrong = sent(&page, &[page.clone(), page.slice(..1)]);
        assert!(matches!(wrong, Err(WireError::Length { .. })));
        let long = v1::PageHead {
            length: PAGE_BYTES + 1,
            crc32c: 0,
        };
        assert!(matches!(
            Assembly::new(Some(long)),
            Err(WireError::TooLong(_))
        ));
        assert!(Assembly::new(None).is_err());
    }

    #[test]
    fn keys_come_back_and_those_out_of_range_are_refused() {
        let name = SegmentName::new(Incarnation::new(u64::MAX), SegmentSequence::new(7));
        let key = PageKey::new(BucketId::new(u16::MAX), name, u32::MAX);
        assert_eq!(key_from_wire(Some(&key_to_wire(key))), Ok(key));
        let far = v1::PageKey {
            bucket: 65_536,
            ..key_to_wire(key)
        };
        assert_eq!(key_from_wire(Some(&far)), Err(WireError::Key));
        assert_eq!(key_from_wire(None), Err(WireError::Key));
        for pool in Pool::ALL {
            assert_eq!(pool_from_wire(pool_to_wire(pool)), pool);
        }
    }
}

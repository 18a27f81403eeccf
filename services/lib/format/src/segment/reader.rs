//! Reads segments and checks their slices.

use bytes::Bytes;
use tidelog_types::{ClusterId, SegmentName};

use super::frame::Frame;
use super::{Footer, FooterSlice, Part, SegmentError, SegmentHeader, SegmentKind, Trailer};
use crate::batch::{BatchView, HEADER_BYTES as BATCH_HEADER_BYTES};

/// A whole segment of a broker in memory, its header, footer and trailer checked. For inspection, merging and
/// tests; fetches read slices by their locations and need none of it.
#[derive(Clone, Debug)]
pub struct SegmentReader {
    frame: Frame,
    footer: Footer,
}

impl SegmentReader {
    /// Opens a whole object. Nothing is copied; slices are not hashed yet.
    pub fn open(bytes: Bytes) -> Result<Self, SegmentError> {
        Self::read(Frame::open(bytes)?)
    }

    pub(super) fn read(frame: Frame) -> Result<Self, SegmentError> {
        frame.check_kind(SegmentKind::Written)?;
        let footer = Footer::decode(frame.footer(), &frame.trailer)?;
        Ok(Self { frame, footer })
    }

    /// Opens a whole object that must be this segment of this cluster.
    pub fn open_named(
        bytes: Bytes,
        cluster: ClusterId,
        name: SegmentName,
    ) -> Result<Self, SegmentError> {
        let reader = Self::open(bytes)?;
        reader.frame.trailer.check_identity(cluster, name)?;
        Ok(reader)
    }

    /// The header.
    pub const fn header(&self) -> &SegmentHeader {
        &self.frame.header
    }

    /// The index of the slices.
    pub const fn footer(&self) -> &Footer {
        &self.footer
    }

    /// The trailer.
    pub const fn trailer(&self) -> &Trailer {
        &self.frame.trailer
    }

    /// The bytes of a slice, checked, and its batches.
    pub fn slice(&self, index: u32) -> Result<Vec<BatchView>, SegmentError> {
        let count = self.footer.slices().len() as u64;
        let slice = self.footer.slices().get(index as usize);
        let slice = slice.ok_or(SegmentError::SliceCount(count))?;
        // The footer was checked to end its slices where it begins, inside the object.
        let range = slice.position as usize..slice.position as usize + slice.length as usize;
        check_slice(index, slice, &self.frame.bytes.slice(range))
    }

    /// Checks every slice.
    pub fn check(&self) -> Result<(), SegmentError> {
        (0_u32..)
            .zip(self.footer.slices())
            .try_for_each(|(index, _)| self.slice(index).map(drop))
    }
}

/// Checks the bytes of a slice: length, CRC, and batches that fill it, as many as the footer says.
/// Answers the batches.
pub fn check_slice(
    index: u32,
    slice: &FooterSlice,
    bytes: &Bytes,
) -> Result<Vec<BatchView>, SegmentError> {
    let claim = SliceClaim {
        index,
        length: slice.length,
        crc32c: slice.crc32c,
        batch_count: slice.batch_count,
    };
    claim.check(bytes)
}

/// What a footer says of a slice of either kind.
pub(super) struct SliceClaim {
    pub(super) index: u32,
    pub(super) length: u32,
    pub(super) crc32c: u32,
    pub(super) batch_count: u32,
}

impl SliceClaim {
    /// See [`check_slice`].
    pub(super) fn check(&self, bytes: &Bytes) -> Result<Vec<BatchView>, SegmentError> {
        let (index, part) = (self.index, Part::Slice(self.index));
        let (needed, remaining) = (u64::from(self.length), bytes.len() as u64);
        if needed != remaining {
            return Err(SegmentError::Truncated {
                part,
                needed,
                remaining,
            });
        }
        let (stored, computed) = (self.crc32c, tidelog_crc32c::crc32c(bytes));
        if stored != computed {
            return Err(SegmentError::Crc {
                part,
                stored,
                computed,
            });
        }
        let batches_max = bytes.len() / BATCH_HEADER_BYTES;
        let mut batches = Vec::with_capacity(batches_max.min(self.batch_count as usize));
        for (batch, view) in (0_u32..).zip(BatchView::all(bytes.clone())) {
            batches.push(view.map_err(|source| SegmentError::Batch {
                slice: index,
                batch,
                source,
            })?);
        }
        if batches.len() != self.batch_count as usize {
            let value = batches.len() as u64;
            return Err(SegmentError::Slice {
                slice: index,
                field: "batches found",
                value,
            });
        }
        Ok(batches)
    }
}

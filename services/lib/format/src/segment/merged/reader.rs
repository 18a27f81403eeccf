//! Reads merged segments and checks their slices.

use bytes::Bytes;
use tidelog_types::{ClusterId, Offset, SegmentName};

use super::{MergedExtent, MergedFooter, MergedSlice};
use crate::batch::BatchView;
use crate::segment::frame::Frame;
use crate::segment::reader::SliceClaim;
use crate::segment::{Part, SegmentError, SegmentHeader, SegmentKind, Trailer};

/// A whole merged segment in memory, its header, footer and trailer checked. For inspection, audits and tests; fetches
/// read extents by their locations and need none of it.
#[derive(Clone, Debug)]
pub struct MergedReader {
    frame: Frame,
    footer: MergedFooter,
}

impl MergedReader {
    /// Opens a whole object. Nothing is copied; slices are not hashed yet.
    pub fn open(bytes: Bytes) -> Result<Self, SegmentError> {
        Self::read(Frame::open(bytes)?)
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

    pub(in crate::segment) fn read(frame: Frame) -> Result<Self, SegmentError> {
        frame.check_kind(SegmentKind::Merged)?;
        let footer = MergedFooter::decode(frame.footer(), &frame.trailer)?;
        Ok(Self { frame, footer })
    }

    /// The header.
    pub const fn header(&self) -> &SegmentHeader {
        &self.frame.header
    }

    /// The index of slices and extents.
    pub const fn footer(&self) -> &MergedFooter {
        &self.footer
    }

    /// The trailer.
    pub const fn trailer(&self) -> &Trailer {
        &self.frame.trailer
    }

    /// The batches of the slice with this number, all checked: its CRC and those of its extents, batches that fill
    /// each extent, as many as the footer says, and their offsets.
    pub fn slice(&self, index: u32) -> Result<Vec<BatchView>, SegmentError> {
        let slice = self.footer.slices().nth(index as usize);
        let (_, slice) = slice.ok_or(SegmentError::SliceCount(u64::from(index)))?;
        self.check_slice(index, slice)
    }

    /// Checks every slice.
    pub fn check(&self) -> Result<(), SegmentError> {
        (0_u32..)
            .zip(self.footer.slices())
            .try_for_each(|(index, (_, slice))| self.check_slice(index, slice).map(drop))
    }

    fn check_slice(&self, index: u32, slice: &MergedSlice) -> Result<Vec<BatchView>, SegmentError> {
        let claim = SliceClaim {
            index,
            length: slice.length,
            crc32c: slice.crc32c,
            batch_count: slice.batch_count,
        };
        let batches = claim.check(&self.bytes(slice.position, slice.length))?;
        let mut rest = batches.iter();
        for extent in &slice.extents {
            let bytes = self.bytes(extent.position, extent.length);
            let (stored, computed) = (extent.crc32c, tidelog_crc32c::crc32c(&bytes));
            if stored != computed {
                let part = Part::Slice(index);
                return Err(SegmentError::Crc {
                    part,
                    stored,
                    computed,
                });
            }
            check_extent(index, extent, &mut rest)?;
        }
        Ok(batches)
    }

    /// The footer was checked to end its slices where it begins, inside the object.
    fn bytes(&self, position: u32, length: u32) -> Bytes {
        let start = position as usize;
        self.frame.bytes.slice(start..start + length as usize)
    }
}

/// Checks that the next batches fill an extent, with offsets that ascend within its own.
fn check_extent<'a>(
    index: u32,
    extent: &MergedExtent,
    batches: &mut impl Iterator<Item = &'a BatchView>,
) -> Result<(), SegmentError> {
    let broken = |field, value| SegmentError::Slice {
        slice: index,
        field,
        value,
    };
    let (mut length, mut next) = (0_u64, extent.offsets.base);
    while length < u64::from(extent.length) {
        let Some(batch) = batches.next() else { break };
        let header = batch.header();
        length += u64::from(header.size());
        let base = Offset::from_i64(header.base_offset).filter(|base| *base >= next);
        let end = base.and_then(|base| base.checked_add(u64::from(header.offset_count())));
        let end = end.filter(|end| *end <= extent.offsets.next);
        next = end.ok_or_else(|| broken("batch offset", header.base_offset.cast_unsigned()))?;
    }
    if length == u64::from(extent.length) {
        Ok(())
    } else {
        Err(broken("extent filled", length))
    }
}

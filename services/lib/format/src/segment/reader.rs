//! Reads segments and checks their slices.

use bytes::Bytes;
use tidelog_types::{ClusterId, SegmentName};

use super::{Footer, FooterSlice, HEADER_BYTES, Part, SegmentError, SegmentHeader, Trailer};
use crate::batch::{BatchView, HEADER_BYTES as BATCH_HEADER_BYTES};

/// A whole segment in memory, its header, footer and trailer checked. For inspection, merging and
/// tests; fetches read slices by their locations and need none of it.
#[derive(Clone, Debug)]
pub struct SegmentReader {
    bytes: Bytes,
    header: SegmentHeader,
    footer: Footer,
    trailer: Trailer,
}

impl SegmentReader {
    /// Opens a whole object. Nothing is copied; slices are not hashed yet.
    pub fn open(bytes: Bytes) -> Result<Self, SegmentError> {
        let trailer = Trailer::decode(&bytes)?;
        let header = SegmentHeader::decode(&bytes)?;
        trailer.check_header(&header)?;
        trailer.check_length(bytes.len() as u64)?;
        let footer = Footer::decode(&bytes[footer_range(&bytes, &trailer)?], &trailer)?;
        Ok(Self {
            bytes,
            header,
            footer,
            trailer,
        })
    }

    /// Opens a whole object that must be this segment of this cluster.
    pub fn open_named(
        bytes: Bytes,
        cluster: ClusterId,
        name: SegmentName,
    ) -> Result<Self, SegmentError> {
        let reader = Self::open(bytes)?;
        reader.trailer.check_identity(cluster, name)?;
        Ok(reader)
    }

    /// The header.
    pub const fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The index of the slices.
    pub const fn footer(&self) -> &Footer {
        &self.footer
    }

    /// The trailer.
    pub const fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// The bytes of a slice, checked, and its batches.
    pub fn slice(&self, index: u32) -> Result<Vec<BatchView>, SegmentError> {
        let count = self.footer.slices().len() as u64;
        let slice = self.footer.slices().get(index as usize);
        let slice = slice.ok_or(SegmentError::SliceCount(count))?;
        // The footer was checked to end its slices where it begins, inside the object.
        let range = slice.position as usize..slice.position as usize + slice.length as usize;
        check_slice(index, slice, &self.bytes.slice(range))
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
    let part = Part::Slice(index);
    let (needed, remaining) = (u64::from(slice.length), bytes.len() as u64);
    if needed != remaining {
        return Err(SegmentError::Truncated {
            part,
            needed,
            remaining,
        });
    }
    let (stored, computed) = (slice.crc32c, tidelog_crc32c::crc32c(bytes));
    if stored != computed {
        return Err(SegmentError::Crc {
            part,
            stored,
            computed,
        });
    }
    let batches_max = bytes.len() / BATCH_HEADER_BYTES;
    let mut batches = Vec::with_capacity(batches_max.min(slice.batch_count as usize));
    for (batch, view) in (0_u32..).zip(BatchView::all(bytes.clone())) {
        batches.push(view.map_err(|source| SegmentError::Batch {
            slice: index,
            batch,
            source,
        })?);
    }
    if batches.len() != slice.batch_count as usize {
        let value = batches.len() as u64;
        return Err(SegmentError::Slice {
            slice: index,
            field: "batches found",
            value,
        });
    }
    Ok(batches)
}

/// Where the footer is in a whole object; the trailer was checked against its length.
fn footer_range(bytes: &Bytes, trailer: &Trailer) -> Result<std::ops::Range<usize>, SegmentError> {
    let missing = SegmentError::Truncated {
        part: Part::Footer,
        needed: trailer
            .footer_position
            .saturating_add(u64::from(trailer.footer_length)),
        remaining: bytes.len() as u64,
    };
    let start = usize::try_from(trailer.footer_position).map_err(|_| missing)?;
    let end = start
        .checked_add(trailer.footer_length as usize)
        .ok_or(missing)?;
    // Slices lie between header and footer; a footer inside the header has none.
    if end > bytes.len() || start < HEADER_BYTES as usize {
        return Err(missing);
    }
    Ok(start..end)
}

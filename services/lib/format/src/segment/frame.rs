//! What every kind of segment has: header, trailer, and a footer between them.

use bytes::Bytes;

use super::{HEADER_BYTES, Part, SegmentError, SegmentHeader, SegmentKind, Trailer};

/// A whole object whose header and trailer belong together. The footer is where the trailer says, and has not been
/// read yet.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    pub(super) header: SegmentHeader,
    pub(super) trailer: Trailer,
    footer_start: usize,
    footer_end: usize,
}

impl Frame {
    /// Checks header and trailer of a whole object. Nothing is copied.
    pub(super) fn open(bytes: Bytes) -> Result<Self, SegmentError> {
        let trailer = Trailer::decode(&bytes)?;
        let header = SegmentHeader::decode(&bytes)?;
        trailer.check_header(&header)?;
        trailer.check_length(bytes.len() as u64)?;
        let (footer_start, footer_end) = footer_range(&bytes, &trailer)?;
        Ok(Self {
            bytes,
            header,
            trailer,
            footer_start,
            footer_end,
        })
    }

    /// Checks that the segment is of this kind.
    pub(super) fn check_kind(&self, expected: SegmentKind) -> Result<(), SegmentError> {
        let found = self.header.kind;
        if found == expected {
            Ok(())
        } else {
            Err(SegmentError::OtherKind { expected, found })
        }
    }

    /// The bytes of the footer.
    pub(super) fn footer(&self) -> &[u8] {
        self.bytes
            .get(self.footer_start..self.footer_end)
            .unwrap_or_default()
    }
}

impl Trailer {
    /// Checks the bytes of a footer against their length and CRC.
    pub(super) fn check_footer(&self, bytes: &[u8]) -> Result<(), SegmentError> {
        let (part, needed) = (Part::Footer, u64::from(self.footer_length));
        let remaining = bytes.len() as u64;
        if remaining < needed {
            return Err(SegmentError::Truncated {
                part,
                needed,
                remaining,
            });
        }
        if remaining > needed {
            let trailing = crate::DecodeError::Trailing(remaining - needed);
            return Err(SegmentError::Footer(trailing));
        }
        let (stored, computed) = (self.footer_crc32c, tidelog_crc32c::crc32c(bytes));
        if stored != computed {
            return Err(SegmentError::Crc {
                part,
                stored,
                computed,
            });
        }
        Ok(())
    }

    /// Checks that slices which end there end where the footer begins.
    pub(super) const fn check_layout(&self, slices_end: u64) -> Result<(), SegmentError> {
        let footer_position = self.footer_position;
        if slices_end == footer_position {
            Ok(())
        } else {
            Err(SegmentError::Layout {
                slices_end,
                footer_position,
            })
        }
    }
}

/// Where the footer is in a whole object; the trailer was checked against its length.
fn footer_range(bytes: &Bytes, trailer: &Trailer) -> Result<(usize, usize), SegmentError> {
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
    Ok((start, end))
}

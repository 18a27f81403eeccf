//! The first 40 bytes.

use tidelog_types::ClusterId;

use super::{Part, SegmentError};
use crate::Features;
use crate::wire::Reader;

/// The bytes of a segment before its first slice.
pub const HEADER_BYTES: u32 = 40;

const MAGIC: [u8; 8] = *b"TIDELOGS";
/// The version that is written; it must not change without a new layout.
pub(super) const VERSION: u16 = 1;

/// What kind of segment it is. The numbers must not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum SegmentKind {
    /// Written by a broker, from what producers sent.
    Written = 1,
    /// Written by a janitor, from extents of other segments.
    Merged = 2,
}

impl SegmentKind {
    pub(super) const fn number(self) -> u16 {
        self as u16
    }

    pub(super) const fn read(part: Part, kind: u16) -> Result<Self, SegmentError> {
        match kind {
            1 => Ok(Self::Written),
            2 => Ok(Self::Merged),
            kind => Err(SegmentError::Kind { part, kind }),
        }
    }
}

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The kind of segment.
    pub kind: SegmentKind,
    /// What it uses beyond its version.
    pub features: Features,
    /// The cluster that it belongs to.
    pub cluster: ClusterId,
}

impl SegmentHeader {
    /// The stored form.
    pub fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut head = [0; HEADER_BYTES as usize];
        head[..8].copy_from_slice(&MAGIC);
        head[8..10].copy_from_slice(&VERSION.to_be_bytes());
        head[10..12].copy_from_slice(&self.kind.number().to_be_bytes());
        head[12..16].copy_from_slice(&self.features.required.to_be_bytes());
        head[16..20].copy_from_slice(&self.features.ignorable.to_be_bytes());
        head[20..36].copy_from_slice(&self.cluster.to_bytes());
        let crc = tidelog_crc32c::crc32c(&head[..36]);
        head[36..].copy_from_slice(&crc.to_be_bytes());
        head
    }

    /// Reads the header at the front of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, SegmentError> {
        let part = Part::Header;
        let head = bytes
            .first_chunk::<{ HEADER_BYTES as usize }>()
            .ok_or_else(|| {
                let remaining = bytes.len() as u64;
                SegmentError::Truncated {
                    part,
                    needed: u64::from(HEADER_BYTES),
                    remaining,
                }
            })?;
        let mut reader = Reader::new(head);
        let magic = reader.array()?;
        if magic != MAGIC {
            return Err(SegmentError::Magic { part, magic });
        }
        let version = reader.u16()?;
        if version != VERSION {
            return Err(SegmentError::Version { part, version });
        }
        let computed = tidelog_crc32c::crc32c(&head[..36]);
        let kind = reader.u16()?;
        let (required, ignorable) = (reader.u32()?, reader.u32()?);
        let cluster = ClusterId::from_bytes(reader.array()?);
        let stored = reader.u32()?;
        if stored != computed {
            return Err(SegmentError::Crc {
                part,
                stored,
                computed,
            });
        }
        let features = Features {
            required,
            ignorable,
        }
        .check()
        .map_err(|source| SegmentError::Features { part, source })?;
        Ok(Self {
            kind: SegmentKind::read(part, kind)?,
            features,
            cluster,
        })
    }
}

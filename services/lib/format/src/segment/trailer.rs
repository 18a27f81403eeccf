//! The last 88 bytes.

use std::fmt;

use tidelog_types::{ClusterId, Incarnation, SegmentName, SegmentSequence};

use super::header::VERSION;
use super::{Part, SegmentError, SegmentHeader, SegmentKind};
use crate::Features;
use crate::wire::Reader;

/// The bytes of a segment behind its footer.
pub const TRAILER_BYTES: u32 = 88;

const MAGIC: [u8; 8] = *b"TIDELOGE";
// Where fields stand; version and magic keep their place from the end for ever.
const CRC_AT: usize = 72;
const KIND_AT: usize = 76;
const VERSION_AT: usize = 78;
const MAGIC_AT: usize = 80;

/// Random bytes, new for each attempt to write a segment: they tell our own object from another that
/// lies under the same name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// Wraps 16 random bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({self})")
    }
}

/// The trailer of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Where the footer begins.
    pub footer_position: u64,
    /// How long it is.
    pub footer_length: u32,
    /// CRC-32C of the footer.
    pub footer_crc32c: u32,
    /// Which attempt to write this is.
    pub nonce: Nonce,
    /// The cluster that the segment belongs to.
    pub cluster: ClusterId,
    /// The segment.
    pub name: SegmentName,
    /// The kind of segment.
    pub kind: SegmentKind,
    /// What it uses beyond its version.
    pub features: Features,
}

impl Trailer {
    /// The stored form.
    pub fn encode(&self) -> [u8; TRAILER_BYTES as usize] {
        let mut tail = [0; TRAILER_BYTES as usize];
        tail[..8].copy_from_slice(&self.footer_position.to_be_bytes());
        tail[8..12].copy_from_slice(&self.footer_length.to_be_bytes());
        tail[12..16].copy_from_slice(&self.footer_crc32c.to_be_bytes());
        tail[16..32].copy_from_slice(&self.nonce.0);
        tail[32..48].copy_from_slice(&self.cluster.to_bytes());
        tail[48..56].copy_from_slice(&self.name.incarnation.get().to_be_bytes());
        tail[56..64].copy_from_slice(&self.name.sequence.get().to_be_bytes());
        tail[64..68].copy_from_slice(&self.features.required.to_be_bytes());
        tail[68..72].copy_from_slice(&self.features.ignorable.to_be_bytes());
        tail[KIND_AT..VERSION_AT].copy_from_slice(&self.kind.number().to_be_bytes());
        tail[VERSION_AT..MAGIC_AT].copy_from_slice(&VERSION.to_be_bytes());
        tail[MAGIC_AT..].copy_from_slice(&MAGIC);
        let crc = crc_of(&tail);
        tail[CRC_AT..KIND_AT].copy_from_slice(&crc.to_be_bytes());
        tail
    }

    /// Reads the trailer at the end of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, SegmentError> {
        let part = Part::Trailer;
        let tail = bytes
            .last_chunk::<{ TRAILER_BYTES as usize }>()
            .ok_or_else(|| {
                let remaining = bytes.len() as u64;
                SegmentError::Truncated {
                    part,
                    needed: u64::from(TRAILER_BYTES),
                    remaining,
                }
            })?;
        let magic = Reader::new(&tail[MAGIC_AT..]).array()?;
        if magic != MAGIC {
            return Err(SegmentError::Magic { part, magic });
        }
        let version = Reader::new(&tail[VERSION_AT..]).u16()?;
        if version != VERSION {
            return Err(SegmentError::Version { part, version });
        }
        let stored = Reader::new(&tail[CRC_AT..]).u32()?;
        let computed = crc_of(tail);
        if stored != computed {
            return Err(SegmentError::Crc {
                part,
                stored,
                computed,
            });
        }
        Self::read(tail)
    }

    /// Reads the fields of a trailer whose CRC is right.
    fn read(tail: &[u8; TRAILER_BYTES as usize]) -> Result<Self, SegmentError> {
        let part = Part::Trailer;
        let kind = SegmentKind::read(part, Reader::new(&tail[KIND_AT..]).u16()?)?;
        let mut reader = Reader::new(tail);
        let footer_position = reader.u64()?;
        let (footer_length, footer_crc32c) = (reader.u32()?, reader.u32()?);
        let nonce = Nonce(reader.array()?);
        let cluster = ClusterId::from_bytes(reader.array()?);
        let incarnation = Incarnation::new(reader.u64()?);
        let sequence = SegmentSequence::new(reader.u64()?);
        let (required, ignorable) = (reader.u32()?, reader.u32()?);
        let features = Features {
            required,
            ignorable,
        }
        .check()
        .map_err(|source| SegmentError::Features { part, source })?;
        let name = SegmentName::new(incarnation, sequence);
        Ok(Self {
            footer_position,
            footer_length,
            footer_crc32c,
            nonce,
            cluster,
            name,
            kind,
            features,
        })
    }

    /// Checks that the trailer is of this segment of this cluster.
    pub fn check_identity(
        &self,
        cluster: ClusterId,
        name: SegmentName,
    ) -> Result<(), SegmentError> {
        if self.cluster != cluster {
            let part = Part::Trailer;
            return Err(SegmentError::Cluster {
                part,
                expected: cluster,
                found: self.cluster,
            });
        }
        if self.name != name {
            return Err(SegmentError::Name {
                expected: name,
                found: self.name,
            });
        }
        Ok(())
    }

    /// Checks that header and trailer are of one segment.
    pub fn check_header(&self, header: &SegmentHeader) -> Result<(), SegmentError> {
        if self.cluster != header.cluster {
            return Err(SegmentError::Mismatch { field: "cluster" });
        }
        if self.kind != header.kind {
            return Err(SegmentError::Mismatch { field: "kind" });
        }
        if self.features != header.features {
            return Err(SegmentError::Mismatch { field: "features" });
        }
        Ok(())
    }

    /// Checks that footer and trailer end an object of this length.
    pub fn check_length(&self, object_length: u64) -> Result<(), SegmentError> {
        let trailer_position =
            object_length
                .checked_sub(u64::from(TRAILER_BYTES))
                .ok_or(SegmentError::Truncated {
                    part: Part::Trailer,
                    needed: u64::from(TRAILER_BYTES),
                    remaining: object_length,
                })?;
        let footer_end = self
            .footer_position
            .saturating_add(u64::from(self.footer_length));
        if footer_end == trailer_position {
            Ok(())
        } else {
            Err(SegmentError::FooterEnd {
                footer_end,
                trailer_position,
            })
        }
    }
}

/// The CRC of all but its own bytes.
fn crc_of(tail: &[u8; TRAILER_BYTES as usize]) -> u32 {
    let (before, behind) = (&tail[..CRC_AT], &tail[KIND_AT..]);
    tidelog_crc32c::combine(
        tidelog_crc32c::crc32c(before),
        tidelog_crc32c::crc32c(behind),
        behind.len() as u64,
    )
}

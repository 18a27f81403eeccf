//! Where bytes of a partition lie: `docs/format/manifest.md`, "Location".

use thiserror::Error;
use tidelog_types::{BucketId, Incarnation, SegmentName, SegmentSequence};

use crate::marker::EndMarker;
use crate::wire::{self, DecodeError, Reader};

/// The version byte that is written; it must not change without a new layout.
const VERSION: u8 = 1;
const TAG_SEGMENT: u8 = 0;
const TAG_INLINE: u8 = 1;
const TAG_MARKER: u8 = 2;

/// Where bytes of a partition lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// A run of bytes in an object.
    Segment {
        /// The bucket that the object lies in.
        bucket: BucketId,
        /// The object.
        segment: SegmentName,
        /// The first byte in it.
        position: u32,
        /// How many bytes.
        length: u32,
    },
    /// Small data inside the store.
    Inline {
        /// The row that holds it.
        row: u64,
    },
    /// A transaction marker: it is all here, and takes no bytes elsewhere.
    Marker(EndMarker),
}

/// Why bytes are not a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LocationError {
    /// Another version wrote it.
    #[error("unknown location version `{0}`")]
    Version(u8),
    /// No such kind of location.
    #[error("unknown kind of location `{0}`")]
    Tag(u8),
    /// The run of bytes ends past the largest position.
    #[error("a location ends past `2^32 - 1`: position `{position}`, length `{length}`")]
    PastEnd {
        /// The first byte.
        position: u32,
        /// How many bytes.
        length: u32,
    },
    /// The layout is broken.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl Location {
    /// Appends the stored form, which ends where its own fields end.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match *self {
            Self::Segment {
                bucket,
                segment,
                position,
                length,
            } => {
                out.push(TAG_SEGMENT);
                wire::put_varint(out, u64::from(bucket.get()));
                wire::put_varint(out, segment.incarnation.get());
                wire::put_varint(out, segment.sequence.get());
                wire::put_varint(out, u64::from(position));
                wire::put_varint(out, u64::from(length));
            }
            Self::Inline { row } => {
                out.push(TAG_INLINE);
                wire::put_varint(out, row);
            }
            Self::Marker(marker) => {
                out.push(TAG_MARKER);
                marker.encode_into(out);
            }
        }
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        self.encode_into(&mut out);
        out
    }

    /// Reads the stored form; all of `bytes` must be it.
    pub fn decode(bytes: &[u8]) -> Result<Self, LocationError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(LocationError::Version(version));
        }
        let location = match reader.u8()? {
            TAG_SEGMENT => Self::decode_segment(&mut reader)?,
            TAG_INLINE => Self::Inline {
                row: reader.varint()?,
            },
            TAG_MARKER => Self::Marker(EndMarker::decode(&mut reader)?),
            tag => return Err(LocationError::Tag(tag)),
        };
        reader.finish()?;
        Ok(location)
    }

    fn decode_segment(reader: &mut Reader<'_>) -> Result<Self, LocationError> {
        let bucket = BucketId::new(reader.narrow("bucket")?);
        let incarnation = Incarnation::new(reader.varint()?);
        let sequence = SegmentSequence::new(reader.varint()?);
        let position: u32 = reader.narrow("position")?;
        let length: u32 = reader.narrow("length")?;
        if position.checked_add(length).is_none() {
            return Err(LocationError::PastEnd { position, length });
        }
        let segment = SegmentName::new(incarnation, sequence);
        Ok(Self::Segment {
            bucket,
            segment,
            position,
            length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker::Decision;
    use tidelog_types::{ProducerEpoch, ProducerId};

    fn marker(producer_id: ProducerId, epoch: i16, coordinator_epoch: i32) -> EndMarker {
        EndMarker {
            producer_id,
            producer_epoch: ProducerEpoch::new(epoch),
            coordinator_epoch,
            decision: Decision::Commit,
        }
    }

    fn segment() -> Location {
        Location::Segment {
            bucket: BucketId::new(3),
            segment: SegmentName::new(Incarnation::new(300), SegmentSequence::new(u64::MAX)),
            position: 40,
            length: u32::MAX - 40,
        }
    }

    #[test]
    fn every_kind_comes_back_and_no_cut_of_it_does() {
        for location in [
            segment(),
            Location::Inline { row: 0 },
            Location::Marker(marker(ProducerId::new(i64::MAX), i16::MAX, i32::MAX)),
            Location::Marker(marker(ProducerId::NONE, -1, i32::MIN)),
        ] {
            let bytes = location.encode();
            assert_eq!(Location::decode(&bytes), Ok(location));
            for cut in 0..bytes.len() {
                assert!(
                    Location::decode(&bytes[..cut]).is_err(),
                    "{location:?} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn the_stored_bytes_are_fixed() {
        let location = Location::Segment {
            bucket: BucketId::new(0),
            segment: SegmentName::new(Incarnation::new(5), SegmentSequence::new(200)),
            position: 40,
            length: 128,
        };
        assert_eq!(location.encode(), [1, 0, 0, 5, 0xc8, 1, 40, 0x80, 1]);
        assert_eq!(Location::Inline { row: 7 }.encode(), [1, 1, 7]);
        let end = marker(ProducerId::new(7), 2, -1);
        assert_eq!(Location::Marker(end).encode(), [1, 2, 14, 4, 1, 1]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(Location::decode(&[2, 0]), Err(LocationError::Version(2)));
        assert_eq!(Location::decode(&[1, 9]), Err(LocationError::Tag(9)));
        let left = LocationError::Decode(DecodeError::Trailing(1));
        assert_eq!(Location::decode(&[1, 1, 7, 0]), Err(left));
        let bucket = DecodeError::Range {
            field: "bucket",
            value: 65_536,
        };
        let wide = [1, 0, 0x80, 0x80, 4, 0, 0, 0, 0];
        assert_eq!(Location::decode(&wide), Err(LocationError::Decode(bucket)));
        let epoch = DecodeError::Range {
            field: "producer epoch",
            value: 65_536,
        };
        let wide = [1, 2, 14, 0x80, 0x80, 4, 0, 0];
        assert_eq!(Location::decode(&wide), Err(LocationError::Decode(epoch)));
        let decision = DecodeError::Range {
            field: "decision",
            value: 2,
        };
        let odd = [1, 2, 14, 4, 1, 2];
        assert_eq!(Location::decode(&odd), Err(LocationError::Decode(decision)));
        let past = [1, 0, 0, 1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f];
        let error = LocationError::PastEnd {
            position: 1,
            length: u32::MAX,
        };
        assert_eq!(Location::decode(&past), Err(error));
    }
}

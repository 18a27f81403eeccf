//! Segments that lie in the store: committed together with their bytes, and moved into a bucket by a merge.

use bytes::Bytes;
use tidelog_types::SegmentName;

use super::codec::{RowError, RowReader, RowWriter};
use super::key::{KeyKind, Keyspace};

/// The newest version of these rows. On disk for ever.
const VERSION: u8 = 1;

const KIND: &str = "inline";

/// A segment in the store, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineRow {
    /// The bytes that an object in a bucket would have.
    pub segment: Bytes,
}

impl InlineRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(VERSION)
            .u32(tidelog_crc32c::crc32c(&self.segment))
            .bytes(&self.segment)
            .finish()
    }

    /// Reads a value back, and proves it.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (crc32c, row) = Self::split(value)?;
        if tidelog_crc32c::crc32c(&row.segment) != crc32c {
            return Err(RowError {
                kind: KIND,
                what: "its bytes have another checksum",
            });
        }
        Ok(row)
    }

    /// The bytes of a value for whoever proves each part of them that it takes, however damaged they are; none if the
    /// value is no row at all.
    pub fn unproven(value: Bytes) -> Bytes {
        Self::split(value).map_or_else(|_| Bytes::new(), |(_, row)| row.segment)
    }

    fn split(value: Bytes) -> Result<(u32, Self), RowError> {
        let (mut row, _) = RowReader::new(KIND, value, VERSION)?;
        let crc32c = row.u32()?;
        let segment = row.bytes()?;
        row.finish()?;
        Ok((crc32c, Self { segment }))
    }
}

impl Keyspace {
    /// A segment that lies in the store.
    pub fn inline(self, segment: SegmentName) -> Bytes {
        self.key(KeyKind::Inline).segment(segment).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::assert_round_trip;
    use super::*;

    #[test]
    fn segments_in_the_store_round_trip_and_damaged_ones_are_errors() {
        let row = InlineRow {
            segment: Bytes::from_static(b"a whole segment"),
        };
        assert_round_trip(&row, &row.encode(), InlineRow::decode);
        let mut damaged = row.encode().to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(InlineRow::decode(damaged.clone().into()).is_err());
        let unproven = InlineRow::unproven(damaged.into());
        assert_eq!(unproven.len(), row.segment.len());
        assert_ne!(unproven, row.segment);
        assert!(InlineRow::unproven(Bytes::from_static(b"\x01\x02")).is_empty());
    }
}

//! Rows of segments and of the writers that they come from.

use bytes::Bytes;
use tidelog_format::manifest::Receipt;
use tidelog_types::{GroupNumber, SegmentSequence};

use super::codec::{RowError, RowReader, RowWriter};

/// The newest version of these rows. On disk for ever.
const VERSION: u8 = 1;

/// The proof of a commit: what became of each batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptRow {
    /// The group it was committed in.
    pub group: GroupNumber,
    /// The outcomes.
    pub receipt: Receipt,
}

impl ReceiptRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(VERSION)
            .u64(self.group.get())
            .bytes(&self.receipt.encode())
            .finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("receipt", value, VERSION)?;
        let group = GroupNumber::new(row.u64()?);
        let receipt =
            Receipt::decode(&row.bytes()?).map_err(|_| row.error("its outcomes are damaged"))?;
        row.finish()?;
        Ok(Self { group, receipt })
    }
}

/// The floor of an incarnation: manifests of its segments below it are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloorRow {
    /// The lowest sequence that is still taken.
    pub floor: SegmentSequence,
}

impl FloorRow {
    /// Says that the incarnation has ended: nothing is taken under it any more. No floor is above this one.
    pub const ENDED: Self = Self {
        floor: SegmentSequence::new(u64::MAX),
    };

    /// Whether it says so.
    pub fn has_ended(self) -> bool {
        self == Self::ENDED
    }

    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(VERSION).u64(self.floor.get()).finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("floor", value, VERSION)?;
        let floor = SegmentSequence::new(row.u64()?);
        row.finish()?;
        Ok(Self { floor })
    }
}

/// What is kept of a writer that has ended, once its receipts have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedWriterRow {
    /// The highest sequence that it had committed in any shard. Segments that it put and never
    /// committed may lie below and above it.
    pub highest: SegmentSequence,
}

impl EndedWriterRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(VERSION).u64(self.highest.get()).finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("ended writer", value, VERSION)?;
        let highest = SegmentSequence::new(row.u64()?);
        row.finish()?;
        Ok(Self { highest })
    }
}

/// The newest version of live bytes. On disk for ever; version 1 does not say how many were committed.
const LIVE_VERSION: u8 = 2;

/// The live bytes of a segment in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveBytesRow {
    /// Bytes that extents name.
    pub bytes: u64,
    /// Bytes that they named at first; in version 1 only those that they named when it was written.
    pub committed: u64,
}

impl LiveBytesRow {
    /// What is written with a commit.
    pub const fn committed(bytes: u64) -> Self {
        Self {
            bytes,
            committed: bytes,
        }
    }

    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(LIVE_VERSION)
            .u64(self.bytes)
            .u64(self.committed)
            .finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, version) = RowReader::new("live bytes", value, LIVE_VERSION)?;
        let bytes = row.u64()?;
        let committed = if version >= LIVE_VERSION {
            row.u64()?
        } else {
            bytes
        };
        if bytes > committed {
            return Err(row.error("more is named than was committed"));
        }
        row.finish()?;
        Ok(Self { bytes, committed })
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::assert_round_trip;
    use super::*;

    #[test]
    fn rows_of_segments_round_trip_and_cut_or_longer_ones_are_errors() {
        let floor = FloorRow {
            floor: SegmentSequence::new(5),
        };
        assert_round_trip(&floor, &floor.encode(), FloorRow::decode);
        let ended = EndedWriterRow {
            highest: SegmentSequence::new(6),
        };
        assert_round_trip(&ended, &ended.encode(), EndedWriterRow::decode);
        let live = LiveBytesRow::committed(77);
        assert_round_trip(&live, &live.encode(), LiveBytesRow::decode);
        let more = LiveBytesRow { bytes: 78, ..live };
        assert!(LiveBytesRow::decode(more.encode()).is_err());
        let old = [&[1][..], &77_u64.to_be_bytes()].concat();
        assert_eq!(LiveBytesRow::decode(old.into()), Ok(live));
    }
}

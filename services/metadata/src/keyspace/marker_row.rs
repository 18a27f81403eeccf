//! Markers, as the tail has them.

use tidelog_format::location::Location;
use tidelog_format::marker::{Decision, EndMarker};
use tidelog_metadata_api::{Extent, MARKERS_MAX, TransactionNumber};
use tidelog_types::limits::STORE_VALUE_BYTES_MAX;
use tidelog_types::{
    Offset, OffsetRange, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicNumber,
    TopicPartition,
};

use super::aborted_row::AbortedRow;
use super::codec::{RowError, RowReader, RowWriter};

/// Bytes of a marker at most.
const MARKER_BYTES_MAX: usize = 12 + 8 + 8 + 2 + 4 + 1 + 8 + 1 + 16;

const _: () = assert!(MARKERS_MAX * MARKER_BYTES_MAX + 16 <= STORE_VALUE_BYTES_MAX);
const _: () = assert!(MARKERS_MAX <= u16::MAX as usize);

/// The end of a transaction in a partition, where it takes one offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkerRow {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset that it takes; below the largest there is.
    pub offset: Offset,
    /// What readers are told.
    pub marker: EndMarker,
    /// Which of the producer's transactions has ended.
    pub number: TransactionNumber,
    /// What ended, if anything was open.
    pub ended: Option<EndedTransaction>,
}

/// A transaction with records that a marker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedTransaction {
    /// The offset of its first record.
    pub first: Offset,
    /// The last stable offset of the partition after it.
    pub last_stable: Offset,
}

impl MarkerRow {
    /// The offset after it.
    pub(crate) fn next(&self) -> Offset {
        self.offset.checked_add(1).unwrap_or(self.offset)
    }

    /// The extent that it adds, at the commit time.
    pub(crate) fn extent(&self, commit_time: Timestamp) -> Extent {
        Extent {
            offsets: OffsetRange {
                base: self.offset,
                next: self.next(),
            },
            location: Location::Marker(self.marker),
            crc32c: None,
            max_timestamp: commit_time,
        }
    }

    /// The row of the aborted transaction that it adds, if it does.
    pub(crate) fn aborted(&self) -> Option<AbortedRow> {
        let ended = self.ended.as_ref()?;
        (self.marker.decision == Decision::Abort).then_some(AbortedRow {
            producer: self.marker.producer_id,
            first: ended.first,
            last_stable: ended.last_stable,
        })
    }

    pub(super) fn write(&self, row: RowWriter) -> RowWriter {
        let marker = &self.marker;
        let row = row
            .u64(self.partition.topic.get())
            .u32(self.partition.partition.get())
            .u64(self.offset.get())
            .i64(marker.producer_id.get())
            .u16(marker.producer_epoch.get().cast_unsigned())
            .u32(marker.coordinator_epoch.cast_unsigned())
            .u8(marker.decision as u8)
            .u64(self.number.0);
        match self.ended {
            Some(ended) => row
                .u8(1)
                .u64(ended.first.get())
                .u64(ended.last_stable.get()),
            None => row.u8(0),
        }
    }

    pub(super) fn read(row: &mut RowReader) -> Result<Self, RowError> {
        let topic = TopicNumber::new(row.u64()?);
        let partition = TopicPartition::new(topic, PartitionIndex::new(row.u32()?));
        let offset = Offset::new(row.u64()?);
        let marker = EndMarker {
            producer_id: ProducerId::new(row.i64()?),
            producer_epoch: ProducerEpoch::new(row.u16()?.cast_signed()),
            coordinator_epoch: row.u32()?.cast_signed(),
            decision: if row.flag()? {
                Decision::Commit
            } else {
                Decision::Abort
            },
        };
        let number = TransactionNumber(row.u64()?);
        let mut ended = None;
        if row.flag()? {
            ended = Some(EndedTransaction {
                first: Offset::new(row.u64()?),
                last_stable: Offset::new(row.u64()?),
            });
        }
        let is_after = ended.is_none_or(|ended| ended.first < offset);
        if !is_after || offset.checked_add(1).is_none() {
            return Err(row.error("a marker is not after what it ends, or at no offset"));
        }
        Ok(Self {
            partition,
            offset,
            marker,
            number,
            ended,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A marker that ends what began at an offset.
    pub(crate) fn example(first: Option<u64>) -> MarkerRow {
        MarkerRow {
            partition: TopicPartition::new(TopicNumber::new(u64::MAX), PartitionIndex::new(9)),
            offset: Offset::new(77),
            marker: EndMarker {
                producer_id: ProducerId::new(i64::MAX),
                producer_epoch: ProducerEpoch::new(3),
                coordinator_epoch: -2,
                decision: Decision::Abort,
            },
            number: TransactionNumber(u64::MAX),
            ended: first.map(|first| EndedTransaction {
                first: Offset::new(first),
                last_stable: Offset::new(78),
            }),
        }
    }

    #[test]
    fn only_an_abort_of_something_makes_an_aborted_transaction() {
        let aborted = example(Some(3)).aborted().unwrap();
        assert_eq!((aborted.first.get(), aborted.last_stable.get()), (3, 78));
        assert_eq!(example(None).aborted(), None);
        let mut committed = example(Some(3));
        committed.marker.decision = Decision::Commit;
        assert_eq!(committed.aborted(), None);
    }

    #[test]
    fn a_marker_before_what_it_ends_is_an_error() {
        let read = |marker: MarkerRow| {
            let value = marker.write(RowWriter::new(1)).finish();
            let (mut row, _) = RowReader::new("tail", value, 1)?;
            MarkerRow::read(&mut row)
        };
        assert_eq!(read(example(Some(76))), Ok(example(Some(76))));
        assert!(read(example(Some(77))).is_err());
        let last = MarkerRow {
            offset: Offset::new(u64::MAX),
            ..example(None)
        };
        assert!(read(last).is_err());
    }
}

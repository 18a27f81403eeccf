//! Counts the live bytes of what a backup has. The rows of the store are of other moments: what was merged or taken off
//! the books meanwhile they count where it was before, or where it is by now.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use tidelog_format::location::Location;
use tidelog_metadata_api::{Extent, TopicInfo};
use tidelog_types::{Offset, SegmentName, ShardId, TopicNumber, TopicPartition};

use super::scan::Row;
use crate::keyspace::{Keyspace, LiveBytesRow, PartitionRow, RowError, TailRow, TopicRow};
use crate::sequencer::extents_of;

/// About a hundred bytes of memory a segment and shard, and forty a partition.
#[derive(Debug, Default)]
pub(super) struct Counting {
    live: BTreeMap<(SegmentName, ShardId), u64>,
    /// Up to where the pages of each partition go.
    ends: HashMap<TopicPartition, Offset>,
    /// The topic that was asked for last; nothing if it is gone.
    topic: Option<(TopicNumber, Option<TopicInfo>)>,
}

impl Counting {
    /// Takes note of a segment that has a row, whatever of it is counted.
    pub(super) fn know(&mut self, segment: SegmentName, shard: ShardId) {
        self.live.entry((segment, shard)).or_default();
    }

    /// Whether the topic must be told to go on.
    pub(super) fn needs(&self, topic: TopicNumber) -> bool {
        self.topic.as_ref().is_none_or(|(known, _)| *known != topic)
    }

    /// Topics may have more partitions than before: they are told again.
    pub(super) fn forget_topic(&mut self) {
        self.topic = None;
    }

    /// Takes the row of a topic.
    pub(super) fn topic(
        &mut self,
        number: TopicNumber,
        value: Option<Bytes>,
    ) -> Result<(), RowError> {
        let row = value.map(TopicRow::decode).transpose()?;
        self.topic = Some((number, row.map(|row| row.info())));
        Ok(())
    }

    /// Counts what the pages of a partition have, as its row goes with them.
    pub(super) fn pages(
        &mut self,
        partition: TopicPartition,
        value: Bytes,
        extents: &[Extent],
    ) -> Result<(), RowError> {
        self.ends.insert(partition, Offset::ZERO);
        if PartitionRow::has_pages(&value) {
            let row = PartitionRow::decode(value)?;
            self.ends.insert(partition, row.next);
            let topic = self.topic.as_ref().and_then(|(_, topic)| topic.as_ref());
            // Where the topic is gone nobody will ever ask for its extents.
            let Some(topic) = topic else {
                return Ok(());
            };
            let index = usize::try_from(partition.partition.get()).unwrap_or(usize::MAX);
            let info = topic.partitions.get(index).ok_or(RowError {
                kind: "partition",
                what: "its topic has fewer partitions",
            })?;
            let shard = info.shard;
            let live = extents
                .iter()
                .filter(|extent| extent.offsets.next > row.reclaimed);
            for extent in live {
                self.add(extent, shard);
            }
        }
        Ok(())
    }

    /// Whether a partition has a row.
    pub(super) fn has_row(&self, partition: TopicPartition) -> bool {
        self.ends.contains_key(&partition)
    }

    /// Counts what an entry of the tail has beyond the pages. A partition without a row has no others than these, and
    /// `counts` says whether it has these: where its topic is purged, it may not.
    pub(super) fn tail(&mut self, row: &TailRow, counts: impl Fn(TopicPartition) -> bool) {
        let TailRow::Manifest {
            manifest, receipt, ..
        } = row
        else {
            return;
        };
        self.know(manifest.segment, manifest.shard);
        for (partition, extent) in extents_of(manifest, &receipt.outcomes) {
            let is_counted = match self.ends.get(&partition) {
                Some(end) => extent.offsets.base >= *end,
                None => counts(partition),
            };
            if is_counted {
                self.add(&extent, manifest.shard);
            }
        }
    }

    fn add(&mut self, extent: &Extent, shard: ShardId) {
        if let Location::Segment { segment, .. } = extent.location {
            let live = self.live.entry((segment, shard)).or_default();
            *live = live.saturating_add(u64::from(extent.byte_count()));
        }
    }

    /// All that was counted, and the row of each.
    pub(super) fn rows(self, keys: Keyspace) -> impl Iterator<Item = (SegmentName, u64, Row)> {
        self.live.into_iter().map(move |((segment, shard), bytes)| {
            let row = (
                keys.live_bytes(segment, shard),
                LiveBytesRow::committed(bytes).encode(),
            );
            (segment, bytes, row)
        })
    }
}

//! What the tails have beyond the pages, as whoever replays them takes it.

use std::collections::BTreeSet;

use tidelog_store::RowSource;
use tidelog_types::{OffsetRange, ShardId, TopicNumber, TopicPartition};

use super::difference::LogFault;
use super::picture::{Painter, Unread};
use crate::backup::Rest;
use crate::keyspace::{Keyspace, RowError, TailRow};
use crate::sequencer::extents_of;

impl<R: RowSource + ?Sized> Painter<'_, R> {
    /// What the tails have beyond the pages.
    pub(super) async fn tails(&mut self) -> Result<(), Unread> {
        for (shard, checkpoint) in self.shards.clone() {
            let mut at = checkpoint;
            let mut rest = Rest::of(self.keys.tail_after(shard, checkpoint));
            while let Some(rows) = self.pages.next(&mut rest).await? {
                for (key, value) in rows {
                    let group = Keyspace::tail_group(&key);
                    if group.is_none_or(|group| group.get() > at.get().saturating_add(1)) {
                        let what = "groups before it are missing";
                        self.fault(&key, &RowError { kind: "tail", what });
                    }
                    at = group.unwrap_or(at).max(at);
                    match TailRow::decode(value) {
                        Ok(row) => {
                            self.look_for_topics(shard, &row).await?;
                            self.tail(shard, &row)?;
                        }
                        Err(error) => self.fault(&key, &error),
                    }
                }
            }
        }
        Ok(())
    }

    /// Finds out whether there still is something of the topics that an entry names.
    async fn look_for_topics(&mut self, shard: ShardId, row: &TailRow) -> Result<(), Unread> {
        let topics: BTreeSet<TopicNumber> = match row {
            TailRow::Manifest { manifest, .. } => {
                let slices = manifest.slices.iter();
                slices.map(|slice| slice.partition.topic).collect()
            }
            TailRow::Markers { markers, .. } => {
                markers.iter().map(|row| row.partition.topic).collect()
            }
            TailRow::Command { .. } => BTreeSet::new(),
        };
        for topic in topics {
            let is_purging = self.purging.contains(&topic);
            let is_known = self.picture.names.contains_key(&topic) && !is_purging;
            if is_known || self.gone.contains_key(&(topic, shard)) {
                continue;
            }
            let is_gone = if is_purging {
                let emptied = self.pages.value(self.keys.emptied(topic, shard)).await?;
                emptied.is_some()
            } else {
                // It may be newer than the topics that were read. Of a damaged row somebody else says so.
                self.pages.value(self.keys.topic(topic)).await?.is_none()
            };
            self.gone.insert((topic, shard), is_gone);
        }
        Ok(())
    }

    /// Who replays the tail passes over what a purge has taken off the books, and so do we.
    fn is_gone(&self, partition: TopicPartition, shard: ShardId) -> bool {
        let gone = self.gone.get(&(partition.topic, shard));
        gone.copied().unwrap_or_default()
    }

    fn tail(&mut self, shard: ShardId, row: &TailRow) -> Result<(), Unread> {
        match row {
            TailRow::Manifest {
                manifest, receipt, ..
            } => {
                for (partition, extent) in extents_of(manifest, &receipt.outcomes) {
                    if self.is_gone(partition, shard) {
                        continue;
                    }
                    if self.follows(partition, extent.offsets) {
                        self.extent(partition, manifest.shard, &extent)?;
                    }
                }
            }
            TailRow::Markers { markers, .. } => {
                for marker in markers {
                    if self.is_gone(marker.partition, shard) {
                        continue;
                    }
                    let base = marker.offset;
                    let next = base.checked_add(1).unwrap_or(base);
                    self.follows(marker.partition, OffsetRange { base, next });
                }
            }
            TailRow::Command { .. } => {}
        }
        Ok(())
    }

    /// Whether offsets of the tail are beyond the pages; they must begin where these end.
    fn follows(&mut self, partition: TopicPartition, offsets: OffsetRange) -> bool {
        // Nothing is known of where the log of these begins in the tail.
        let known = self.ends.get(&partition).copied();
        let known = known.or_else(|| self.unpaged.contains(&partition).then_some(offsets.base));
        let at = known.unwrap_or_default();
        if offsets.next <= at {
            return false;
        }
        if offsets.base > at {
            self.log_fault(partition, at, offsets.base, LogFault::Hole);
        } else if offsets.base < at {
            self.log_fault(partition, offsets.base, at, LogFault::Overlap);
        }
        self.ends.insert(partition, offsets.next);
        true
    }
}

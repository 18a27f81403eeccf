//! What is durable of a shard, for readers: bounds and recent extents of each partition, within bounds
//! of memory (invariant I7).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};

use tidelog_metadata_api::{Extent, PartitionBounds};
use tidelog_types::{GroupNumber, Offset, Timestamp, TopicNumber, TopicPartition};

use super::state::PartitionState;
use super::window::{ENTRY_BYTES, Evicted, PartitionView};

/// Bytes of memory for the place of an extent in the order of commits.
const ORDER_BYTES: usize = size_of::<(TopicPartition, u64)>();

/// One shard.
#[derive(Debug, Default)]
pub(crate) struct ShardView {
    /// The last group whose effects are in the view.
    pub(crate) group: GroupNumber,
    /// Changes when partitions are dropped: what was read from rows before is not to be put in after.
    pub(crate) generation: u64,
    partitions: HashMap<TopicPartition, PartitionView>,
    /// The extents in memory in the order of their commits; some of them may be gone.
    order: VecDeque<(TopicPartition, u64)>,
    extents: usize,
    unpaged: usize,
    bytes: usize,
}

impl ShardView {
    pub(crate) fn partition(&self, partition: TopicPartition) -> Option<&PartitionView> {
        self.partitions.get(&partition)
    }

    /// The partition, begun with `new` if it is not there.
    pub(crate) fn open(
        &mut self,
        partition: TopicPartition,
        new: impl FnOnce() -> PartitionView,
    ) -> &mut PartitionView {
        self.partitions.entry(partition).or_insert_with(new)
    }

    /// Adds a committed extent to a partition that was opened.
    pub(crate) fn append(
        &mut self,
        partition: TopicPartition,
        extent: &Extent,
        commit_time: Timestamp,
    ) {
        let Some(view) = self.partitions.get_mut(&partition) else {
            return;
        };
        if let Some(bytes) = view.append(extent, commit_time) {
            self.bytes += bytes;
            self.extents += 1;
            self.unpaged += 1;
            self.order.push_back((partition, extent.offsets.base.get()));
        }
    }

    /// Shows what a row says of a partition that is not here, unless that would be one too many.
    pub(crate) fn show_row(
        &mut self,
        partition: TopicPartition,
        row: &PartitionState,
        partitions_max: usize,
    ) {
        let has_room = self.partitions.len() < partitions_max;
        if let (Entry::Vacant(vacant), true) = (self.partitions.entry(partition), has_room) {
            vacant.insert(PartitionView::new(row));
        }
    }

    /// Sets bounds of a partition that was opened; they never go back.
    pub(crate) fn raise(
        &mut self,
        partition: TopicPartition,
        to: PartitionBounds,
    ) -> PartitionBounds {
        let view = self.partitions.get_mut(&partition);
        view.map_or_else(PartitionBounds::default, |view| view.raise(to))
    }

    /// Takes note of durable pages.
    pub(crate) fn set_paged(&mut self, partition: TopicPartition, last_base: Offset, next: Offset) {
        if let Some(view) = self.partitions.get_mut(&partition) {
            let (_, before) = view.counts();
            view.set_paged(last_base, next);
            let (_, after) = view.counts();
            self.unpaged -= before - after;
        }
    }

    /// Drops the extents of a partition that end at or below an offset: pages have others in their place.
    pub(crate) fn forget_below(&mut self, partition: TopicPartition, next: Offset) {
        if let Some(view) = self.partitions.get_mut(&partition) {
            let before = view.bytes();
            self.extents -= view.forget_below(next);
            self.bytes -= before - view.bytes();
        }
    }

    /// The partitions that are held.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.partitions.keys().copied()
    }

    /// How many extents are held.
    pub(crate) const fn extent_count(&self) -> usize {
        self.extents
    }

    /// How many partitions are held.
    pub(crate) fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    /// Bytes of memory of extents.
    pub(crate) fn extent_bytes(&self) -> usize {
        self.bytes + self.order.capacity() * ORDER_BYTES
    }

    /// About how many of those bytes are of extents that are in no page.
    pub(crate) const fn unpaged_bytes(&self) -> usize {
        self.unpaged * (ENTRY_BYTES + ORDER_BYTES)
    }

    /// Drops the oldest extents that are in pages until at most `bytes_max` are held.
    pub(crate) fn evict_extents(&mut self, bytes_max: usize) {
        while self.extent_bytes() > bytes_max {
            let Some((partition, base)) = self.order.front().copied() else {
                break;
            };
            if let Some(view) = self.partitions.get_mut(&partition) {
                let before = view.bytes();
                match view.evict(base) {
                    Evicted::NotInPage => break,
                    Evicted::Dropped => self.extents -= 1,
                    Evicted::Absent => {}
                }
                self.bytes -= before - view.bytes();
            }
            self.order.pop_front();
            if self.order.capacity() > 4 * self.order.len().max(1_024) {
                self.order.shrink_to(2 * self.order.len());
            }
        }
    }

    /// Drops all partitions of a topic that is gone.
    pub(crate) fn forget_topic(&mut self, topic: TopicNumber) {
        let (extents, bytes, unpaged) = (&mut self.extents, &mut self.bytes, &mut self.unpaged);
        self.partitions.retain(|partition, view| {
            let stays = partition.topic != topic;
            if !stays {
                let (held, own) = view.counts();
                *extents -= held;
                *unpaged -= own;
                *bytes -= view.bytes();
            }
            stays
        });
        self.generation += 1;
    }

    /// Drops partitions whose rows and pages say all that is known of them, when there are more than
    /// `partitions_max`: first those without recent extents.
    pub(crate) fn evict_partitions(
        &mut self,
        partitions_max: usize,
        changed: &HashSet<TopicPartition>,
    ) {
        for also_recent in [false, true] {
            if self.partitions.len() <= partitions_max {
                return;
            }
            let (extents, bytes) = (&mut self.extents, &mut self.bytes);
            self.partitions.retain(|partition, view| {
                let (held, unpaged) = view.counts();
                let stays =
                    changed.contains(partition) || unpaged > 0 || (held > 0 && !also_recent);
                if !stays {
                    *extents -= held;
                    *bytes -= view.bytes();
                }
                stays
            });
            self.generation += 1;
        }
    }
}

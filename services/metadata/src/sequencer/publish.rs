//! The part of the task that owns a shard that makes a durable group true: in the state, in the view, and
//! for those who listen.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_metadata_api::{CommitNotice, Extent, Notice, PartitionAdvance};
use tidelog_types::{GroupNumber, TopicPartition};

use super::actor::Actor;
use super::group::Decided;
use super::state::PartitionState;
use super::window::PartitionView;

impl Actor {
    pub(super) fn apply(&mut self, decided: &Decided) {
        tidelog_env::invariant!(
            I2,
            decided.group.get() == self.state.group.get() + 1,
            "group `{}` follows `{}`",
            decided.group,
            self.state.group
        );
        self.state.group = decided.group;
        self.state.commit_time = decided.commit_time;
        self.state.tail_since.get_or_insert(decided.commit_time);
        let bytes = decided.extents.iter();
        let bytes = bytes
            .map(|(_, extent)| u64::from(extent.byte_count()))
            .sum();
        self.unmerged.committed(decided.manifests, bytes);
        for (partition, state) in &decided.partitions {
            let before = self.state.partitions.insert(*partition, state.clone());
            check_forward(*partition, before.as_ref(), state);
            if before.is_none_or(|before| before.log_start < state.log_start) {
                self.reclaim.note(*partition);
            }
            self.state.changed_partitions.insert(*partition);
        }
        for (key, state) in &decided.producers {
            self.state.producers.insert(*key, Some(state.clone()));
            self.state.changed_producers.insert(*key);
        }
    }

    /// Puts a durable group into the view. After a recovery the view has it already.
    pub(super) fn show(&self, decided: &Decided, append: bool) -> Vec<PartitionAdvance> {
        let mut by_partition: BTreeMap<TopicPartition, Vec<Extent>> = decided
            .partitions
            .keys()
            .map(|partition| (*partition, Vec::new()))
            .collect();
        let mut view = self.view.write();
        for partition in by_partition.keys() {
            // As it was before the group, or as it is if it was loaded with it.
            let state = self.state.partitions.get(partition);
            view.open(*partition, || {
                PartitionView::new(&state.cloned().unwrap_or_default())
            });
        }
        for (partition, extent) in &decided.extents {
            if append {
                view.append(*partition, extent, decided.commit_time);
            }
            let extents = by_partition.entry(*partition).or_default();
            extents.push(extent.clone());
        }
        let mut advances = Vec::with_capacity(by_partition.len());
        for (partition, extents) in by_partition {
            let state = decided.partitions.get(&partition);
            let to = state.map_or_else(Default::default, PartitionState::bounds);
            let bounds = view.raise(partition, to);
            advances.push(PartitionAdvance {
                partition,
                bounds,
                extents,
            });
        }
        view.group = decided.group;
        view.evict_extents(self.parts.settings.extent_bytes);
        advances
    }

    /// Tells brokers of a group that is shown.
    pub(super) fn tell(&self, group: GroupNumber, advances: Vec<PartitionAdvance>) {
        self.shown.send_replace(group);
        let notice = CommitNotice {
            shard: self.lease.shard,
            group,
            advances,
        };
        // Nobody may be listening, which is no error.
        let _ = self.parts.notices.send(Notice::Commit(Arc::new(notice)));
    }
}

/// Invariant I2 at the moment it is made true: offsets only go up, also the last stable one.
fn check_forward(
    partition: TopicPartition,
    before: Option<&PartitionState>,
    after: &PartitionState,
) {
    let was = before.map_or_else(Default::default, PartitionState::bounds);
    let now = after.bounds();
    tidelog_env::invariant!(
        I2,
        now.high_watermark >= was.high_watermark
            && now.last_stable >= was.last_stable
            && now.log_start >= was.log_start
            && now.log_start <= now.high_watermark,
        "partition `{partition}` went from `{was:?}` to `{now:?}`"
    );
}

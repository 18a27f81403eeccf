//! Checkpoints: what has changed goes into rows, so that a takeover replays only what is later.

use std::collections::VecDeque;

use bytes::Bytes;
use tidelog_types::{GroupNumber, Offset, TopicPartition};

use super::state::{PartitionState, ProducerKey, ShardState};
use super::view::ShardView;
use crate::keyspace::{CheckpointRow, PAGE_BYTES_MAX, PARTITION_BYTES_MAX, PartitionRow};

/// Bytes of rows in one step. A step is a transaction between two groups, so it must not be long.
const STEP_BYTES: usize = 256 * 1024;
/// Pages of one partition in one step.
const STEP_PAGES: usize = 24;

const _: () = assert!(
    STEP_BYTES + (STEP_PAGES + 1) * (PAGE_BYTES_MAX + 64) + PARTITION_BYTES_MAX
        <= tidelog_types::limits::STORE_TRANSACTION_BYTES_MAX
);

/// A row that has yet to be written.
#[derive(Clone, Copy, Debug)]
enum Changed {
    Partition(TopicPartition),
    Producer(ProducerKey),
}

/// One pass over what had changed when it began. Every row names the group it is as of, so that groups
/// may go on between two steps.
#[derive(Debug)]
pub(crate) struct CheckpointPass {
    reached: CheckpointRow,
    rest: VecDeque<Changed>,
}

/// Rows of one step.
#[derive(Debug, Default)]
pub(crate) struct CheckpointStep {
    pub(crate) rows: Vec<(Bytes, Bytes)>,
    /// Where the last page of a partition begins, and up to where extents are in pages.
    pub(crate) paged: Vec<(TopicPartition, Offset, Offset)>,
    taken: Vec<Changed>,
}

impl CheckpointPass {
    /// Begins a pass at the state's group and takes over its lists of changes.
    pub(crate) fn begin(state: &mut ShardState) -> Self {
        let partitions = state.changed_partitions.drain().map(Changed::Partition);
        let producers = state.changed_producers.drain().map(Changed::Producer);
        Self {
            reached: CheckpointRow {
                group: state.group,
                commit_time: state.commit_time,
                is_paged: true,
            },
            rest: partitions.chain(producers).collect(),
        }
    }

    /// The group that the pass will have reached.
    pub(crate) const fn reached(&self) -> GroupNumber {
        self.reached.group
    }

    /// Takes the rows of the next step; the last step has the checkpoint's own row.
    pub(crate) fn step(
        &mut self,
        state: &ShardState,
        view: &ShardView,
        checkpoint_key: Bytes,
    ) -> (CheckpointStep, bool) {
        let mut step = CheckpointStep::default();
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let Some(changed) = self.rest.pop_front() else {
                step.rows.push((checkpoint_key, self.reached.encode()));
                return (step, true);
            };
            if let Changed::Partition(partition) = changed {
                let (taken, is_all) = step.pages(state, view, partition);
                bytes += taken;
                if !is_all {
                    // The row says that pages are written up to its group, so it comes after them.
                    self.rest.push_front(changed);
                    break;
                }
            }
            step.taken.push(changed);
            if let Some((key, value)) = row_of(state, changed) {
                bytes += key.len() + value.len();
                step.rows.push((key, value));
            }
        }
        (step, false)
    }

    /// Puts back what was not written, for the next pass.
    pub(crate) fn give_up(self, state: &mut ShardState, step: CheckpointStep) {
        for changed in step.taken.into_iter().chain(self.rest) {
            match changed {
                Changed::Partition(partition) => {
                    state.changed_partitions.insert(partition);
                }
                Changed::Producer(key) => {
                    state.changed_producers.insert(key);
                }
            }
        }
    }
}

impl CheckpointStep {
    /// The partitions whose rows it has.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.taken.iter().filter_map(|changed| match changed {
            Changed::Partition(partition) => Some(*partition),
            Changed::Producer(_) => None,
        })
    }

    /// Takes pages of a partition. Returns their bytes and whether none remains.
    fn pages(
        &mut self,
        state: &ShardState,
        view: &ShardView,
        partition: TopicPartition,
    ) -> (usize, bool) {
        let pages = view.partition(partition).map(|view| view.pages(STEP_PAGES));
        let Some(pages) = pages else {
            return (0, true);
        };
        let mut bytes = 0;
        for (base, page) in &pages.rows {
            let (key, value) = (state.keys.page(partition, *base), page.encode());
            bytes += key.len() + value.len();
            self.rows.push((key, value));
        }
        let last = pages.rows.last();
        if let Some((base, offsets)) = last.and_then(|(base, page)| Some((base, page.offsets()?))) {
            self.paged.push((partition, *base, offsets.next));
        }
        (bytes, pages.is_all)
    }
}

fn row_of(state: &ShardState, changed: Changed) -> Option<(Bytes, Bytes)> {
    match changed {
        Changed::Partition(partition) => {
            let loaded = state.partitions.get(&partition)?;
            let row = partition_row(loaded, state.group);
            Some((state.keys.partition(partition), row.encode()))
        }
        Changed::Producer(key) => {
            let loaded = state.producers.get(&key)?.as_ref()?;
            let row = loaded.to_row(state.group);
            Some((state.keys.producer(key.0, key.1), row.encode()))
        }
    }
}

fn partition_row(state: &PartitionState, as_of: GroupNumber) -> PartitionRow {
    PartitionRow {
        as_of,
        next: state.next,
        log_start: state.log_start,
        fencing_token: state.fencing_token.clone(),
        max_timestamp: state.max_timestamp,
        since: state.since,
        aborted_below: state.aborted_below,
        open: state.open.to_row(),
        total: state.total,
        reclaimed: state.reclaimed,
        reclaimed_bytes: state.reclaimed_bytes,
    }
}

/// When the next pass is due: ten seconds or two thousand manifests after the last one, but only if
/// something has changed, so that an idle shard writes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CheckpointDue {
    pub(crate) manifests: u32,
    pub(crate) since: Option<tidelog_env::MonoTime>,
}

impl CheckpointDue {
    /// Counts a committed group.
    pub(crate) fn group(&mut self, manifests: u32, now: tidelog_env::MonoTime) {
        self.manifests = self.manifests.saturating_add(manifests);
        self.since.get_or_insert(now);
    }
}

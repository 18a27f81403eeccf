//! What a sequencer assigns from: the partitions and producers of its shard, as of the last group.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use tidelog_metadata_api::FencingToken;
use tidelog_store::{ReadMode, Transaction};
use tidelog_types::{GroupNumber, Offset, ProducerId, Timestamp, TopicNumber, TopicPartition};

use super::producer::ProducerState;
use super::transaction::OpenTransactions;
use super::view::ShardView;
use crate::keyspace::{Keyspace, PartitionRow, ProducerRow, RowError};
use crate::sequencer::error::SequencerError;

/// Topics that are gone, of which it is remembered, beyond those that have partitions in memory.
const GONE_MAX: usize = 10_000;

/// A producer in a partition.
pub(crate) type ProducerKey = (TopicPartition, ProducerId);

/// A partition as a sequencer works on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionState {
    pub(crate) next: Offset,
    pub(crate) log_start: Offset,
    pub(crate) fencing_token: FencingToken,
    /// The largest timestamp of all its extents so far.
    pub(crate) max_timestamp: Timestamp,
    /// Commit time of its first change; none before it.
    pub(crate) since: Timestamp,
    /// The offset after the last marker that aborted a transaction with records.
    pub(crate) aborted_below: Offset,
    pub(crate) open: OpenTransactions,
    /// The bytes of all extents so far.
    pub(crate) total: u64,
    /// Extents that end at or below it are off the books.
    pub(crate) reclaimed: Offset,
    /// The bytes of all extents below that.
    pub(crate) reclaimed_bytes: u64,
}

impl Default for PartitionState {
    fn default() -> Self {
        Self::from_row(PartitionRow::default())
    }
}

impl PartitionState {
    pub(crate) fn from_row(row: PartitionRow) -> Self {
        Self {
            next: row.next,
            log_start: row.log_start,
            fencing_token: row.fencing_token,
            max_timestamp: row.max_timestamp,
            since: row.since,
            aborted_below: row.aborted_below,
            open: OpenTransactions::from_row(row.open),
            total: row.total,
            reclaimed: row.reclaimed,
            reclaimed_bytes: row.reclaimed_bytes,
        }
    }
}

/// The state of a shard. Rows are loaded when a group first needs them.
#[derive(Debug)]
pub(crate) struct ShardState {
    pub(crate) keys: Keyspace,
    /// How long a producer is remembered after its last batch.
    pub(crate) producer_expiry: Duration,
    /// The last group that is in this state.
    pub(crate) group: GroupNumber,
    /// The commit time of that group; the next one's is not earlier.
    pub(crate) commit_time: Timestamp,
    /// Up to which group rows and pages have been written.
    pub(crate) checkpoint: GroupNumber,
    /// Up to which group the tail is merged.
    pub(crate) merged: GroupNumber,
    /// The commit time of the first entry of the tail that is not merged; none if all are.
    pub(crate) tail_since: Option<Timestamp>,
    pub(crate) partitions: HashMap<TopicPartition, PartitionState>,
    /// `None` stands for "looked up, not there".
    pub(crate) producers: HashMap<ProducerKey, Option<ProducerState>>,
    /// What has changed since the last checkpoint.
    pub(crate) changed_partitions: HashSet<TopicPartition>,
    pub(crate) changed_producers: HashSet<ProducerKey>,
    /// Topics that are being purged or are gone: nothing is committed to them any more. Of any other topic that has
    /// partitions in memory it is known that it was neither when they came there.
    pub(crate) gone: HashSet<TopicNumber>,
}

impl ShardState {
    pub(crate) fn new(keys: Keyspace, producer_expiry: Duration) -> Self {
        Self {
            keys,
            producer_expiry,
            group: GroupNumber::default(),
            commit_time: Timestamp::default(),
            checkpoint: GroupNumber::default(),
            merged: GroupNumber::default(),
            tail_since: None,
            partitions: HashMap::new(),
            producers: HashMap::new(),
            changed_partitions: HashSet::new(),
            changed_producers: HashSet::new(),
            gone: HashSet::new(),
        }
    }

    /// Whether a checkpoint would write anything.
    pub(crate) fn has_changes(&self) -> bool {
        !self.changed_partitions.is_empty() || !self.changed_producers.is_empty()
    }

    /// The bytes of a partition's log, at most: what is deleted may not have been taken off yet.
    pub(crate) fn bytes(&self, partition: TopicPartition) -> u64 {
        let state = self.partitions.get(&partition);
        state.map_or(0, |state| state.total.saturating_sub(state.reclaimed_bytes))
    }

    /// Takes the bytes of partitions from the view, where rows are older than their counts.
    pub(crate) fn count_bytes(&mut self, view: &ShardView) {
        for (partition, state) in &mut self.partitions {
            if let Some(view) = view.partition(*partition) {
                state.total = view.total();
            }
        }
    }

    /// Makes sure that partitions are in memory. Only the owner writes their rows, so the reads need not
    /// conflict: the lease row does.
    pub(crate) async fn load_partitions(
        &mut self,
        transaction: &mut dyn Transaction,
        partitions: &[TopicPartition],
    ) -> Result<(), SequencerError> {
        let missing = partitions
            .iter()
            .filter(|partition| !self.partitions.contains_key(partition));
        let missing: Vec<_> = missing.copied().collect();
        let keys = missing
            .iter()
            .map(|partition| (self.keys.partition(*partition), ReadMode::Snapshot));
        let keys: Vec<_> = keys.collect();
        let values = transaction.get_many(&keys).await?;
        for (partition, value) in missing.into_iter().zip(values) {
            self.put_partition_row(partition, value)?;
        }
        Ok(())
    }

    /// Takes a partition from its row, or as new if there is none.
    pub(crate) fn put_partition_row(
        &mut self,
        partition: TopicPartition,
        value: Option<Bytes>,
    ) -> Result<(), RowError> {
        let row = value.map(PartitionRow::decode).transpose()?;
        let state = row.map(PartitionState::from_row).unwrap_or_default();
        self.partitions.insert(partition, state);
        Ok(())
    }

    /// Takes what is known of a producer from its row.
    pub(crate) fn put_producer_row(
        &mut self,
        key: ProducerKey,
        value: Option<Bytes>,
    ) -> Result<(), RowError> {
        let row = value.map(ProducerRow::decode).transpose()?;
        self.producers
            .insert(key, row.as_ref().map(ProducerState::from_row));
        Ok(())
    }

    /// Whether nothing is committed to a partition any more.
    pub(crate) fn is_gone(&self, partition: TopicPartition) -> bool {
        self.gone.contains(&partition.topic)
    }

    /// Takes note that a topic is being purged or is gone. It never comes back, and is found out again if it is
    /// forgotten while it has no partition in memory.
    pub(crate) fn has_gone(&mut self, topic: TopicNumber) {
        if self.gone.len() >= GONE_MAX && !self.gone.contains(&topic) {
            let held: HashSet<_> = self.partitions.keys().map(|at| at.topic).collect();
            self.gone.retain(|gone| held.contains(gone));
        }
        self.gone.insert(topic);
    }

    /// Forgets all that is known of the partitions of a topic that is gone.
    pub(crate) fn forget_topic(&mut self, topic: TopicNumber) {
        self.partitions.retain(|at, _| at.topic != topic);
        self.producers.retain(|(at, _), _| at.topic != topic);
        self.changed_partitions.retain(|at| at.topic != topic);
        self.changed_producers.retain(|(at, _)| at.topic != topic);
    }

    /// Forgets producers that are safe in their rows, when there are more than `limit`: down to the
    /// half of it that was used last. They are loaded again when they come back.
    pub(crate) fn evict_producers(&mut self, limit: usize) {
        if self.producers.len() <= limit {
            return;
        }
        let used = |state: &Option<ProducerState>| {
            state
                .as_ref()
                .map_or(i64::MIN, |state| state.last_used.as_millis())
        };
        let mut times: Vec<i64> = self.producers.values().map(used).collect();
        let keep = limit / 2;
        let newer_than = match times.len().checked_sub(keep + 1) {
            Some(at) => *times.select_nth_unstable(at).1,
            None => i64::MIN,
        };
        let changed = &self.changed_producers;
        self.producers
            .retain(|key, state| changed.contains(key) || used(state) > newer_than);
    }

    /// Forgets partitions that are safe in their rows, when there are more than `limit`: all that have
    /// not changed during the checkpoint. They are loaded again when they come back.
    pub(crate) fn evict_partitions(&mut self, limit: usize) {
        if self.partitions.len() > limit {
            let changed = &self.changed_partitions;
            self.partitions
                .retain(|partition, _| changed.contains(partition));
        }
    }
}

//! Batches that wait for an open segment to close.

use std::collections::{HashMap, HashSet, VecDeque};

use tidelog_types::TopicPartition;

use super::request::{AppendError, Entry, OrderedBy};

/// Batches in the order in which they came. More than one wait only where the bucket has all uploads that it may have.
#[derive(Debug, Default)]
pub(super) struct Overflow {
    entries: VecDeque<Box<Entry>>,
    bytes: u64,
    /// How many there are of each partition.
    partitions: HashMap<TopicPartition, usize>,
}

impl Overflow {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of all.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a batch of a partition is among them.
    pub(super) fn has(&self, partition: TopicPartition) -> bool {
        self.partitions.contains_key(&partition)
    }

    /// Puts a batch behind the others.
    pub(super) fn push(&mut self, entry: Box<Entry>) {
        self.bytes += u64::from(entry.append.batch.size());
        *self.partitions.entry(entry.partition).or_default() += 1;
        self.entries.push_back(entry);
    }

    /// Fails what depends on `senders`, and adds the senders that those batches have besides.
    pub(super) fn fail_dependants(
        &mut self,
        senders: &mut HashSet<OrderedBy>,
        error: &AppendError,
    ) {
        for mut entry in self.take() {
            if entry.senders().any(|sender| senders.contains(&sender)) {
                senders.extend(entry.senders());
                entry.answer(Err(error.clone()));
            } else {
                self.push(entry);
            }
        }
    }

    /// Takes all.
    pub(super) fn take(&mut self) -> VecDeque<Box<Entry>> {
        std::mem::take(self).entries
    }
}

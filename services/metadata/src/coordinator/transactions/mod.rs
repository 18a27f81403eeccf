//! Transactions that a group takes part in: offsets that wait for the end of one, and those that have ended.
//!
//! What is kept here is what the rows say, all of it: a group is in memory with the offsets that wait, few as they are.
//! An offset that waits goes as soon as it can change nothing any more, since a later one is the group's; so those that
//! are left are in the order in which they came, and whichever transaction commits last does not undo what came later.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use tidelog_metadata_api::{
    CommittedOffset, Decision, EndGroupTransaction, GroupOffset, GroupsError, OpenTransaction,
    TransactionNumber,
};
use tidelog_types::{ProducerEpoch, ProducerId, Timestamp, TopicPartition};

use super::errors::too_large;
use super::rows::Place;
use crate::keyspace::{GroupOffsetRow, GroupPendingRow, GroupProducerRow};
use crate::sequencer::GroupRows;

/// Bytes of memory of an offset that waits, beside its text.
const PENDING_BYTES: usize = 200;
/// Bytes of memory of a producer whose transactions have ended.
const ENDED_BYTES: usize = 150;
/// Bytes of memory of the offsets of a group that wait, at most.
const PENDING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Producers of a group whose transactions have ended that are kept at most. Of more the oldest go: the later they
/// were heard of, the sooner something of them may come too late.
const ENDED_MAX: usize = 10_000;
/// They are kept so long, as producers are in partitions.
pub(super) const ENDED_KEPT: Duration = Duration::from_hours(7 * 24);

/// The transactions of a group.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    open: HashMap<ProducerId, Open>,
    ended: HashMap<ProducerId, GroupProducerRow>,
    /// The producers of `ended`, the one first that ended first.
    by_time: BTreeSet<(Timestamp, ProducerId)>,
    /// Whose offsets wait in a partition.
    by_partition: BTreeSet<(TopicPartition, ProducerId)>,
    last_order: u64,
    pending_bytes: usize,
    /// Rows that were found, of transactions that had ended when they came.
    stale: Vec<Bytes>,
}

/// The open transaction of a producer, as far as the group knows it.
#[derive(Debug)]
struct Open {
    number: TransactionNumber,
    epoch: ProducerEpoch,
    /// Never empty.
    offsets: BTreeMap<TopicPartition, Pending>,
}

/// An offset that waits.
#[derive(Debug)]
struct Pending {
    order: u64,
    offset: GroupOffset,
}

/// What the end of a transaction has come to.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) rows: GroupRows,
    /// How many offsets are the group's from now on.
    pub(super) committed: u64,
}

impl Transactions {
    // ----- as it is stored ------------------------------------------------------------------------

    /// Takes a row of a producer in.
    pub(super) fn restore_ended(&mut self, producer: ProducerId, row: GroupProducerRow) {
        self.by_time.insert((row.ended_at, producer));
        self.ended.insert(producer, row);
    }

    /// Takes a row of an offset that waits in.
    pub(super) fn restore_pending(
        &mut self,
        place: &Place,
        (producer, partition): (ProducerId, TopicPartition),
        row: GroupPendingRow,
    ) {
        self.last_order = self.last_order.max(row.order);
        let transaction = Of {
            producer,
            number: row.number,
            epoch: row.epoch,
        };
        let open = self.open.get(&producer);
        if open.is_some_and(|open| row.number < open.number) {
            self.stale.push(pending_key(place, producer, partition));
            return;
        }
        let left = self.leave(place, transaction);
        self.stale.extend(left);
        self.insert(transaction, partition, row.order, row.offset);
    }

    // ----- questions ------------------------------------------------------------------------------

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.ended.is_empty() && self.stale.is_empty()
    }

    /// Whether offsets wait for the end of a transaction.
    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether an open transaction may change the offset of a partition.
    pub(super) fn waits(&self, partition: TopicPartition) -> bool {
        self.waiting_in(partition).next().is_some()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.pending_bytes + self.ended.len() * ENDED_BYTES
    }

    /// When the next producer expires.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(ended_at, _)| *ended_at)
    }

    /// Whether offsets of a transaction may come now.
    pub(super) fn check(&self, transaction: &OpenTransaction) -> Result<(), GroupsError> {
        let producer = &transaction.producer;
        let ended = self.ended.get(&producer.id);
        let open = self.open.get(&producer.id);
        let epochs = ended.map(|ended| ended.epoch).into_iter();
        let mut epochs = epochs.chain(open.map(|open| open.epoch));
        if epochs.any(|known| known > producer.epoch) {
            return Err(GroupsError::FencedProducer);
        }
        if ended.is_some_and(|ended| transaction.number <= ended.number)
            || open.is_some_and(|open| transaction.number < open.number)
        {
            return Err(GroupsError::TransactionEnded);
        }
        Ok(())
    }

    /// Whether there is room for offsets with so many bytes of text.
    pub(super) fn check_room(&self, count: usize, bytes: usize) -> Result<(), GroupsError> {
        let bytes = count.saturating_mul(PENDING_BYTES).saturating_add(bytes);
        if self.pending_bytes.saturating_add(bytes) > PENDING_BYTES_MAX {
            return Err(too_large(
                "too many offsets wait for the end of transactions",
            ));
        }
        Ok(())
    }

    fn waiting_in(&self, partition: TopicPartition) -> impl Iterator<Item = ProducerId> {
        let first = (partition, ProducerId::new(i64::MIN));
        let last = (partition, ProducerId::new(i64::MAX));
        let all = self.by_partition.range(first..=last);
        all.map(|(_, producer)| *producer)
    }

    // ----- changes --------------------------------------------------------------------------------

    /// An offset waits for the end of a transaction from now on.
    pub(super) fn put(
        &mut self,
        place: &Place,
        transaction: &OpenTransaction,
        partition: TopicPartition,
        offset: GroupOffset,
    ) -> GroupRows {
        let transaction = Of {
            producer: transaction.producer.id,
            number: transaction.number,
            epoch: transaction.producer.epoch,
        };
        let mut rows = self.take_stale();
        // A coordinator begins none before all have heard of the end of the one before. What is left of that has come
        // after its end, when the end was forgotten here.
        let left = self.leave(place, transaction);
        rows.extend(left.into_iter().map(|key| (key, None)));
        self.last_order += 1;
        let row = GroupPendingRow {
            epoch: transaction.epoch,
            number: transaction.number,
            order: self.last_order,
            offset: offset.clone(),
        };
        let key = pending_key(place, transaction.producer, partition);
        rows.push((key, Some(row.encode())));
        self.insert(transaction, partition, self.last_order, offset);
        rows
    }

    /// A transaction has ended. Rows say so last, so that where only the first of them are stored, the end is heard
    /// of again.
    pub(super) fn end(
        &mut self,
        place: &Place,
        end: &EndGroupTransaction,
        now: Timestamp,
    ) -> Ended {
        let (id, epoch) = (end.producer.id, end.producer.epoch);
        let known = self.ended.get(&id);
        if known.is_some_and(|known| end.number <= known.number) {
            return Ended::default();
        }
        let epoch = known.map_or(epoch, |known| known.epoch.max(epoch));
        let mut ended = Ended {
            rows: self.take_stale(),
            committed: 0,
        };
        let open = self.open.get(&id).map(|open| open.number);
        if open.is_some_and(|open| open <= end.number)
            && let Some(open) = self.open.remove(&id)
        {
            let commits = end.decision == Decision::Commit && open.number == end.number;
            for (partition, pending) in open.offsets {
                self.by_partition.remove(&(partition, id));
                self.pending_bytes -= bytes_of(&pending.offset);
                if commits {
                    let key = place.keys.group_offset(place.shard, &place.name, partition);
                    let row = GroupOffsetRow(CommittedOffset {
                        offset: pending.offset,
                        committed_at: now,
                    });
                    ended.rows.push((key, Some(row.encode())));
                    ended.committed += 1;
                    let undone = self.supersede(place, partition, pending.order);
                    ended.rows.extend(undone);
                }
                ended.rows.push((pending_key(place, id, partition), None));
            }
        }
        let row = GroupProducerRow {
            epoch,
            number: end.number,
            ended_at: now,
        };
        self.note_ended(place, id, row, &mut ended.rows);
        ended
    }

    /// A later offset is the group's, or none: what waits in the partition since before `order` changes nothing any
    /// more.
    pub(super) fn supersede(
        &mut self,
        place: &Place,
        partition: TopicPartition,
        order: u64,
    ) -> GroupRows {
        let waiting: Vec<ProducerId> = self.waiting_in(partition).collect();
        let mut rows = GroupRows::new();
        for producer in waiting {
            let pending = self.open.get(&producer);
            let pending = pending.and_then(|open| open.offsets.get(&partition));
            if pending.is_some_and(|pending| pending.order < order) {
                self.remove(producer, partition);
                rows.push((pending_key(place, producer, partition), None));
            }
        }
        rows
    }

    /// Nothing waits any more.
    pub(super) fn drop_pending(&mut self, place: &Place) -> GroupRows {
        let mut rows = self.take_stale();
        let waiting = std::mem::take(&mut self.by_partition).into_iter();
        rows.extend(waiting.map(|(at, producer)| (pending_key(place, producer, at), None)));
        self.open.clear();
        self.pending_bytes = 0;
        rows
    }

    /// Producers of which nothing was heard for long are forgotten.
    pub(super) fn expire(&mut self, place: &Place, now: Timestamp) -> GroupRows {
        let kept = i64::try_from(ENDED_KEPT.as_millis()).unwrap_or(i64::MAX);
        let mut rows = self.take_stale();
        while let Some((ended_at, producer)) = self.by_time.first().copied()
            && now.as_millis().saturating_sub(ended_at.as_millis()) >= kept
        {
            self.forget(place, ended_at, producer, &mut rows);
        }
        rows
    }

    // ----- parts of these -------------------------------------------------------------------------

    /// Lets go of what is left of a transaction before this one; gives the keys of what waited.
    fn leave(&mut self, place: &Place, transaction: Of) -> Vec<Bytes> {
        let id = transaction.producer;
        let open = self.open.get(&id);
        if open.is_none_or(|open| open.number >= transaction.number) {
            return Vec::new();
        }
        let partitions = open.map(|open| open.offsets.keys().copied().collect());
        let partitions: Vec<TopicPartition> = partitions.unwrap_or_default();
        let left = partitions.into_iter().map(|partition| {
            self.remove(id, partition);
            pending_key(place, id, partition)
        });
        left.collect()
    }

    fn insert(
        &mut self,
        transaction: Of,
        partition: TopicPartition,
        order: u64,
        offset: GroupOffset,
    ) {
        self.remove_one(transaction.producer, partition);
        let open = self
            .open
            .entry(transaction.producer)
            .or_insert_with(|| Open {
                number: transaction.number,
                epoch: transaction.epoch,
                offsets: BTreeMap::new(),
            });
        open.epoch = open.epoch.max(transaction.epoch);
        self.pending_bytes += bytes_of(&offset);
        open.offsets.insert(partition, Pending { order, offset });
        self.by_partition.insert((partition, transaction.producer));
    }

    /// Takes an offset out, and its transaction if it was the last one.
    fn remove(&mut self, producer: ProducerId, partition: TopicPartition) {
        self.remove_one(producer, partition);
        let open = self.open.get(&producer);
        if open.is_some_and(|open| open.offsets.is_empty()) {
            self.open.remove(&producer);
        }
    }

    fn remove_one(&mut self, producer: ProducerId, partition: TopicPartition) {
        let open = self.open.get_mut(&producer);
        if let Some(pending) = open.and_then(|open| open.offsets.remove(&partition)) {
            self.pending_bytes -= bytes_of(&pending.offset);
            self.by_partition.remove(&(partition, producer));
        }
    }

    fn note_ended(
        &mut self,
        place: &Place,
        producer: ProducerId,
        row: GroupProducerRow,
        rows: &mut GroupRows,
    ) {
        rows.push((producer_key(place, producer), Some(row.encode())));
        if let Some(before) = self.ended.insert(producer, row) {
            self.by_time.remove(&(before.ended_at, producer));
        }
        self.by_time.insert((row.ended_at, producer));
        if self.ended.len() > ENDED_MAX
            && let Some((ended_at, oldest)) = self.by_time.first().copied()
        {
            self.forget(place, ended_at, oldest, rows);
        }
    }

    fn forget(
        &mut self,
        place: &Place,
        ended_at: Timestamp,
        producer: ProducerId,
        rows: &mut GroupRows,
    ) {
        self.by_time.remove(&(ended_at, producer));
        self.ended.remove(&producer);
        rows.push((producer_key(place, producer), None));
    }

    fn take_stale(&mut self) -> GroupRows {
        let stale = std::mem::take(&mut self.stale).into_iter();
        stale.map(|key| (key, None)).collect()
    }
}

/// Which transaction.
#[derive(Clone, Copy)]
struct Of {
    producer: ProducerId,
    number: TransactionNumber,
    epoch: ProducerEpoch,
}

const fn bytes_of(offset: &GroupOffset) -> usize {
    PENDING_BYTES + offset.metadata.len()
}

fn pending_key(place: &Place, producer: ProducerId, partition: TopicPartition) -> Bytes {
    let (keys, shard) = (place.keys, place.shard);
    keys.group_pending(shard, &place.name, producer, partition)
}

fn producer_key(place: &Place, producer: ProducerId) -> Bytes {
    let (keys, shard) = (place.keys, place.shard);
    keys.group_producer(shard, &place.name, producer)
}

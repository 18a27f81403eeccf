//! One group: what its members ask for is decided against the state, in order, and becomes rows.
//!
//! Nothing here does I/O and nothing changes the state: decisions lie over it until the group is
//! durable, and are dropped if it is not (rules C2, C10).

use std::collections::HashMap;

use bytes::Bytes;
use tidelog_format::manifest::{BatchEntry, Outcome, Receipt, RefusalDetail, sequence_after};
use tidelog_metadata_api::{
    BatchCondition, BatchPosition, BrokenOrders, Extent, FencingToken, OrderKey, ShardCommit,
};
use tidelog_types::{
    ErrorCode, GroupNumber, Offset, ProducerId, SegmentName, ShardId, Timestamp, TopicPartition,
};

use super::extents::extents_of;
use super::producer::{ProducerState, Verdict, judge};
use super::state::{PartitionState, ProducerKey, ShardState};
use crate::keyspace::{LiveBytesRow, ReceiptRow, SentBatch, TailCommand, TailRow};

/// A group under decision.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    state: &'a ShardState,
    orders: &'a BrokenOrders,
    decided: Decided,
}

/// A decided group: rows to write, and what to do once they are durable.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    pub(crate) group: GroupNumber,
    pub(crate) commit_time: Timestamp,
    pub(crate) rows: Vec<(Bytes, Bytes)>,
    pub(crate) partitions: HashMap<TopicPartition, PartitionState>,
    pub(crate) producers: HashMap<ProducerKey, ProducerState>,
    pub(crate) extents: Vec<(TopicPartition, Extent)>,
    pub(crate) broken: HashMap<(OrderKey, TopicPartition), (ErrorCode, RefusalDetail)>,
    pub(crate) receipts: HashMap<SegmentName, Receipt>,
    pub(crate) manifests: u32,
    tail_index: u32,
}

/// What a command on the fencing token came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenVerdict {
    /// It is set.
    Set,
    /// The expected one is not the one that holds.
    Mismatch,
}

impl<'a> Group<'a> {
    /// Begins the group after the last one of `state`, at `now` or the last group's time if the clock
    /// has gone back.
    pub(crate) fn new(state: &'a ShardState, orders: &'a BrokenOrders, now: Timestamp) -> Self {
        let decided = Decided {
            group: GroupNumber::new(state.group.get() + 1),
            commit_time: now.max(state.commit_time),
            ..Decided::default()
        };
        Self {
            state,
            orders,
            decided,
        }
    }

    /// What was decided.
    pub(crate) fn finish(self) -> Decided {
        self.decided
    }

    /// The group's number.
    pub(crate) const fn number(&self) -> GroupNumber {
        self.decided.group
    }

    /// The result of a manifest that this group has decided already.
    pub(crate) fn receipt_of(&self, segment: SegmentName) -> Option<&Receipt> {
        self.decided.receipts.get(&segment)
    }

    fn partition(&self, partition: TopicPartition) -> PartitionState {
        self.decided
            .partitions
            .get(&partition)
            .or_else(|| self.state.partitions.get(&partition))
            .cloned()
            .unwrap_or_default()
    }

    fn producer(&self, key: ProducerKey) -> Option<&ProducerState> {
        self.decided
            .producers
            .get(&key)
            .or_else(|| self.state.producers.get(&key).and_then(Option::as_ref))
    }

    fn push_tail(&mut self, row: &TailRow, shard: ShardId) {
        let key = self
            .state
            .keys
            .tail(shard, self.decided.group, self.decided.tail_index);
        self.decided.tail_index += 1;
        self.decided.rows.push((key, row.encode()));
    }

    /// Decides every batch of a manifest.
    pub(crate) fn decide(&mut self, commit: &ShardCommit) -> &Receipt {
        let manifest = &commit.manifest;
        let mut asides = Asides::new(commit);
        let mut outcomes = Vec::with_capacity(manifest.batch_count());
        let mut tokens = Vec::new();
        for (slice_index, slice) in (0_u32..).zip(&manifest.slices) {
            for (batch_index, batch) in (0_u32..).zip(&slice.batches) {
                let position = BatchPosition {
                    slice: slice_index,
                    batch: batch_index,
                };
                let aside = asides.take(position);
                let outcome = self.decide_batch(slice.partition, batch, &aside);
                if let (Outcome::Accepted { .. }, Some(token)) = (
                    &outcome,
                    aside
                        .condition
                        .and_then(|asked| asked.set_fencing_token.clone()),
                ) {
                    tokens.push((slice.partition, token));
                }
                outcomes.push(outcome);
            }
        }
        let receipt = Receipt { outcomes };
        self.write_manifest(commit, &receipt);
        for (partition, token) in tokens {
            self.write_token(commit.manifest.shard, partition, token);
        }
        self.decided
            .receipts
            .entry(manifest.segment)
            .insert_entry(receipt)
            .into_mut()
    }

    /// Rows of a decided manifest: tail, receipt and live bytes, one each per (segment, shard).
    fn write_manifest(&mut self, commit: &ShardCommit, receipt: &Receipt) {
        let manifest = &commit.manifest;
        let (segment, shard) = (manifest.segment, manifest.shard);
        let extents = extents_of(manifest, &receipt.outcomes);
        let row = TailRow::Manifest {
            commit_time: self.decided.commit_time,
            manifest: manifest.clone(),
            receipt: receipt.clone(),
        };
        self.push_tail(&row, shard);
        let proof = ReceiptRow {
            group: self.decided.group,
            receipt: receipt.clone(),
        };
        let keys = self.state.keys;
        self.decided
            .rows
            .push((keys.receipt(segment, shard), proof.encode()));
        let bytes = extents
            .iter()
            .map(|(_, extent)| u64::from(extent.byte_count()))
            .sum();
        let live = LiveBytesRow { bytes };
        self.decided
            .rows
            .push((keys.live_bytes(segment, shard), live.encode()));
        self.decided.extents.extend(extents);
        self.decided.manifests += 1;
    }

    fn write_token(&mut self, shard: ShardId, partition: TopicPartition, token: FencingToken) {
        let command = TailCommand::SetFencingToken(token);
        let row = TailRow::Command {
            commit_time: self.decided.commit_time,
            partition,
            command,
        };
        self.push_tail(&row, shard);
    }

    fn decide_batch(
        &mut self,
        partition: TopicPartition,
        batch: &BatchEntry,
        aside: &Aside<'_>,
    ) -> Outcome {
        let outcome = self.judge_batch(partition, batch, aside);
        if let (Outcome::Refused { code, detail }, Some(order)) = (&outcome, aside.order) {
            self.decided
                .broken
                .insert((order, partition), (*code, detail.clone()));
        }
        outcome
    }

    fn judge_batch(
        &mut self,
        partition: TopicPartition,
        batch: &BatchEntry,
        aside: &Aside<'_>,
    ) -> Outcome {
        if aside.dropped {
            return refused(ErrorCode::Unavailable, RefusalDetail::None);
        }
        if let Some((code, detail)) = aside.order.and_then(|order| self.broken(order, partition)) {
            return refused(code, detail);
        }
        if let Some(outcome) = self.judge_producer(partition, batch) {
            return outcome;
        }
        let mut state = self.partition(partition);
        if let Some(outcome) = aside
            .condition
            .and_then(|asked| judge_condition(&state, asked))
        {
            return outcome;
        }
        let base_offset = state.next;
        let Some(next) = base_offset.checked_add(u64::from(batch.record_count)) else {
            return refused(ErrorCode::OffsetOutOfRange, RefusalDetail::None);
        };
        state.next = next;
        if let Some(token) = aside
            .condition
            .and_then(|asked| asked.set_fencing_token.clone())
        {
            state.fencing_token = token;
        }
        self.decided.partitions.insert(partition, state);
        self.accept_producer(partition, batch, base_offset);
        Outcome::Accepted { base_offset }
    }

    /// Whether an earlier batch of the same caller has failed, in this group or before.
    fn broken(
        &self,
        order: OrderKey,
        partition: TopicPartition,
    ) -> Option<(ErrorCode, RefusalDetail)> {
        let key = (order, partition);
        self.orders
            .get(key)
            .or_else(|| self.decided.broken.get(&key))
            .cloned()
    }

    fn judge_producer(&self, partition: TopicPartition, batch: &BatchEntry) -> Option<Outcome> {
        let (first, last) = sequences(batch)?;
        let known = self.producer((partition, batch.producer_id));
        match judge(known, batch.producer_epoch, first, last) {
            Verdict::Next => None,
            Verdict::Duplicate(first_offset) => Some(Outcome::Duplicate { first_offset }),
            Verdict::OutOfOrder { expected } => Some(refused(
                ErrorCode::OutOfOrderSequence,
                RefusalDetail::Sequence(expected),
            )),
            Verdict::Fenced { current } => Some(refused(
                ErrorCode::ProducerFenced,
                RefusalDetail::ProducerEpoch(current),
            )),
            Verdict::Unknown => Some(refused(ErrorCode::UnknownProducer, RefusalDetail::None)),
        }
    }

    fn accept_producer(&mut self, partition: TopicPartition, batch: &BatchEntry, base: Offset) {
        let Some((first_sequence, last_sequence)) = sequences(batch) else {
            return;
        };
        let key = (partition, batch.producer_id);
        let sent = SentBatch {
            first_sequence,
            last_sequence,
            base_offset: base,
        };
        let known = self.producer(key).cloned();
        let state =
            ProducerState::accept(known, batch.producer_epoch, sent, self.decided.commit_time);
        self.decided.producers.insert(key, state);
    }

    /// Decides a command on a fencing token.
    pub(crate) fn set_token(
        &mut self,
        shard: ShardId,
        partition: TopicPartition,
        expected: Option<&FencingToken>,
        token: &FencingToken,
    ) -> TokenVerdict {
        let mut state = self.partition(partition);
        if expected.is_some_and(|expected| *expected != state.fencing_token) {
            return TokenVerdict::Mismatch;
        }
        state.fencing_token = token.clone();
        self.decided.partitions.insert(partition, state);
        self.write_token(shard, partition, token.clone());
        TokenVerdict::Set
    }

    /// Decides a deletion of records: the log start offset moves up, at most to the end.
    pub(crate) fn delete_records(
        &mut self,
        shard: ShardId,
        partition: TopicPartition,
        before: Offset,
    ) {
        let mut state = self.partition(partition);
        let log_start = before.min(state.next);
        if log_start <= state.log_start {
            return;
        }
        state.log_start = log_start;
        self.decided.partitions.insert(partition, state);
        let command = TailCommand::SetLogStart(log_start);
        let row = TailRow::Command {
            commit_time: self.decided.commit_time,
            partition,
            command,
        };
        self.push_tail(&row, shard);
    }
}

/// The first and last sequence of a batch, if its producer is idempotent.
pub(crate) fn sequences(batch: &BatchEntry) -> Option<(i32, i32)> {
    let checked = batch.producer_id.is_idempotent() && batch.base_sequence >= 0;
    checked.then(|| {
        let last = sequence_after(batch.base_sequence, batch.record_count.saturating_sub(1));
        (batch.base_sequence, last)
    })
}

/// The producer whose state a batch needs, if any.
pub(crate) fn producer_of(batch: &BatchEntry) -> Option<ProducerId> {
    sequences(batch).map(|_| batch.producer_id)
}

/// Rule C8: a mismatch returns the actual values.
fn judge_condition(state: &PartitionState, asked: &BatchCondition) -> Option<Outcome> {
    if asked
        .fencing_token
        .as_ref()
        .is_some_and(|token| *token != state.fencing_token)
    {
        let actual = state.fencing_token.as_bytes().clone();
        return Some(refused(
            ErrorCode::FencingTokenMismatch,
            RefusalDetail::FencingToken(actual),
        ));
    }
    if asked
        .expected_next
        .is_some_and(|expected| expected != state.next)
    {
        return Some(refused(
            ErrorCode::OffsetMismatch,
            RefusalDetail::NextOffset(state.next),
        ));
    }
    None
}

const fn refused(code: ErrorCode, detail: RefusalDetail) -> Outcome {
    Outcome::Refused { code, detail }
}

/// What a commit says about a batch beside the manifest.
#[derive(Debug, Default)]
struct Aside<'a> {
    condition: Option<&'a BatchCondition>,
    order: Option<OrderKey>,
    dropped: bool,
}

/// Walks the three sorted lists of a commit along with its batches.
struct Asides<'a> {
    conditions: std::iter::Peekable<std::slice::Iter<'a, (BatchPosition, BatchCondition)>>,
    orders: std::iter::Peekable<std::slice::Iter<'a, (BatchPosition, OrderKey)>>,
    dropped: std::iter::Peekable<std::slice::Iter<'a, BatchPosition>>,
}

impl<'a> Asides<'a> {
    fn new(commit: &'a ShardCommit) -> Self {
        Self {
            conditions: commit.conditions.iter().peekable(),
            orders: commit.orders.iter().peekable(),
            dropped: commit.dropped.iter().peekable(),
        }
    }

    fn take(&mut self, position: BatchPosition) -> Aside<'a> {
        Aside {
            condition: self
                .conditions
                .next_if(|(at, _)| *at == position)
                .map(|(_, condition)| condition),
            order: self
                .orders
                .next_if(|(at, _)| *at == position)
                .map(|(_, order)| *order),
            dropped: self.dropped.next_if(|at| **at == position).is_some(),
        }
    }
}

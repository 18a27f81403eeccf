//! One group: what its members ask for is decided against the state, in order, and becomes rows.
//!
//! Nothing here does I/O and nothing changes the state: decisions lie over it until the group is
//! durable, and are dropped if it is not (rules C2, C10).

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use tidelog_format::manifest::{Manifest, Outcome, Receipt, RefusalDetail};
use tidelog_metadata_api::{
    BatchPosition, BrokenOrders, Extent, FencingToken, OrderKey, ShardCommit,
};
use tidelog_types::limits::{STORE_TRANSACTION_BYTES_MAX, STORE_VALUE_BYTES_MAX};
use tidelog_types::{
    ErrorCode, GroupNumber, Offset, SegmentName, ShardId, Timestamp, TopicPartition,
};

use super::aside::Asides;
use super::extents::extents_of;
use super::message::GroupRows;
use super::producer::{Known, ProducerState, is_past};
use super::state::{PartitionState, ProducerKey, ShardState};
use crate::keyspace::{
    BEGUN_BYTES_MAX, BegunTransaction, DyingRow, InlineRow, Keyspace, LiveBytesRow, ReceiptRow,
    TailCommand, TailRow,
};

/// A group takes no further member once its rows have this size. What one member adds at most (a tail
/// row and a receipt, each one value, and a token for each slice) still fits the store's transaction. One that brings
/// its segment along, which is one value more, has so few slices that it adds less.
const GROUP_ROWS_BYTES_MAX: usize = 400_000;
/// Bytes of an outcome without details at most: its kind and a zigzag varint; and of what it begins.
const OUTCOME_BYTES_MAX: usize = 11 + BEGUN_BYTES_MAX;
/// Bytes of a tail row beside manifest and outcomes at most.
const TAIL_FIXED_BYTES_MAX: usize = 64;

/// Bytes of the rows of consumer groups that are asked for together, which are written together.
pub(crate) const GROUP_ROWS_MESSAGE_BYTES_MAX: usize = 256 * 1024;

const _: () =
    assert!(GROUP_ROWS_BYTES_MAX + 6 * STORE_VALUE_BYTES_MAX <= STORE_TRANSACTION_BYTES_MAX);
const _: () = assert!(
    GROUP_ROWS_BYTES_MAX + GROUP_ROWS_MESSAGE_BYTES_MAX + STORE_VALUE_BYTES_MAX
        <= STORE_TRANSACTION_BYTES_MAX
);

/// A group under decision.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    pub(super) state: &'a ShardState,
    pub(super) orders: &'a BrokenOrders,
    pub(super) decided: Decided,
}

/// A decided group: rows to write, and what to do once they are durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decided {
    pub(crate) group: GroupNumber,
    pub(crate) commit_time: Timestamp,
    pub(crate) rows: Vec<(Bytes, Bytes)>,
    /// Rows of consumer groups and transactional ids. They are no part of the log: a group of these alone has no number and is no news.
    pub(crate) group_rows: GroupRows,
    pub(crate) partitions: HashMap<TopicPartition, PartitionState>,
    pub(crate) producers: HashMap<ProducerKey, ProducerState>,
    pub(crate) extents: Vec<(TopicPartition, Extent)>,
    pub(crate) broken: HashMap<(OrderKey, TopicPartition), (ErrorCode, RefusalDetail)>,
    pub(crate) receipts: HashMap<SegmentName, Receipt>,
    pub(crate) manifests: u32,
    /// Bytes of segments that come to lie in the store.
    pub(crate) inline_bytes: u64,
    /// How many those are.
    pub(crate) inline_segments: u32,
    /// Whether nobody needs one of its segments.
    pub(crate) has_dying: bool,
    /// Markers that commit and that abort.
    pub(crate) markers: Markers,
    tail_index: u32,
    row_bytes: usize,
}

/// How many markers a group has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Markers {
    pub(crate) commits: u32,
    pub(crate) aborts: u32,
    /// Entries of the tail that have them.
    pub(crate) entries: u32,
}

/// What a command on the fencing token came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenVerdict {
    /// It is set.
    Set,
    /// The expected one is not the one that holds.
    Mismatch,
}

/// What became of the batches of a manifest.
#[derive(Debug)]
struct Batches {
    /// In their order.
    outcomes: Vec<Outcome>,
    /// The transactions that they have begun.
    begun: Vec<BegunTransaction>,
    /// The token that each partition has after them, if one was set.
    tokens: BTreeMap<TopicPartition, FencingToken>,
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

    /// Whether its rows are as many as one transaction should have.
    pub(crate) const fn is_full(&self) -> bool {
        self.decided.row_bytes >= GROUP_ROWS_BYTES_MAX
    }

    /// The result of a manifest that this group has decided already.
    pub(crate) fn receipt_of(&self, segment: SegmentName) -> Option<&Receipt> {
        self.decided.receipts.get(&segment)
    }

    pub(super) fn partition(&self, partition: TopicPartition) -> PartitionState {
        self.decided
            .partitions
            .get(&partition)
            .or_else(|| self.state.partitions.get(&partition))
            .cloned()
            .unwrap_or_default()
    }

    /// The partition's state becomes this one.
    pub(super) fn put_partition(&mut self, partition: TopicPartition, mut state: PartitionState) {
        if state.since == Timestamp::NONE {
            state.since = self.decided.commit_time;
        }
        self.decided.partitions.insert(partition, state);
    }

    /// What is known of a producer and has not expired.
    pub(super) fn producer(&self, key: ProducerKey) -> Option<&ProducerState> {
        let (now, expiry) = (self.decided.commit_time, self.state.producer_expiry);
        self.decided
            .producers
            .get(&key)
            .or_else(|| self.state.producers.get(&key).and_then(Option::as_ref))
            .filter(|known| !known.is_expired(now, expiry))
    }

    /// The same, or whether there may have been something.
    pub(super) fn known(&self, key: ProducerKey) -> Known<'_> {
        if let Some(state) = self.producer(key) {
            return Known::State(state);
        }
        let since = self.partition(key.0).since;
        let (now, expiry) = (self.decided.commit_time, self.state.producer_expiry);
        if since != Timestamp::NONE && is_past(since, now, expiry) {
            Known::Expired
        } else {
            Known::Never
        }
    }

    pub(super) fn push_row(&mut self, key: Bytes, value: Bytes) {
        self.decided.row_bytes += key.len() + value.len();
        self.decided.rows.push((key, value));
    }

    pub(super) fn push_tail(&mut self, value: Bytes, shard: ShardId) {
        let key = self
            .state
            .keys
            .tail(shard, self.decided.group, self.decided.tail_index);
        self.decided.tail_index += 1;
        self.push_row(key, value);
    }

    /// Decides every batch of a manifest. `None`, without a trace in the group, if its rows are larger
    /// than the store takes: committed again and again it would end every owner.
    pub(crate) fn decide(&mut self, commit: &ShardCommit) -> Option<Receipt> {
        let manifest = &commit.manifest;
        let bytes_max = manifest.encoded_len_estimate()
            + manifest.batch_count() * OUTCOME_BYTES_MAX
            + TAIL_FIXED_BYTES_MAX;
        let before = (bytes_max > STORE_VALUE_BYTES_MAX).then(|| self.decided.clone());
        let Batches {
            outcomes,
            begun,
            tokens,
        } = self.decide_batches(commit);
        let mut receipt = Receipt { outcomes };
        let mut tail = self.tail_of(manifest, &receipt, &begun);
        if tail.len() > STORE_VALUE_BYTES_MAX {
            // The codes stay; the details of refusals are a help, and repeat what others say.
            receipt.outcomes.iter_mut().for_each(strip_detail);
            tail = self.tail_of(manifest, &receipt, &begun);
        }
        if tail.len() > STORE_VALUE_BYTES_MAX {
            self.decided = before.unwrap_or_default();
            return None;
        }
        self.write_manifest(manifest, tail, &receipt);
        if receipt.outcomes.iter().any(is_accepted) {
            self.write_inline(commit);
        }
        for (partition, token) in tokens {
            self.write_token(manifest.shard, partition, token);
        }
        let receipts = &mut self.decided.receipts;
        receipts.insert(manifest.segment, receipt.clone());
        Some(receipt)
    }

    fn decide_batches(&mut self, commit: &ShardCommit) -> Batches {
        let manifest = &commit.manifest;
        let mut asides = Asides::new(commit);
        let mut outcomes = Vec::with_capacity(manifest.batch_count());
        let mut begun = Vec::new();
        let mut tokens = BTreeMap::new();
        for (position, (partition, batch)) in positions(manifest).zip(manifest.batches()) {
            let aside = asides.take(position);
            let (outcome, number) = self.decide_batch(partition, batch, &aside);
            begun.extend(number.map(|number| BegunTransaction {
                batch: u32::try_from(outcomes.len()).unwrap_or(u32::MAX),
                number,
            }));
            let asked = aside
                .condition
                .and_then(|asked| asked.set_fencing_token.clone());
            if let (Outcome::Accepted { .. }, Some(token)) = (&outcome, asked) {
                tokens.insert(partition, token);
            }
            outcomes.push(outcome);
        }
        Batches {
            outcomes,
            begun,
            tokens,
        }
    }

    /// Takes note of what failed in a manifest that was decided before: what its callers pipelined
    /// behind it fails too (rule C8), also when it was another owner who decided.
    pub(crate) fn break_orders(&mut self, commit: &ShardCommit, receipt: &Receipt) {
        let partitions = commit.manifest.batches().map(|(partition, _)| partition);
        let mut asides = Asides::new(commit);
        for ((position, partition), outcome) in positions(&commit.manifest)
            .zip(partitions)
            .zip(&receipt.outcomes)
        {
            let order = asides.take(position).order;
            if let (Outcome::Refused { code, detail }, Some(order)) = (outcome, order) {
                self.decided
                    .broken
                    .entry((order, partition))
                    .or_insert_with(|| (*code, detail.clone()));
            }
        }
    }

    fn tail_of(&self, manifest: &Manifest, receipt: &Receipt, begun: &[BegunTransaction]) -> Bytes {
        let row = TailRow::Manifest {
            commit_time: self.decided.commit_time,
            manifest: manifest.clone(),
            receipt: receipt.clone(),
            begun: begun.to_vec(),
        };
        row.encode()
    }

    /// Rows of a decided manifest: tail, receipt and live bytes, one each per (segment, shard).
    fn write_manifest(&mut self, manifest: &Manifest, tail: Bytes, receipt: &Receipt) {
        let (segment, shard) = (manifest.segment, manifest.shard);
        let extents = extents_of(manifest, &receipt.outcomes);
        self.push_tail(tail, shard);
        let proof = ReceiptRow {
            group: self.decided.group,
            receipt: receipt.clone(),
        };
        let keys = self.state.keys;
        self.push_row(keys.receipt(segment, shard), proof.encode());
        let bytes = extents
            .iter()
            .map(|(_, extent)| u64::from(extent.byte_count()))
            .sum::<u64>();
        let live = LiveBytesRow::committed(bytes);
        self.push_row(keys.live_bytes(segment, shard), live.encode());
        if bytes == 0 {
            // Nobody will ever lower it, and so find out.
            self.push_row(keys.dying(segment), DyingRow::default().encode());
            self.decided.has_dying = true;
        }
        self.decided.extents.extend(extents);
        self.decided.manifests += 1;
    }

    /// The segment itself, if it is to lie in the store. Where nothing of it was accepted nobody will ever read it.
    fn write_inline(&mut self, commit: &ShardCommit) {
        let Some(segment) = commit.inline.clone() else {
            return;
        };
        self.decided.inline_bytes += segment.len() as u64;
        self.decided.inline_segments += 1;
        let key = self.state.keys.inline(commit.manifest.segment);
        self.push_row(key, InlineRow { segment }.encode());
    }

    fn write_token(&mut self, shard: ShardId, partition: TopicPartition, token: FencingToken) {
        let command = TailCommand::SetFencingToken(token);
        let row = TailRow::Command {
            commit_time: self.decided.commit_time,
            partition,
            command,
        };
        self.push_tail(row.encode(), shard);
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
        self.put_partition(partition, state);
        self.write_token(shard, partition, token.clone());
        TokenVerdict::Set
    }

    /// Decides what retention asks for: nothing goes that is not stable.
    pub(crate) fn expire(&mut self, shard: ShardId, partition: TopicPartition, before: Offset) {
        if self.state.is_gone(partition) {
            return;
        }
        let last_stable = self.partition(partition).last_stable();
        self.delete_records(shard, partition, before.min(last_stable));
    }

    /// Decides that nothing is kept of a partition of a topic that is purged, also not what an open transaction has
    /// left. Its row is written anew in any case: a group without rows in the tail changes nothing.
    pub(crate) fn empty(&mut self, shard: ShardId, partition: TopicPartition) {
        let next = self.partition(partition).next;
        self.set_log_start(shard, partition, next);
    }

    /// Decides a deletion of records: the log start offset moves up, at most to the end.
    pub(crate) fn delete_records(
        &mut self,
        shard: ShardId,
        partition: TopicPartition,
        before: Offset,
    ) {
        let state = self.partition(partition);
        let (before, log_start) = (before.min(state.next), state.log_start);
        if before > log_start {
            self.set_log_start(shard, partition, before);
        }
    }

    fn set_log_start(&mut self, shard: ShardId, partition: TopicPartition, log_start: Offset) {
        let mut state = self.partition(partition);
        state.log_start = log_start;
        self.put_partition(partition, state);
        let command = TailCommand::SetLogStart(log_start);
        let row = TailRow::Command {
            commit_time: self.decided.commit_time,
            partition,
            command,
        };
        self.push_tail(row.encode(), shard);
    }
}

impl Group<'_> {
    /// Takes rows of consumer groups and transactional ids in, all or, if one of them is no such row of this shard,
    /// none.
    pub(crate) fn put_group_rows(&mut self, shard: ShardId, rows: &GroupRows) -> bool {
        let keys = self.state.keys;
        let is_known =
            |key: &[u8]| keys.is_of_groups(shard, key) || keys.is_of_transactions(shard, key);
        if !rows.iter().all(|(key, _)| is_known(key)) {
            return false;
        }
        for (key, value) in rows {
            if value.is_some() && self.is_offset_of_gone(shard, key) {
                continue;
            }
            self.decided.row_bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
            self.decided.group_rows.push((key.clone(), value.clone()));
        }
        true
    }

    /// Whether a row is an offset of a group in a topic that is being purged: those that were there have gone, and no
    /// one looks for more.
    fn is_offset_of_gone(&self, shard: ShardId, key: &[u8]) -> bool {
        let offsets = self.state.keys.all_group_offsets(shard);
        let partition = Keyspace::offset_partition(key).filter(|_| offsets.contains(key));
        partition.is_some_and(|partition| self.state.is_gone(partition))
    }
}

/// Where each batch of a manifest stands, in the order of outcomes.
fn positions(manifest: &Manifest) -> impl Iterator<Item = BatchPosition> {
    (0_u32..).zip(&manifest.slices).flat_map(|(slice, entry)| {
        let batches = (0_u32..).zip(&entry.batches);
        batches.map(move |(batch, _)| BatchPosition { slice, batch })
    })
}

const fn is_accepted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Accepted { .. })
}

fn strip_detail(outcome: &mut Outcome) {
    if let Outcome::Refused { detail, .. } = outcome {
        *detail = RefusalDetail::None;
    }
}

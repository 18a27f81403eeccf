//! What becomes of a batch: the checks of its order, its producer and its conditions, and what its
//! acceptance changes.

use tidelog_format::manifest::{BatchEntry, Outcome, RefusalDetail};
use tidelog_metadata_api::{BatchCondition, OrderKey};
use tidelog_types::{ErrorCode, Offset, TopicPartition};

use super::aside::Aside;
use super::group::Group;
use super::producer::{ProducerState, Verdict, judge, sequences};
use super::state::PartitionState;
use crate::keyspace::SentBatch;

impl Group<'_> {
    pub(super) fn decide_batch(
        &mut self,
        partition: TopicPartition,
        batch: &BatchEntry,
        aside: &Aside<'_>,
    ) -> Outcome {
        let outcome = self.judge_batch(partition, batch, aside);
        if let (Outcome::Refused { code, detail }, Some(order)) = (&outcome, aside.order) {
            self.decided
                .broken
                .entry((order, partition))
                .or_insert_with(|| (*code, detail.clone()));
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
        state.max_timestamp = state.max_timestamp.max(batch.max_timestamp);
        if let Some(token) = aside
            .condition
            .and_then(|asked| asked.set_fencing_token.clone())
        {
            state.fencing_token = token;
        }
        self.put_partition(partition, state);
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
        let known = self.known((partition, batch.producer_id));
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

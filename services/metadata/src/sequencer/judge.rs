//! What becomes of a batch: the checks of its order, its producer and its conditions, and what its
//! acceptance changes.

use tidelog_format::manifest::{BatchEntry, Outcome, RefusalDetail};
use tidelog_metadata_api::{BatchCondition, OrderKey, TransactionNumber};
use tidelog_types::{ErrorCode, Offset, TopicPartition};

use super::aside::Aside;
use super::group::Group;
use super::producer::{ProducerState, Verdict, judge, sequences};
use super::state::PartitionState;
use super::transaction::{Part, judge_part};
use crate::keyspace::{OPEN_TRANSACTIONS_MAX, SentBatch};

impl Group<'_> {
    /// What becomes of a batch, and the transaction that it has begun, if it has.
    pub(super) fn decide_batch(
        &mut self,
        partition: TopicPartition,
        batch: &BatchEntry,
        aside: &Aside<'_>,
    ) -> (Outcome, Option<TransactionNumber>) {
        let judged = self.judge_batch(partition, batch, aside);
        let (outcome, begun) = match judged {
            Ok((base_offset, begun)) => (Outcome::Accepted { base_offset }, begun),
            Err(outcome) => (outcome, None),
        };
        if let (Outcome::Refused { code, detail }, Some(order)) = (&outcome, aside.order) {
            self.decided
                .broken
                .entry((order, partition))
                .or_insert_with(|| (*code, detail.clone()));
        }
        (outcome, begun)
    }

    /// The offset at which a batch was accepted and the transaction that it has begun, or why it was not.
    fn judge_batch(
        &mut self,
        partition: TopicPartition,
        batch: &BatchEntry,
        aside: &Aside<'_>,
    ) -> Result<(Offset, Option<TransactionNumber>), Outcome> {
        if aside.dropped {
            return Err(refused(ErrorCode::Unavailable, RefusalDetail::None));
        }
        if let Some((code, detail)) = aside.order.and_then(|order| self.broken(order, partition)) {
            return Err(refused(code, detail));
        }
        if self.state.is_gone(partition) {
            return Err(refused(ErrorCode::UnknownTopic, RefusalDetail::None));
        }
        let number = aside.condition.and_then(|asked| asked.transaction);
        let begun = self.judge_producer(partition, batch, number)?;
        let mut state = self.partition(partition);
        if let Some(outcome) = aside
            .condition
            .and_then(|asked| judge_condition(&state, asked))
        {
            return Err(outcome);
        }
        let base_offset = state.next;
        let Some(next) = base_offset.checked_add(u64::from(batch.record_count)) else {
            return Err(refused(ErrorCode::OffsetOutOfRange, RefusalDetail::None));
        };
        if begun.is_some() {
            if state.open.len() >= OPEN_TRANSACTIONS_MAX {
                // Some will end: the client tries again.
                return Err(refused(ErrorCode::Unavailable, RefusalDetail::None));
            }
            state.open.begin(base_offset, batch.producer_id);
        }
        state.next = next;
        state.total = state.total.saturating_add(u64::from(batch.length));
        state.max_timestamp = state.max_timestamp.max(batch.max_timestamp);
        if let Some(token) = aside
            .condition
            .and_then(|asked| asked.set_fencing_token.clone())
        {
            state.fencing_token = token;
        }
        self.put_partition(partition, state);
        self.accept_producer(partition, batch, base_offset, begun);
        Ok((base_offset, begun))
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

    /// The transaction that the batch begins, if it does, or why it is not taken. A retry and a producer of before
    /// hear of themselves first, since their transactions have ended as a rule.
    fn judge_producer(
        &self,
        partition: TopicPartition,
        batch: &BatchEntry,
        number: Option<TransactionNumber>,
    ) -> Result<Option<TransactionNumber>, Outcome> {
        let key = (partition, batch.producer_id);
        let Some((first, last)) = sequences(batch) else {
            return match judge_part(None, batch, number) {
                Some(Part::None) => Ok(None),
                _ => Err(invalid_transaction()),
            };
        };
        let verdict = judge(self.known(key), batch.producer_epoch, first, last);
        match verdict {
            Verdict::Duplicate(first_offset) => return Err(Outcome::Duplicate { first_offset }),
            Verdict::Fenced { current } => {
                let detail = RefusalDetail::ProducerEpoch(current);
                return Err(refused(ErrorCode::ProducerFenced, detail));
            }
            Verdict::Next | Verdict::OutOfOrder { .. } | Verdict::Unknown => {}
        }
        let part = judge_part(self.producer(key), batch, number).ok_or_else(invalid_transaction)?;
        match verdict {
            Verdict::OutOfOrder { expected } => Err(refused(
                ErrorCode::OutOfOrderSequence,
                RefusalDetail::Sequence(expected),
            )),
            Verdict::Unknown => Err(refused(ErrorCode::UnknownProducer, RefusalDetail::None)),
            _ => Ok(match part {
                Part::First(number) => Some(number),
                Part::None | Part::Next => None,
            }),
        }
    }

    fn accept_producer(
        &mut self,
        partition: TopicPartition,
        batch: &BatchEntry,
        base: Offset,
        begun: Option<TransactionNumber>,
    ) {
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
        let (epoch, now) = (batch.producer_epoch, self.decided.commit_time);
        let state = ProducerState::accept(known, epoch, sent, begun, now);
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

const fn invalid_transaction() -> Outcome {
    refused(ErrorCode::InvalidTransaction, RefusalDetail::None)
}

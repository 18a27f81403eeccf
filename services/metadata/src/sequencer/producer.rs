//! What a partition knows of an idempotent producer (rule C7), and the verdict over a batch.

use std::time::Duration;

use smallvec::SmallVec;
use tidelog_format::manifest::{BatchEntry, sequence_after};
use tidelog_metadata_api::{ActiveProducer, ProducerIdentity, TransactionNumber};
use tidelog_types::limits::PRODUCER_BATCHES_KEPT;
use tidelog_types::{GroupNumber, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::keyspace::{OpenTransactionRow, ProducerRow, SentBatch};

/// The verdict over a batch of an idempotent producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next one.
    Next,
    /// It was accepted before, at this offset.
    Duplicate(Offset),
    /// It is neither the next nor one of the last five; `expected` is the next one.
    OutOfOrder { expected: i32 },
    /// A newer epoch has been seen.
    Fenced { current: ProducerEpoch },
    /// Nothing was ever known of the producer, and this is not its first batch.
    Unknown,
}

/// The state of one producer in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProducerState {
    pub(crate) epoch: ProducerEpoch,
    pub(crate) last_used: Timestamp,
    pub(crate) batches: SmallVec<[SentBatch; PRODUCER_BATCHES_KEPT]>,
    /// Its transactions up to this one have ended here.
    pub(crate) ended: TransactionNumber,
    /// The epoch of the coordinator of the last marker.
    pub(crate) coordinator_epoch: Option<i32>,
    pub(crate) open: Option<OpenTransactionRow>,
}

/// What there is to know of a batch's producer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known<'a> {
    /// Its state.
    State(&'a ProducerState),
    /// It has none, since it never had or since it has expired.
    Expired,
    /// It has none, and no state in the partition can have expired yet.
    Never,
}

/// Judges a batch against what is known of its producer.
///
/// A producer that comes back after its state has expired goes on with whatever sequence it is at, as in
/// Kafka. One that the partition cannot have forgotten must begin at 0: its first batch is on its way.
pub(crate) fn judge(
    known: Known<'_>,
    epoch: ProducerEpoch,
    first_sequence: i32,
    last_sequence: i32,
) -> Verdict {
    let known = match known {
        Known::State(state) => state,
        Known::Never if first_sequence != 0 => return Verdict::Unknown,
        Known::Never | Known::Expired => return Verdict::Next,
    };
    if epoch < known.epoch {
        return Verdict::Fenced {
            current: known.epoch,
        };
    }
    if epoch > known.epoch {
        // A new epoch counts from 0 again.
        return if first_sequence == 0 {
            Verdict::Next
        } else {
            Verdict::OutOfOrder { expected: 0 }
        };
    }
    let same = |sent: &&SentBatch| {
        sent.first_sequence == first_sequence && sent.last_sequence == last_sequence
    };
    if let Some(sent) = known.batches.iter().find(same) {
        return Verdict::Duplicate(sent.base_offset);
    }
    let expected = known
        .batches
        .last()
        .map_or(0, |sent| sequence_after(sent.last_sequence, 1));
    if first_sequence == expected {
        Verdict::Next
    } else {
        Verdict::OutOfOrder { expected }
    }
}

impl ProducerState {
    /// A producer of which only the epoch is known.
    pub(crate) fn new(epoch: ProducerEpoch) -> Self {
        Self {
            epoch,
            last_used: Timestamp::NONE,
            batches: SmallVec::new(),
            ended: TransactionNumber::default(),
            coordinator_epoch: None,
            open: None,
        }
    }

    /// The state after a batch was accepted, perhaps as the first one of a transaction.
    pub(crate) fn accept(
        known: Option<Self>,
        epoch: ProducerEpoch,
        sent: SentBatch,
        begun: Option<TransactionNumber>,
        commit_time: Timestamp,
    ) -> Self {
        let mut state = known.unwrap_or_else(|| Self::new(epoch));
        if state.epoch != epoch {
            state.epoch = epoch;
            state.batches.clear();
        }
        if state.batches.len() >= PRODUCER_BATCHES_KEPT {
            state.batches.remove(0);
        }
        state.batches.push(sent);
        state.last_used = commit_time;
        if let Some(number) = begun {
            state.open = Some(OpenTransactionRow {
                first: sent.base_offset,
                number,
            });
        }
        state
    }

    /// Whether it is to be forgotten at `now`; never while it has a transaction open.
    pub(crate) fn is_expired(&self, now: Timestamp, expiry: Duration) -> bool {
        self.open.is_none() && is_past(self.last_used, now, expiry)
    }

    pub(crate) fn from_row(row: &ProducerRow) -> Self {
        Self {
            epoch: row.epoch,
            last_used: row.last_used,
            batches: SmallVec::from_slice(&row.batches),
            ended: row.ended,
            coordinator_epoch: row.coordinator_epoch,
            open: row.open,
        }
    }

    /// What others are shown of it.
    pub(crate) fn to_active(&self, id: ProducerId) -> ActiveProducer {
        let last = self.batches.last();
        ActiveProducer {
            producer: ProducerIdentity::new(id, self.epoch),
            last_sequence: last.map(|sent| sent.last_sequence),
            last_used: self.last_used,
            coordinator_epoch: self.coordinator_epoch,
            open_from: self.open.map(|open| open.first),
        }
    }

    pub(crate) fn to_row(&self, as_of: GroupNumber) -> ProducerRow {
        ProducerRow {
            as_of,
            epoch: self.epoch,
            last_used: self.last_used,
            batches: self.batches.to_vec(),
            ended: self.ended,
            coordinator_epoch: self.coordinator_epoch,
            open: self.open,
        }
    }
}

/// Whether a time is `expiry` or more before `now`.
pub(crate) fn is_past(time: Timestamp, now: Timestamp, expiry: Duration) -> bool {
    let expiry = i64::try_from(expiry.as_millis()).unwrap_or(i64::MAX);
    now.as_millis().saturating_sub(time.as_millis()) >= expiry
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

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: ProducerEpoch = ProducerEpoch::new(3);

    fn sent(first: i32, last: i32, base: u64) -> SentBatch {
        SentBatch {
            first_sequence: first,
            last_sequence: last,
            base_offset: Offset::new(base),
        }
    }

    fn judge(
        known: Option<&ProducerState>,
        epoch: ProducerEpoch,
        first: i32,
        last: i32,
    ) -> Verdict {
        super::judge(known.map_or(Known::Never, Known::State), epoch, first, last)
    }

    fn after(batches: &[SentBatch]) -> Option<ProducerState> {
        batches.iter().fold(None, |state, batch| {
            Some(ProducerState::accept(
                state,
                EPOCH,
                *batch,
                None,
                Timestamp::default(),
            ))
        })
    }

    #[test]
    fn the_next_batch_is_taken_and_a_gap_is_not() {
        let state = after(&[sent(0, 4, 100)]);
        assert_eq!(judge(state.as_ref(), EPOCH, 5, 5), Verdict::Next);
        assert_eq!(
            judge(state.as_ref(), EPOCH, 6, 6),
            Verdict::OutOfOrder { expected: 5 }
        );
    }

    #[test]
    fn each_of_the_last_five_is_a_duplicate_and_an_older_one_is_out_of_order() {
        let batches: Vec<_> = (0..6)
            .map(|n| sent(n, n, 10 + u64::try_from(n).unwrap()))
            .collect();
        let state = after(&batches);
        for batch in &batches[1..] {
            assert_eq!(
                judge(
                    state.as_ref(),
                    EPOCH,
                    batch.first_sequence,
                    batch.last_sequence
                ),
                Verdict::Duplicate(batch.base_offset)
            );
        }
        assert_eq!(
            judge(state.as_ref(), EPOCH, 0, 0),
            Verdict::OutOfOrder { expected: 6 }
        );
    }

    #[test]
    fn a_batch_that_only_overlaps_a_sent_one_is_no_duplicate() {
        let state = after(&[sent(0, 4, 0)]);
        assert_eq!(
            judge(state.as_ref(), EPOCH, 0, 3),
            Verdict::OutOfOrder { expected: 5 }
        );
        assert_eq!(
            judge(state.as_ref(), EPOCH, 2, 6),
            Verdict::OutOfOrder { expected: 5 }
        );
    }

    #[test]
    fn an_older_epoch_is_fenced_and_a_newer_one_starts_at_zero() {
        let state = after(&[sent(0, 4, 0)]);
        let older = ProducerEpoch::new(2);
        let newer = ProducerEpoch::new(4);
        assert_eq!(
            judge(state.as_ref(), older, 5, 5),
            Verdict::Fenced { current: EPOCH }
        );
        assert_eq!(
            judge(state.as_ref(), newer, 5, 5),
            Verdict::OutOfOrder { expected: 0 }
        );
        assert_eq!(judge(state.as_ref(), newer, 0, 0), Verdict::Next);
        let bumped = ProducerState::accept(state, newer, sent(0, 0, 9), None, Timestamp::default());
        assert_eq!(
            bumped.batches.len(),
            1,
            "the old epoch's batches are forgotten"
        );
    }

    #[test]
    fn a_producer_that_was_never_known_starts_at_zero_and_an_expired_one_anywhere() {
        assert_eq!(super::judge(Known::Never, EPOCH, 0, 9), Verdict::Next);
        assert_eq!(super::judge(Known::Never, EPOCH, 1, 9), Verdict::Unknown);
        assert_eq!(super::judge(Known::Expired, EPOCH, 0, 9), Verdict::Next);
        assert_eq!(super::judge(Known::Expired, EPOCH, 77, 79), Verdict::Next);
    }

    #[test]
    fn a_producer_expires_at_the_time_and_not_a_moment_before() {
        let state = after(&[sent(0, 4, 0)]).unwrap();
        let expired = |now, expiry| {
            state.is_expired(Timestamp::from_millis(now), Duration::from_millis(expiry))
        };
        assert!(expired(7, 7) && !expired(6, 7));
        assert!(!expired(i64::MAX - 1, u64::MAX));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let state = after(&[sent(i32::MAX - 1, i32::MAX, 7)]);
        assert_eq!(judge(state.as_ref(), EPOCH, 0, 3), Verdict::Next);
    }
}

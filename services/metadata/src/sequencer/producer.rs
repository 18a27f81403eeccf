//! What a partition knows of an idempotent producer (rule C7), and the verdict over a batch.

use smallvec::SmallVec;
use tidelog_format::manifest::sequence_after;
use tidelog_types::limits::PRODUCER_BATCHES_KEPT;
use tidelog_types::{Offset, ProducerEpoch, Timestamp};

use crate::keyspace::{ProducerRow, SentBatch};

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
    /// Nothing is known of the producer, and this is not its first batch.
    Unknown,
}

/// The state of one producer in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProducerState {
    pub(crate) epoch: ProducerEpoch,
    pub(crate) last_used: Timestamp,
    pub(crate) batches: SmallVec<[SentBatch; PRODUCER_BATCHES_KEPT]>,
}

/// Judges a batch against what is known of its producer, which may be nothing.
pub(crate) fn judge(
    known: Option<&ProducerState>,
    epoch: ProducerEpoch,
    first_sequence: i32,
    last_sequence: i32,
) -> Verdict {
    let Some(known) = known else {
        return if first_sequence == 0 {
            Verdict::Next
        } else {
            Verdict::Unknown
        };
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
    /// The state after a batch was accepted.
    pub(crate) fn accept(
        known: Option<Self>,
        epoch: ProducerEpoch,
        sent: SentBatch,
        commit_time: Timestamp,
    ) -> Self {
        let mut batches = known
            .filter(|known| known.epoch == epoch)
            .map_or_else(SmallVec::new, |known| known.batches);
        if batches.len() >= PRODUCER_BATCHES_KEPT {
            batches.remove(0);
        }
        batches.push(sent);
        Self {
            epoch,
            last_used: commit_time,
            batches,
        }
    }

    pub(crate) fn from_row(row: &ProducerRow) -> Self {
        Self {
            epoch: row.epoch,
            last_used: row.last_used,
            batches: SmallVec::from_slice(&row.batches),
        }
    }
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

    fn after(batches: &[SentBatch]) -> Option<ProducerState> {
        batches.iter().fold(None, |state, batch| {
            Some(ProducerState::accept(
                state,
                EPOCH,
                *batch,
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
        let bumped = ProducerState::accept(state, newer, sent(0, 0, 9), Timestamp::default());
        assert_eq!(
            bumped.batches.len(),
            1,
            "the old epoch's batches are forgotten"
        );
    }

    #[test]
    fn an_unknown_producer_must_start_at_zero() {
        assert_eq!(judge(None, EPOCH, 0, 9), Verdict::Next);
        assert_eq!(judge(None, EPOCH, 1, 9), Verdict::Unknown);
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let state = after(&[sent(i32::MAX - 1, i32::MAX, 7)]);
        assert_eq!(judge(state.as_ref(), EPOCH, 0, 3), Verdict::Next);
    }
}

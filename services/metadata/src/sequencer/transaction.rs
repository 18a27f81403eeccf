//! Transactions in a partition: which are open, which part a batch has in one, and what a marker changes.
//!
//! ```text
//!   offsets      first of A     first of B     marker of A             next
//!                    v              v               v                    v
//!    ################aaaaaaaaaaaaaaabbbbbbaaabbbbbbb|bbbb################|
//!                    ^ last stable: before the marker
//!                                   ^ after it
//! ```
//!
//! The functions here change state after a decision and in a replay alike, so that the two cannot differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_format::manifest::BatchEntry;
use tidelog_metadata_api::{Decision, PartitionBounds, TransactionNumber};
use tidelog_types::{Offset, ProducerId, Timestamp};

use super::producer::ProducerState;
use super::state::PartitionState;
use crate::keyspace::MarkerRow;

/// The open transactions of a partition: whose each is, by the offset at which it begins. Most partitions have
/// none, which takes no memory; clones share what they have until one of them changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpenTransactions(Option<Arc<BTreeMap<Offset, ProducerId>>>);

impl OpenTransactions {
    pub(crate) fn from_row(open: Vec<(Offset, ProducerId)>) -> Self {
        Self((!open.is_empty()).then(|| Arc::new(open.into_iter().collect())))
    }

    pub(crate) fn to_row(&self) -> Vec<(Offset, ProducerId)> {
        let open = self.0.iter().flat_map(|open| open.iter());
        open.map(|(first, producer)| (*first, *producer)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |open| open.len())
    }

    /// Where the oldest begins.
    pub(crate) fn first(&self) -> Option<Offset> {
        let open = self.0.as_ref()?;
        open.first_key_value().map(|(first, _)| *first)
    }

    pub(crate) fn begin(&mut self, first: Offset, producer: ProducerId) {
        Arc::make_mut(self.0.get_or_insert_default()).insert(first, producer);
    }

    fn end(&mut self, first: Offset) {
        if let Some(open) = &mut self.0 {
            Arc::make_mut(open).remove(&first);
        }
        if self.len() == 0 {
            self.0 = None;
        }
    }
}

impl PartitionState {
    /// Below it no transaction is open. It never goes back: what is begun begins at the end.
    pub(crate) fn last_stable(&self) -> Offset {
        let first = self.open.first().unwrap_or(self.next);
        first.min(self.next).max(self.log_start)
    }

    /// The bounds of the log.
    pub(crate) fn bounds(&self) -> PartitionBounds {
        PartitionBounds {
            log_start: self.log_start,
            last_stable: self.last_stable(),
            high_watermark: self.next,
            aborted_below: self.aborted_below,
        }
    }

    /// Appends a marker, which ends what it says was open.
    pub(crate) fn end(&mut self, row: &MarkerRow) {
        self.next = self.next.max(row.next());
        if let Some(ended) = row.ended {
            self.open.end(ended.first);
            if row.marker.decision == Decision::Abort {
                self.aborted_below = self.aborted_below.max(row.next());
            }
        }
    }
}

impl ProducerState {
    /// The state after a marker. Earlier epochs are fenced; in a new one sequences begin at 0 again.
    pub(crate) fn end(known: Option<Self>, row: &MarkerRow, commit_time: Timestamp) -> Self {
        let epoch = row.marker.producer_epoch;
        let mut state = known.unwrap_or_else(|| Self::new(epoch));
        // An older one comes only of a transaction that has records of the producer's former epoch.
        if epoch > state.epoch {
            state.epoch = epoch;
            state.batches.clear();
        }
        state.last_used = commit_time;
        state.open = None;
        state.ended = state.ended.max(row.number);
        state.coordinator_epoch = Some(row.marker.coordinator_epoch);
        state
    }
}

/// The part that a batch has in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// None: it is read at once.
    None,
    /// It goes on with the open one.
    Next,
    /// It is the first one.
    First(TransactionNumber),
}

/// Judges a batch by what is known of its producer, if it has one. Nothing if it may not be taken: it comes after the
/// end of its transaction, it has no part in the one that is open, or nobody has said which one is its.
pub(crate) fn judge_part(
    known: Option<&ProducerState>,
    batch: &BatchEntry,
    number: Option<TransactionNumber>,
) -> Option<Part> {
    let open = known.and_then(|known| known.open);
    if !batch.transactional {
        return (number.is_none() && open.is_none()).then_some(Part::None);
    }
    let number =
        number.filter(|number| *number > known.map_or_else(Default::default, |it| it.ended))?;
    match (open, known) {
        // Only a marker brings a new epoch while one is open.
        (Some(open), Some(known)) => {
            let is_same = open.number == number && known.epoch == batch.producer_epoch;
            is_same.then_some(Part::Next)
        }
        _ => Some(Part::First(number)),
    }
}

#[cfg(test)]
mod tests {
    use tidelog_format::marker::EndMarker;
    use tidelog_types::{ProducerEpoch, TopicPartition};

    use super::*;
    use crate::keyspace::EndedTransaction;

    const fn at(offset: u64) -> Offset {
        Offset::new(offset)
    }

    fn marker(offset: u64, first: Option<u64>, decision: Decision) -> MarkerRow {
        MarkerRow {
            partition: TopicPartition::default(),
            offset: at(offset),
            marker: EndMarker {
                producer_id: ProducerId::new(1),
                producer_epoch: ProducerEpoch::new(0),
                coordinator_epoch: 4,
                decision,
            },
            number: TransactionNumber(1),
            ended: first.map(|first| EndedTransaction {
                first: at(first),
                last_stable: at(0),
            }),
        }
    }

    fn bounds(state: &PartitionState) -> (u64, u64, u64) {
        let bounds = state.bounds();
        let (stable, end) = (bounds.last_stable, bounds.high_watermark);
        (stable.get(), end.get(), bounds.aborted_below.get())
    }

    #[test]
    fn the_last_stable_offset_is_where_the_oldest_open_transaction_begins() {
        let mut state = PartitionState {
            next: at(10),
            ..PartitionState::default()
        };
        assert_eq!(bounds(&state), (10, 10, 0));
        state.open.begin(at(3), ProducerId::new(1));
        state.open.begin(at(6), ProducerId::new(2));
        assert_eq!(bounds(&state), (3, 10, 0));
        state.end(&marker(10, Some(3), Decision::Abort));
        assert_eq!(bounds(&state), (6, 11, 11));
        state.end(&marker(11, None, Decision::Abort));
        assert_eq!(bounds(&state), (6, 12, 11), "it ended nothing");
        state.log_start = at(8);
        assert_eq!(bounds(&state), (8, 12, 11), "its beginning is deleted");
        state.end(&marker(12, Some(6), Decision::Commit));
        assert_eq!(bounds(&state), (13, 13, 11));
        assert_eq!(state.open, OpenTransactions::default());
    }

    #[test]
    fn clones_share_open_transactions_until_one_changes() {
        let open = OpenTransactions::from_row(vec![(at(3), ProducerId::new(1))]);
        let mut other = open.clone();
        other.end(at(3));
        other.begin(at(5), ProducerId::new(2));
        assert_eq!(open.to_row(), [(at(3), ProducerId::new(1))]);
        assert_eq!(other.to_row(), [(at(5), ProducerId::new(2))]);
        assert_eq!((open.len(), open.first()), (1, Some(at(3))));
    }
}

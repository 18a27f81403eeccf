//! Receipts of this shard that its owner has written or found: it need not look for others, and once they are
//! below the floors of their writers it deletes them, without a search (rule C5).
//!
//! It is in memory only. What an owner before has left, and what its writer leaves when it ends, is found by
//! the search that the owner of shard 0 makes.

use std::collections::{BTreeSet, HashMap};

use tidelog_store::{Direction, ScanOptions, Store, Transaction};
use tidelog_types::{Incarnation, SegmentName, SegmentSequence};

use super::error::SequencerError;
use super::floors::{Floors, read_floor};
use super::lease::Lease;
use super::message::{Answer, Message, read_oldest_live};
use crate::keyspace::{FloorRow, Keyspace};

/// Names that are remembered. Of more the oldest are forgotten, and left to the search.
const KEPT_MAX: usize = 16_384;
/// Receipts that one transaction deletes.
const ROWS: usize = 1_000;
/// Transactions after one checkpoint.
const STEPS: u32 = 16;
/// Receipts of a writer that are looked at when it is first heard of, and their bytes, about. The newest: a
/// commit that is tried again is one of the last.
const FOUND_ROWS: usize = 1_000;
const FOUND_BYTES: usize = 128 * 1024;
/// Writers of which it is known which receipts are there. Of more all are looked at again.
const WRITERS_MAX: usize = 4_096;

/// The names of the segments.
#[derive(Debug, Default)]
pub(crate) struct OwnReceipts {
    names: BTreeSet<SegmentName>,
    /// Of these writers every receipt of this shard is among the names, from this sequence on.
    ///
    /// It stays true as long as the shard is owned: whoever else would write one finds another lease (rule C1).
    whole_from: HashMap<Incarnation, SegmentSequence>,
    steps_left: u32,
}

/// What is known of a receipt without a look at the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// It is there, or was until its writer needed it no more.
    There,
    /// It is not.
    Absent,
    /// The store knows.
    Unsure,
}

impl OwnReceipts {
    /// Takes note of the receipt that a commit was answered with.
    pub(crate) fn note(&mut self, message: &Message, answer: &Answer) {
        if let (Message::Commit { commit, .. }, Answer::Receipt(..)) = (message, answer) {
            self.keep(commit.manifest.segment);
        }
    }

    fn keep(&mut self, name: SegmentName) {
        self.names.insert(name);
        while self.names.len() > KEPT_MAX {
            let Some(oldest) = self.names.pop_first() else {
                return;
            };
            if let Some(whole_from) = self.whole_from.get_mut(&oldest.incarnation) {
                *whole_from = (*whole_from).max(after(oldest.sequence));
            }
        }
    }

    /// What is known of a receipt of this shard.
    pub(crate) fn look(&self, name: SegmentName) -> Receipt {
        if self.names.contains(&name) {
            return Receipt::There;
        }
        match self.whole_from.get(&name.incarnation) {
            Some(whole_from) if name.sequence >= *whole_from => Receipt::Absent,
            _ => Receipt::Unsure,
        }
    }

    /// A commit may be there that nobody was told of: what is not among the names is looked for again.
    pub(crate) fn doubt(&mut self) {
        self.whole_from.clear();
    }

    /// Whether the newest receipts of a writer were looked for.
    pub(crate) fn has_met(&self, incarnation: Incarnation) -> bool {
        self.whole_from.contains_key(&incarnation)
    }

    /// Looks for the newest receipts of a writer that was not heard of before, in a transaction that also
    /// checks the lease.
    pub(crate) async fn meet(
        &mut self,
        lease: &Lease,
        transaction: &mut dyn Transaction,
        incarnation: Incarnation,
    ) -> Result<(), SequencerError> {
        if self.has_met(incarnation) {
            return Ok(());
        }
        let range = lease.keys.receipts_of(incarnation);
        let options = ScanOptions {
            bytes_max: FOUND_BYTES,
            direction: Direction::Backward,
            ..ScanOptions::limit(FOUND_ROWS).snapshot()
        };
        let page = transaction.scan(range, options).await?;
        if self.whole_from.len() >= WRITERS_MAX {
            self.whole_from.clear();
        }
        let mut whole_from = SegmentSequence::default();
        if page.more {
            // Other shards come after this one under the same name, and this one may be cut off.
            let last = page
                .rows
                .last()
                .and_then(|(key, _)| Keyspace::receipt_segment(key));
            let unknown = SegmentSequence::new(u64::MAX);
            whole_from = last.map_or(unknown, |last| after(last.sequence));
        }
        self.whole_from.insert(incarnation, whole_from);
        for (key, _) in page.rows {
            if Keyspace::receipt_shard(&key) == Some(lease.shard)
                && let Some(name) = Keyspace::receipt_segment(&key)
            {
                self.keep(name);
            }
        }
        Ok(())
    }

    /// Allows some transactions: a checkpoint is complete.
    pub(crate) const fn begin(&mut self) {
        self.steps_left = STEPS;
    }

    /// Whether there are some that may go now.
    pub(crate) fn is_due(&self, floors: &Floors) -> bool {
        self.steps_left > 0 && self.below(floors).next().is_some()
    }

    /// Those that may go now, as far as floors were seen, and not more than one transaction takes.
    pub(crate) fn due(&self, floors: &Floors) -> Vec<SegmentName> {
        if self.steps_left == 0 {
            return Vec::new();
        }
        self.below(floors).take(ROWS).collect()
    }

    fn below(&self, floors: &Floors) -> impl Iterator<Item = SegmentName> {
        let below = floors.seen().flat_map(|(incarnation, floor)| {
            let first = SegmentName::new(incarnation, SegmentSequence::default());
            self.names
                .range(first..SegmentName::new(incarnation, floor))
        });
        below.copied()
    }

    /// Deletes receipts in a transaction that sees the floors of their writers above them; returns how many.
    ///
    /// One that lands late does no harm: what is below a floor stays there.
    pub(crate) async fn delete(
        &mut self,
        store: &dyn Store,
        lease: &Lease,
        due: Vec<SegmentName>,
    ) -> Result<u64, SequencerError> {
        // After an error the next checkpoint allows more.
        let steps_left = std::mem::take(&mut self.steps_left);
        let mut transaction = store.begin().await?;
        lease.check(transaction.as_mut()).await?;
        let oldest_live = read_oldest_live(lease.keys, transaction.as_mut()).await?;
        let (mut writer, mut gone) = (None, 0);
        for name in &due {
            let incarnation = name.incarnation;
            let floor = match writer {
                Some((seen, floor)) if seen == incarnation => floor,
                _ => read_floor(lease.keys, transaction.as_mut(), incarnation).await?,
            };
            writer = Some((incarnation, floor));
            let has_ended = incarnation < oldest_live || FloorRow { floor }.has_ended();
            // Of one that has ended the search deletes all, and keeps how far it came.
            if name.sequence < floor && !has_ended {
                transaction.delete(lease.keys.receipt(*name, lease.shard));
                gone += 1;
            }
        }
        if gone > 0 {
            transaction.commit().await?;
        }
        for name in &due {
            self.names.remove(name);
        }
        self.steps_left = steps_left.saturating_sub(1);
        Ok(gone)
    }
}

fn after(sequence: SegmentSequence) -> SegmentSequence {
    SegmentSequence::new(sequence.get().saturating_add(1))
}

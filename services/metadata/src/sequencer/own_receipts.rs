//! Receipts of this shard that its owner has written or found: once they are below the floors of their
//! writers it deletes them, without a search (rule C5).
//!
//! It is in memory only. What an owner before has left, and what its writer leaves when it ends, is found by
//! the search that the owner of shard 0 makes.

use std::collections::BTreeSet;

use tidelog_store::Store;
use tidelog_types::{SegmentName, SegmentSequence};

use super::error::SequencerError;
use super::floors::{Floors, read_floor};
use super::lease::Lease;
use super::message::{Answer, Message, read_oldest_live};
use crate::keyspace::FloorRow;

/// Names that are remembered. Of more the oldest are forgotten, and left to the search.
const KEPT_MAX: usize = 16_384;
/// Receipts that one transaction deletes.
const ROWS: usize = 1_000;
/// Transactions after one checkpoint.
const STEPS: u32 = 16;

/// The names of the segments.
#[derive(Debug, Default)]
pub(crate) struct OwnReceipts {
    names: BTreeSet<SegmentName>,
    steps_left: u32,
}

impl OwnReceipts {
    /// Takes note of the receipt that a commit was answered with.
    pub(crate) fn note(&mut self, message: &Message, answer: &Answer) {
        if let (Message::Commit { commit, .. }, Answer::Receipt(..)) = (message, answer) {
            self.names.insert(commit.manifest.segment);
            while self.names.len() > KEPT_MAX {
                self.names.pop_first();
            }
        }
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

//! What the driver asks for: mostly what is likely, and also what is late, wrong or asked before.

use tidelog_format::manifest::BatchEntry;
use tidelog_metadata_api::{BatchCondition, ShardCommit, TransactionMarker};
use tidelog_types::{Offset, TopicPartition};

use super::drive::{Ask, Driver, TOKENS};
use super::judge::Producer;
use crate::manifests::{Draft, at_epoch, plain, segment, token};
use crate::transactions::{abort, commit, of, with_epoch};
use crate::world::{PARTITIONS, partition};

impl Driver {
    pub(super) fn some_partition(&self) -> TopicPartition {
        partition(u32::try_from(self.below(PARTITIONS as usize)).expect("few"))
    }

    pub(super) fn ask(&mut self) -> Ask {
        match self.below(12) {
            0 => Ask::SetToken(self.some_partition(), TOKENS[self.below(TOKENS.len())]),
            1 => {
                let partition = self.some_partition();
                let next = self.judge.partitions.entry(partition).or_default().next;
                let before = self.below(usize::try_from(next).expect("small") + 2);
                Ask::DeleteRecords(partition, before as u64)
            }
            2..=4 => Ask::End((0..=self.below(3)).map(|_| self.marker()).collect()),
            _ => Ask::Commit(self.commit()),
        }
    }

    /// A marker: mostly of what is open, and also one that was told before, or of a transaction without batches.
    fn marker(&self) -> TransactionMarker {
        let at = self.some_partition();
        let id = i64::try_from(1 + self.below(3)).expect("few");
        let known = self.judge.partitions.get(&at);
        let known = known.and_then(|known| known.producers.get(&id)).cloned();
        let known = known.unwrap_or_default();
        let number = match known.open {
            Some((_, open)) if self.chance(80) => open,
            _ => known.ended + self.below(2) as u64,
        };
        let marker = if self.chance(50) {
            abort(at, id, number)
        } else {
            commit(at, id, number)
        };
        let epoch = match self.below(10) {
            0..=2 => known.epoch + 1,
            3 => (known.epoch - 1).max(0),
            _ => known.epoch,
        };
        with_epoch(marker, epoch)
    }

    /// A manifest of one to three slices of one shard; sometimes under a name below the floor.
    fn commit(&mut self) -> ShardCommit {
        self.sequence += 1;
        let is_late = self.chance(4) && self.judge.floor > 0;
        let sequence = if is_late {
            self.judge.floor - 1
        } else {
            self.sequence
        };
        if self.judge.receipts.contains_key(&sequence) || self.is_sent(sequence) {
            return self.commit();
        }
        let first = self.some_partition();
        let shard = self.shards[first.partition.get() as usize];
        let mut draft = segment(sequence);
        for slice in 0..=self.below(3) {
            let mut partition = self.some_partition();
            if self.shards[partition.partition.get() as usize] != shard {
                partition = first;
            }
            let batches: Vec<_> = (0..=self.below(3)).map(|_| self.batch(partition)).collect();
            let (batches, numbers): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
            let slice = u32::try_from(slice).expect("few");
            draft = self.asides(draft.slice(partition, &batches), slice, &numbers);
        }
        let done_below = self.done_below.min(sequence);
        // Not by chance, so that the history is the same without it.
        if (self.seed + sequence).is_multiple_of(4) {
            draft = draft.in_store();
        }
        self.sharded(draft.done_below(done_below)).done()
    }

    fn is_sent(&self, sequence: u64) -> bool {
        let names = |commit: &ShardCommit| commit.manifest.segment.sequence.get();
        self.sent.iter().any(|commit| names(commit) == sequence)
    }

    pub(super) fn sharded(&self, draft: Draft) -> Draft {
        let commit = draft.clone().done();
        let index = commit.manifest.slices[0].partition.partition.get();
        draft.shard(self.shards[index as usize])
    }

    fn asides(&self, mut draft: Draft, slice: u32, numbers: &[Option<u64>]) -> Draft {
        for (batch, number) in (0_u32..).zip(numbers) {
            let at = draft.last_partition();
            let known = self.judge.partitions.get(&at);
            let part = number.map(of).unwrap_or_default();
            if self.chance(15) {
                let next = known.map_or(0, |partition| partition.next);
                let condition = BatchCondition {
                    transaction: part.transaction,
                    expected_next: self.chance(50).then(|| Offset::new(next)),
                    fencing_token: self.chance(50).then(|| token(TOKENS[self.below(3)])),
                    set_fencing_token: self.chance(50).then(|| token(TOKENS[self.below(3)])),
                };
                draft = draft.condition(slice, batch, condition);
            } else if number.is_some() {
                draft = draft.condition(slice, batch, part);
            }
            if self.chance(40) {
                // Two callers of this burst; another burst has others, as callers hear of failures.
                draft = draft.order(slice, batch, self.burst * 2 + self.below(2) as u64);
            }
            if self.chance(3) {
                draft = draft.dropped(slice, batch);
            }
        }
        draft
    }

    /// A batch and the number of its transaction.
    fn batch(&self, partition: TopicPartition) -> (BatchEntry, Option<u64>) {
        let batch = self.batch_outside(partition);
        let known = self.judge.partitions.get(&partition);
        let known = known.and_then(|known| known.producers.get(&batch.producer_id.get()));
        let number = self.number(known).filter(|_| batch.producer_id.get() >= 0);
        let transactional = number.is_some() != self.chance(2);
        let batch = BatchEntry {
            transactional,
            ..batch
        };
        (batch, number)
    }

    /// Mostly what fits, and also what comes late or too early.
    fn number(&self, known: Option<&Producer>) -> Option<u64> {
        let ended = known.map_or(0, |known| known.ended);
        match known.and_then(|known| known.open) {
            Some((_, open)) if self.chance(85) => Some(open),
            _ if self.chance(50) => Some(ended + self.below(3) as u64),
            _ => None,
        }
    }

    fn batch_outside(&self, partition: TopicPartition) -> BatchEntry {
        let records = u32::try_from(1 + self.below(4)).expect("few");
        if self.chance(25) {
            return plain(records);
        }
        let id = i64::try_from(1 + self.below(3)).expect("few");
        let known = self.judge.partitions.get(&partition);
        let Some(known) = known.and_then(|known| known.producers.get(&id)) else {
            return at_epoch(id, 0, i32::from(self.chance(10)), records);
        };
        match self.below(10) {
            0 => at_epoch(id, known.epoch + 1, 0, records),
            1 => at_epoch(id, known.epoch, known.next() + 1, records),
            2 if known.epoch > 0 => at_epoch(id, known.epoch - 1, known.next(), records),
            3 | 4 if !known.kept.is_empty() => {
                let kept = known.kept[self.below(known.kept.len())];
                at_epoch(id, known.epoch, kept.sequence, kept.count)
            }
            _ => at_epoch(id, known.epoch, known.next(), records),
        }
    }
}

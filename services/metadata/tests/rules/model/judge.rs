//! The judge: what a single thread with all its state in plain maps would have answered.

use std::collections::{BTreeMap, HashMap};

use tidelog_format::manifest::{BatchEntry, Outcome, RefusalDetail};
use tidelog_metadata_api::{
    BatchCondition, BatchPosition, Decision, FencingToken, OrderKey, ShardCommit, TransactionMarker,
};
use tidelog_types::{ErrorCode, Offset, TopicPartition};

use crate::manifests::{accepted, duplicate, out_of_order, refused, wrong_offset};
use crate::transactions::INVALID;
use crate::world::Run;

/// A batch that an idempotent producer had accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) sequence: i32,
    pub(crate) count: u32,
    offset: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Producer {
    pub(crate) epoch: i16,
    pub(crate) kept: Vec<Kept>,
    /// The highest transaction that has ended.
    pub(crate) ended: u64,
    /// Where the open one begins, and which one it is.
    pub(crate) open: Option<(u64, u64)>,
}

impl Producer {
    pub(crate) fn next(&self) -> i32 {
        let last = self.kept.last();
        last.map_or(0, |kept| kept.sequence + kept.count.cast_signed())
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Partition {
    pub(crate) next: u64,
    pub(crate) log_start: u64,
    pub(crate) token: FencingToken,
    pub(crate) runs: Vec<Run>,
    pub(crate) producers: BTreeMap<i64, Producer>,
    /// Every transaction that was ever aborted: whose, its first offset, that of its marker.
    pub(crate) aborted: Vec<(i64, u64, u64)>,
}

/// All state.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    pub(crate) partitions: BTreeMap<TopicPartition, Partition>,
    pub(crate) receipts: BTreeMap<u64, Vec<Outcome>>,
    pub(crate) floor: u64,
    broken: HashMap<(OrderKey, TopicPartition), Outcome>,
}

impl Judge {
    /// The outcomes of a commit; `None` below the floor.
    pub(crate) fn commit(&mut self, commit: &ShardCommit) -> Option<Vec<Outcome>> {
        let sequence = commit.manifest.segment.sequence.get();
        if let Some(outcomes) = self.receipts.get(&sequence) {
            return Some(outcomes.clone());
        }
        if sequence < self.floor {
            return None;
        }
        let mut outcomes = Vec::new();
        for (slice, entry) in (0..).zip(&commit.manifest.slices) {
            let mut position = entry.position;
            let mut is_run = false;
            for (batch, described) in (0..).zip(&entry.batches) {
                let at = BatchPosition { slice, batch };
                let outcome = self.batch(commit, at, entry.partition, described);
                let base = match outcome {
                    Outcome::Accepted { base_offset } => Some(base_offset.get()),
                    _ => None,
                };
                if let Some(base) = base {
                    let run = Run {
                        base,
                        next: base + u64::from(described.record_count),
                        sequence,
                        position,
                        length: described.length,
                    };
                    self.extend(entry.partition, run, is_run);
                }
                is_run = base.is_some();
                position += described.length;
                outcomes.push(outcome);
            }
        }
        self.receipts.insert(sequence, outcomes.clone());
        Some(outcomes)
    }

    fn extend(&mut self, partition: TopicPartition, run: Run, joins: bool) {
        let runs = &mut self.partitions.entry(partition).or_default().runs;
        match runs.last_mut() {
            Some(last) if joins => {
                last.next = run.next;
                last.length += run.length;
            }
            _ => runs.push(run),
        }
    }

    fn batch(
        &mut self,
        commit: &ShardCommit,
        at: BatchPosition,
        partition: TopicPartition,
        batch: &BatchEntry,
    ) -> Outcome {
        let of = |(position, _): &&(BatchPosition, OrderKey)| *position == at;
        let order = commit.orders.iter().find(of).map(|(_, key)| *key);
        let key = order.map(|order| (order, partition));
        let outcome = if commit.dropped.contains(&at) {
            refused(ErrorCode::Unavailable, RefusalDetail::None)
        } else if let Some(reason) = key.and_then(|key| self.broken.get(&key)) {
            reason.clone()
        } else {
            let of = |(position, _): &&(BatchPosition, BatchCondition)| *position == at;
            let condition = commit.conditions.iter().find(of).map(|(_, asked)| asked);
            let partition = self.partitions.entry(partition).or_default();
            partition.append(batch, condition)
        };
        if let (Outcome::Refused { .. }, Some(key)) = (&outcome, key) {
            self.broken.entry(key).or_insert_with(|| outcome.clone());
        }
        outcome
    }

    pub(crate) fn end(&mut self, marker: &TransactionMarker) {
        let partition = self.partitions.entry(marker.partition).or_default();
        let (id, epoch) = (marker.producer.id.get(), marker.producer.epoch.get());
        let number = marker.number.expect("every marker here has one").0;
        let known = partition.producers.get(&id);
        let open = known.and_then(|known| known.open);
        let is_done = known.is_some_and(|known| number <= known.ended);
        if is_done || open.is_some_and(|(_, open)| number < open) {
            return;
        }
        let offset = partition.next;
        partition.next += 1;
        let run = Run::marker(offset, id, marker.decision);
        partition.runs.push(run);
        if let (Some((first, _)), Decision::Abort) = (open, marker.decision) {
            partition.aborted.push((id, first, offset));
        }
        let producer = partition.producers.entry(id).or_insert(Producer {
            epoch,
            ..Producer::default()
        });
        if epoch > producer.epoch {
            producer.epoch = epoch;
            producer.kept.clear();
        }
        producer.open = None;
        producer.ended = number;
    }

    pub(crate) fn delete_records(&mut self, partition: TopicPartition, before: u64) {
        let partition = self.partitions.entry(partition).or_default();
        partition.log_start = partition.log_start.max(before.min(partition.next));
    }

    pub(crate) fn set_token(&mut self, partition: TopicPartition, token: FencingToken) {
        self.partitions.entry(partition).or_default().token = token;
    }
}

impl Partition {
    /// Where the oldest open transaction begins, or the end.
    pub(crate) fn last_stable(&self) -> u64 {
        let open = self.producers.values().filter_map(|known| known.open);
        let first = open.map(|(first, _)| first).min();
        first.unwrap_or(self.next).max(self.log_start)
    }

    pub(crate) fn aborted_below(&self) -> u64 {
        self.aborted.last().map_or(0, |(.., marker)| marker + 1)
    }

    /// Whether a batch of this producer may be taken with this number, and begins a transaction then.
    fn part(&self, batch: &BatchEntry, number: Option<u64>) -> Option<bool> {
        let known = self.producers.get(&batch.producer_id.get());
        let open = known.and_then(|known| known.open);
        match (batch.transactional, number, open) {
            (false, None, None) => Some(false),
            (true, Some(number), Some((_, open))) => {
                let epoch = known.map(|known| known.epoch);
                let is_same = open == number && epoch == Some(batch.producer_epoch.get());
                is_same.then_some(false)
            }
            (true, Some(number), None) => {
                let ended = known.map_or(0, |known| known.ended);
                (number > ended && batch.producer_id.get() >= 0).then_some(true)
            }
            _ => None,
        }
    }

    fn append(&mut self, batch: &BatchEntry, condition: Option<&BatchCondition>) -> Outcome {
        let id = batch.producer_id.get();
        let verdict = (id >= 0).then(|| self.verdict(batch)).flatten();
        let is_first = |it: &Outcome| match it {
            Outcome::Refused { code, .. } => *code == ErrorCode::ProducerFenced,
            other => matches!(other, Outcome::Duplicate { .. }),
        };
        if let Some(verdict) = verdict.clone().filter(is_first) {
            return verdict;
        }
        let number = condition.and_then(|asked| asked.transaction).map(|it| it.0);
        let Some(begins) = self.part(batch, number) else {
            return INVALID;
        };
        if let Some(verdict) = verdict {
            return verdict;
        }
        if let Some(asked) = condition {
            if asked
                .fencing_token
                .as_ref()
                .is_some_and(|asked| *asked != self.token)
            {
                let actual = RefusalDetail::FencingToken(self.token.as_bytes().clone());
                return refused(ErrorCode::FencingTokenMismatch, actual);
            }
            if asked
                .expected_next
                .is_some_and(|asked| asked != Offset::new(self.next))
            {
                return wrong_offset(self.next);
            }
            if let Some(token) = &asked.set_fencing_token {
                self.token = token.clone();
            }
        }
        let offset = self.next;
        self.next += u64::from(batch.record_count);
        if id >= 0 {
            let epoch = batch.producer_epoch.get();
            let producer = self.producers.entry(id).or_default();
            if producer.epoch != epoch {
                producer.epoch = epoch;
                producer.kept.clear();
            }
            if begins {
                producer.open = number.map(|number| (offset, number));
            }
            producer.kept.push(Kept {
                sequence: batch.base_sequence,
                count: batch.record_count,
                offset,
            });
            if producer.kept.len() > 5 {
                producer.kept.remove(0);
            }
        }
        accepted(offset)
    }

    /// Why a producer's batch is not taken, if it is not.
    fn verdict(&self, batch: &BatchEntry) -> Option<Outcome> {
        let (epoch, sequence) = (batch.producer_epoch.get(), batch.base_sequence);
        let Some(known) = self.producers.get(&batch.producer_id.get()) else {
            let unknown = refused(ErrorCode::UnknownProducer, RefusalDetail::None);
            return (sequence != 0).then_some(unknown);
        };
        if epoch < known.epoch {
            let current = tidelog_types::ProducerEpoch::new(known.epoch);
            let detail = RefusalDetail::ProducerEpoch(current);
            return Some(refused(ErrorCode::ProducerFenced, detail));
        }
        if epoch > known.epoch {
            return (sequence != 0).then(|| out_of_order(0));
        }
        let same = |kept: &&Kept| kept.sequence == sequence && kept.count == batch.record_count;
        match known.kept.iter().find(same) {
            Some(kept) => Some(duplicate(kept.offset)),
            None => (sequence != known.next()).then(|| out_of_order(known.next())),
        }
    }
}

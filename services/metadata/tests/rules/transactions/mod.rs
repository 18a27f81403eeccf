//! Transactions in partitions: which batches are taken, what markers end, what readers are told, and that all of it
//! outlives restarts, checkpoints, memory and backups.

mod batches;
mod bounds;
mod durable;
mod kept;
mod markers;
mod rows;

pub(crate) use kept::{kept, serves_what_was_kept};
use tidelog_format::manifest::{BatchEntry, Outcome, RefusalDetail};
use tidelog_metadata_api::{
    AbortedTransaction, BatchCondition, Decision, Log as _, LogError, ProducerIdentity,
    ShardCommit, TransactionMarker, TransactionNumber,
};
use tidelog_types::{ErrorCode, Offset, OffsetRange, ProducerEpoch, ProducerId, TopicPartition};

use crate::manifests::{at_epoch, only, refused, segment};
use crate::world::{Process, partition};

/// A batch that may not be part of its transaction.
pub(crate) const INVALID: Outcome = refused(ErrorCode::InvalidTransaction, RefusalDetail::None);

/// A batch of a transaction.
pub(crate) fn inside(producer: i64, epoch: i16, sequence: i32, records: u32) -> BatchEntry {
    BatchEntry {
        transactional: true,
        ..at_epoch(producer, epoch, sequence, records)
    }
}

/// Says which transaction a batch is of.
pub(crate) fn of(number: u64) -> BatchCondition {
    BatchCondition {
        transaction: Some(TransactionNumber(number)),
        ..BatchCondition::default()
    }
}

/// A manifest of one batch of a transaction.
pub(crate) fn part(
    sequence: u64,
    partition: TopicPartition,
    batch: BatchEntry,
    number: u64,
) -> ShardCommit {
    let draft = segment(sequence).slice(partition, &[batch]);
    draft.condition(0, 0, of(number)).done()
}

/// The end of a transaction at epoch 0, as its coordinator says it.
pub(crate) fn end(
    partition: TopicPartition,
    producer: i64,
    number: u64,
    decision: Decision,
) -> TransactionMarker {
    TransactionMarker {
        partition,
        producer: ProducerIdentity::new(ProducerId::new(producer), ProducerEpoch::new(0)),
        number: Some(TransactionNumber(number)),
        coordinator_epoch: 5,
        decision,
    }
}

pub(crate) fn abort(partition: TopicPartition, producer: i64, number: u64) -> TransactionMarker {
    end(partition, producer, number, Decision::Abort)
}

pub(crate) fn commit(partition: TopicPartition, producer: i64, number: u64) -> TransactionMarker {
    end(partition, producer, number, Decision::Commit)
}

pub(crate) fn with_epoch(marker: TransactionMarker, epoch: i16) -> TransactionMarker {
    let producer = ProducerIdentity::new(marker.producer.id, ProducerEpoch::new(epoch));
    TransactionMarker { producer, ..marker }
}

/// Log start, last stable offset, high watermark, and below which something was aborted.
type Bounds = (u64, u64, u64, u64);

/// Sends batches of one partition, each in a segment of its own.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    segments: u64,
}

impl Sender {
    pub(crate) fn new(segments: u64) -> Self {
        Self { segments }
    }

    /// Sends a batch, with the number of its transaction if it has one.
    pub(crate) async fn send(
        &mut self,
        process: &Process,
        index: u32,
        batch: BatchEntry,
        number: Option<u64>,
    ) -> Outcome {
        self.segments += 1;
        let mut draft = segment(self.segments).slice(partition(index), &[batch]);
        if let Some(number) = number {
            draft = draft.condition(0, 0, of(number));
        }
        only(&process.send_until_answered(&draft.done()).await)
    }
}

impl Process {
    pub(crate) async fn end(&self, marker: TransactionMarker) -> Result<(), LogError> {
        let mut outcomes = self.service.end_transactions(vec![marker]).await;
        assert_eq!(outcomes.len(), 1, "one outcome for one marker");
        outcomes.pop().expect("one outcome")
    }

    pub(crate) async fn all_bounds(&self, index: u32) -> Bounds {
        let bounds = self.bounds_of(partition(index)).await;
        (
            bounds.log_start.get(),
            bounds.last_stable.get(),
            bounds.high_watermark.get(),
            bounds.aborted_below.get(),
        )
    }

    /// What was aborted in a range: producer, first and last offset.
    pub(crate) async fn aborted_in(
        &self,
        index: u32,
        base: u64,
        next: u64,
    ) -> Vec<(i64, u64, u64)> {
        let offsets = OffsetRange {
            base: Offset::new(base),
            next: Offset::new(next),
        };
        let aborted = self.service.aborted(partition(index), offsets).await;
        let short = |it: &AbortedTransaction| (it.producer.get(), it.first.get(), it.last.get());
        aborted
            .expect("the store answers")
            .iter()
            .map(short)
            .collect()
    }
}

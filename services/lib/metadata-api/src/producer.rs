//! Producers, and what partitions know of them and their transactions.

use std::fmt;

pub use tidelog_format::marker::Decision;
use tidelog_format::marker::EndMarker;
use tidelog_types::{Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition};

/// Markers of one shard that end a transaction for its readers at once. More of them are written in several groups.
pub const MARKERS_MAX: usize = 1_000;

/// Producers of a partition that are shown at once.
pub const PRODUCERS_SHOWN_MAX: usize = 20_000;

/// An idempotent producer: its id and its epoch. Of two with the same id the one with the lower epoch is fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerIdentity {
    /// Its id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

impl ProducerIdentity {
    /// A producer of an epoch.
    pub const fn new(id: ProducerId, epoch: ProducerEpoch) -> Self {
        Self { id, epoch }
    }
}

impl fmt::Display for ProducerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.id, self.epoch)
    }
}

/// Counts the transactions of a producer id from 1 on. It never goes back and no two have the same, so that a
/// partition or a group knows what comes too late: a batch or an offset of a transaction that has ended there, or a
/// second word of its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionNumber(pub u64);

impl fmt::Display for TransactionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Tells a partition how a transaction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionMarker {
    /// The partition.
    pub partition: TopicPartition,
    /// The producer; earlier epochs are fenced from then on.
    pub producer: ProducerIdentity,
    /// Which transaction; none, from an operator, for whichever is open.
    pub number: Option<TransactionNumber>,
    /// The epoch of the coordinator that has decided.
    pub coordinator_epoch: i32,
    /// How it has ended.
    pub decision: Decision,
}

impl TransactionMarker {
    /// What the partition keeps of it, as its location and for its readers.
    pub const fn end_marker(&self) -> EndMarker {
        EndMarker {
            producer_id: self.producer.id,
            producer_epoch: self.producer.epoch,
            coordinator_epoch: self.coordinator_epoch,
            decision: self.decision,
        }
    }
}

/// An aborted transaction in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AbortedTransaction {
    /// Whose.
    pub producer: ProducerId,
    /// The offset of its first record.
    pub first: Offset,
    /// The offset of its marker.
    pub last: Offset,
}

/// A producer as a partition knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Who.
    pub producer: ProducerIdentity,
    /// The last sequence that was accepted in this epoch, if one was.
    pub last_sequence: Option<i32>,
    /// When something of it was last committed.
    pub last_used: Timestamp,
    /// The epoch of the coordinator that has written the last marker, if one has.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins, if it has one.
    pub open_from: Option<Offset>,
}

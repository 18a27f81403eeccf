//! What a caller hands in and what it hears.

use std::sync::Arc;

use thiserror::Error;
use tidelog_format::batch::BatchBuf;
use tidelog_format::manifest::RefusalDetail;
use tidelog_metadata_api::{BatchCondition, OrderKey, ReadToken, TopicInfo};
use tidelog_types::{ErrorCode, Offset, PartitionIndex, ProducerId, Timestamp, TopicPartition};
use tokio::sync::oneshot;

use crate::classes::Lane;
use crate::memory::MemoryHold;

/// One batch to append.
#[derive(Debug)]
pub struct Append {
    /// The topic.
    pub topic: Arc<TopicInfo>,
    /// The partition.
    pub partition: PartitionIndex,
    /// The batch, checked.
    pub batch: BatchBuf,
    /// What must hold, and what is set.
    pub condition: BatchCondition,
    /// Given by a caller that wants what it sends behind a failed batch to fail as well.
    pub order: Option<OrderKey>,
}

/// A batch that has its place in the log, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset after its last record.
    pub next_offset: Offset,
    /// Whether it had been appended before, and this is where.
    pub duplicate: bool,
    /// The time that the broker gave its records, if the topic wants that.
    pub log_append_time: Option<Timestamp>,
    /// A read with this token sees it.
    pub token: ReadToken,
}

/// Why a batch was not appended, or is not known to be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// No such partition, or its topic is deleted.
    #[error("no such partition")]
    NoPartition(ErrorCode),
    /// The sequencer has refused the batch; it is not in the log.
    #[error("refused: {code}")]
    Refused {
        /// Why.
        code: ErrorCode,
        /// The values that hold.
        detail: RefusalDetail,
    },
    /// The topic names a storage class that this process does not know; the batch is not in the log.
    #[error(
        "the topic's storage class `{0}` is not among `storage.classes` of this broker's settings"
    )]
    NoStorageClass(String),
    /// The batch was not stored, or one that it depends on was not; it is not in the log.
    #[error("not stored: {reason}")]
    NotStored {
        /// Why, for the caller's log.
        reason: String,
    },
    /// This broker is going away and takes nothing new; the batch is not in the log.
    #[error("this broker is shutting down")]
    ShuttingDown,
    /// It is not known whether the batch is in the log.
    #[error("the outcome is not known: {reason}")]
    Unknown {
        /// Why, for the caller's log.
        reason: String,
    },
}

impl AppendError {
    /// A refusal without details.
    pub(super) const fn refused(code: ErrorCode) -> Self {
        let detail = RefusalDetail::None;
        Self::Refused { code, detail }
    }

    /// The code for callers.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NoPartition(code) | Self::Refused { code, .. } => *code,
            Self::NoStorageClass(_) => ErrorCode::InvalidConfig,
            Self::NotStored { .. } | Self::ShuttingDown | Self::Unknown { .. } => {
                ErrorCode::Unavailable
            }
        }
    }

    /// Whether the batch may be in the log all the same.
    pub const fn may_have_happened(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}

/// Batches with the same key keep their order: their commits are sent in the order of their segments,
/// and a batch fails when one before it was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sender {
    Producer(ProducerId),
    Order(OrderKey),
}

/// The key of one sender in one partition.
pub(super) type OrderedBy = (Sender, TopicPartition);

/// A batch in a segment, without its bytes' place.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) append: Append,
    pub(super) partition: TopicPartition,
    /// Which open segment it joins.
    pub(super) lane: Lane,
    pub(super) log_append_time: Option<Timestamp>,
    /// `None` once it was answered.
    pub(super) reply: Option<oneshot::Sender<Result<Appended, AppendError>>>,
    pub(super) _hold: Arc<MemoryHold>,
}

impl Entry {
    /// Who wants order for this batch.
    pub(super) fn senders(&self) -> impl Iterator<Item = OrderedBy> + use<> {
        let producer = self.append.batch.header().producer_id;
        let producer = producer
            .is_idempotent()
            .then_some(Sender::Producer(producer));
        let order = self.append.order.map(Sender::Order);
        let partition = self.partition;
        producer
            .into_iter()
            .chain(order)
            .map(move |sender| (sender, partition))
    }

    /// Answers the caller, once. One that has gone does not matter.
    pub(super) fn answer(&mut self, answer: Result<Appended, AppendError>) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(answer);
        }
    }

    /// Whether the entry was answered with an error already, and is to be left out.
    pub(super) const fn is_answered(&self) -> bool {
        self.reply.is_none()
    }
}

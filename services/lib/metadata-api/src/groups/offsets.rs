//! Committed offsets.

use tidelog_types::{Offset, Timestamp, TopicPartition};

use super::{GroupName, GroupsError};
use crate::{Decision, ProducerIdentity, TransactionNumber};

/// Longest text that a committed offset carries, in bytes; Kafka's `offset.metadata.max.bytes`.
pub const OFFSET_METADATA_BYTES_MAX: usize = 4_096;

/// An offset that a group has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOffset {
    /// The offset of the next record to read.
    pub offset: Offset,
    /// The leader epoch of the last record read, if the member said so.
    pub leader_epoch: Option<i32>,
    /// Whatever the member wrote beside it, at most [`OFFSET_METADATA_BYTES_MAX`] bytes.
    pub metadata: String,
}

/// A committed offset as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// What was committed.
    pub offset: GroupOffset,
    /// When.
    pub committed_at: Timestamp,
}

/// Who commits offsets, so that one who is out cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittingMember {
    /// The member. Empty with a negative epoch for one who assigns partitions to itself.
    pub member_id: String,
    /// Its instance id, if it is a static one.
    pub instance: Option<String>,
    /// The generation (classic) or the member's epoch (consumer protocol). Negative for one who assigns partitions
    /// to itself, or an operator: the group must have no members then.
    pub epoch: i32,
}

impl CommittingMember {
    /// One who is no member.
    pub const fn nobody() -> Self {
        Self {
            member_id: String::new(),
            instance: None,
            epoch: -1,
        }
    }
}

/// Commits offsets. All that can be are committed; each partition has its own answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOffsets {
    /// The group. Somebody who is no member creates it, if it does not exist.
    pub group: GroupName,
    /// Who commits.
    pub member: CommittingMember,
    /// The offsets. Whether the partitions exist is for the caller to know.
    pub offsets: Vec<(TopicPartition, GroupOffset)>,
    /// The transaction that they are part of, if they are part of one: they wait for its end then, and are what the
    /// group has reached if it commits. The group must take part in it (see
    /// [`Transactions::add`](crate::Transactions::add)).
    pub transaction: Option<OpenTransaction>,
}

/// An open transaction of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpenTransaction {
    /// Whose.
    pub producer: ProducerIdentity,
    /// Which.
    pub number: TransactionNumber,
}

/// Tells a group how a transaction has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndGroupTransaction {
    /// The group.
    pub group: GroupName,
    /// The producer; earlier epochs are fenced from then on.
    pub producer: ProducerIdentity,
    /// Which transaction.
    pub number: TransactionNumber,
    /// How it has ended.
    pub decision: Decision,
}

/// Asks for committed offsets of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOffsets {
    /// The group.
    pub group: GroupName,
    /// A member of the consumer protocol and its epoch, if it says so: it is checked then.
    pub member: Option<(String, i32)>,
    /// The partitions; `None` for all that have an offset.
    pub partitions: Option<Vec<TopicPartition>>,
    /// Whether partitions of which an open transaction may change the offset are an error
    /// ([`GroupsError::UnstableOffset`]).
    pub only_stable: bool,
}

/// What is known of the offset of a partition: nothing for one without an offset, and
/// [`GroupsError::UnstableOffset`] for one that an open transaction may change, if that was asked.
pub type FetchedOffset = Result<Option<CommittedOffset>, GroupsError>;

/// The answer to a [`FetchOffsets`]: partitions in the order asked for, or by number those that have an offset. A group
/// that does not exist has no offsets. Linearizable (rule C9).
pub type FetchedOffsets = Result<Vec<(TopicPartition, FetchedOffset)>, GroupsError>;

/// Deletes committed offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOffsets {
    /// The group.
    pub group: GroupName,
    /// The partitions.
    pub partitions: Vec<TopicPartition>,
}

//! Why a request to a group was not done.

use thiserror::Error;
use tidelog_types::ErrorCode;

/// Why a request to a group, or the part of one that concerns one member or partition, was not done. Kafka has an
/// error code for each, which its front end names.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GroupsError {
    /// The group's coordinator is being taken over, or reads the group: ask again in a moment. Nothing happened.
    #[error("the coordinator of the group is loading: try again")]
    Loading,
    /// The process asked does not coordinate the group, or does no more: what was under way the new owner knows, and
    /// asking it again is safe. A router does so.
    #[error("this process does not coordinate the group")]
    NotCoordinator,
    /// The coordinator cannot answer now. Nothing happened: ask again.
    #[error("the coordinator of the group is not available: {reason}")]
    Unavailable {
        /// Why, for the log.
        reason: String,
    },
    /// What was asked for may or may not have happened. Asking again is safe for all requests: they say what shall
    /// be, not what shall change. But who asks for a second time may be refused since it was done the first time: so a
    /// router leaves it to who has asked, where that makes a difference.
    #[error("the outcome is not known; asking again is safe")]
    Unknown,
    /// The request breaks a rule.
    #[error("the request is not allowed: {reason}")]
    InvalidRequest {
        /// Which rule.
        reason: String,
    },
    /// There is no such group, or it is of the other protocol and has members.
    #[error("there is no such group")]
    GroupNotFound,
    /// The group has no such member: it never joined, was removed, or the group is gone.
    #[error("the group has no such member: join again without a member id")]
    UnknownMember,
    /// The member speaks of another generation than the group's.
    #[error("the generation is not the group's: join again")]
    IllegalGeneration,
    /// The group is between two generations.
    #[error("the group is being rebalanced: join again")]
    RebalanceInProgress,
    /// Another process has joined under the same instance id since.
    #[error("another process has joined with this instance id")]
    FencedInstance,
    /// Another member with this instance id is at work (KIP-848 only).
    #[error("another member with this instance id is at work")]
    UnreleasedInstance,
    /// The member names no protocol that all others have, or the group is of another type of protocol.
    #[error("the member has no protocol that all members of the group have")]
    InconsistentProtocol,
    /// The member must join again under this id, so that one whose answer is lost leaves no trace.
    #[error("join again with the member id `{0}`")]
    MemberIdRequired(String),
    /// The group has as many members as it may have.
    #[error("the group has as many members as it may have")]
    GroupFull,
    /// The session timeout is outside of what is allowed.
    #[error("the session timeout is outside of what is allowed")]
    InvalidSessionTimeout,
    /// The member speaks of an epoch that is not its own: it gives all partitions up and joins again.
    #[error("the epoch is not the member's: give all partitions up and join again")]
    FencedEpoch,
    /// The member commits or fetches for an epoch that is not its own any more; it hears of the next one with its
    /// next heartbeat.
    #[error("the epoch is not the member's any more: try again after the next heartbeat")]
    StaleEpoch,
    /// The member asks for an assignor that there is not.
    #[error("there is no assignor `{0}`; those that there are: uniform, range")]
    UnsupportedAssignor(String),
    /// The pattern of a subscription is none.
    #[error("the pattern is not valid: {reason}")]
    InvalidPattern {
        /// What is wrong with it.
        reason: String,
    },
    /// The group has members.
    #[error("the group has members")]
    NotEmpty,
    /// A member of the group reads the topic whose offsets shall go.
    #[error("a member of the group is subscribed to the topic")]
    SubscribedToTopic,
    /// An open transaction may change the offset.
    #[error("an open transaction may change the offset: try again when it has ended")]
    UnstableOffset,
    /// A newer epoch of the producer is known to the group.
    #[error("a newer producer has this producer id")]
    FencedProducer,
    /// The transaction that the offsets are part of has ended for the group.
    #[error("the transaction has ended")]
    TransactionEnded,
    /// The text that a committed offset carries is too long.
    #[error("the metadata of the offset has more than `{max}` bytes")]
    OffsetMetadataTooLarge {
        /// The most that is taken.
        max: usize,
    },
    /// What a member says of itself, or is to do, is more than the coordinator stores.
    #[error("the group's state would be larger than is stored: {reason}")]
    TooLarge {
        /// What is too large.
        reason: String,
    },
    /// Stored state of the group cannot be read.
    #[error("stored state of the group is damaged: {reason}")]
    Corrupt {
        /// Which row, and how.
        reason: String,
    },
}

impl GroupsError {
    /// Whether the same request may be made again without a change.
    pub const fn is_retriable(&self) -> bool {
        matches!(
            self,
            Self::Loading
                | Self::NotCoordinator
                | Self::Unavailable { .. }
                | Self::Unknown
                | Self::UnstableOffset
        )
    }

    /// Whether a member that hears it is none any more, or does not become one, so that it must be so.
    pub const fn ends_membership(&self) -> bool {
        matches!(
            self,
            Self::UnknownMember
                | Self::IllegalGeneration
                | Self::FencedInstance
                | Self::UnreleasedInstance
                | Self::FencedEpoch
                | Self::GroupNotFound
        )
    }

    /// The code for callers that know no more than the codes of the log.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Loading
            | Self::NotCoordinator
            | Self::Unavailable { .. }
            | Self::Unknown
            | Self::UnstableOffset => ErrorCode::Unavailable,
            Self::GroupFull => ErrorCode::ResourceExhausted,
            Self::TooLarge { .. } => ErrorCode::RequestTooLarge,
            Self::FencedProducer => ErrorCode::ProducerFenced,
            Self::TransactionEnded => ErrorCode::InvalidTransaction,
            Self::FencedInstance
            | Self::UnreleasedInstance
            | Self::FencedEpoch
            | Self::StaleEpoch
            | Self::IllegalGeneration
            | Self::UnknownMember
            | Self::RebalanceInProgress => ErrorCode::Fenced,
            Self::InvalidRequest { .. }
            | Self::GroupNotFound
            | Self::InconsistentProtocol
            | Self::MemberIdRequired(_)
            | Self::InvalidSessionTimeout
            | Self::UnsupportedAssignor(_)
            | Self::InvalidPattern { .. }
            | Self::NotEmpty
            | Self::SubscribedToTopic
            | Self::OffsetMetadataTooLarge { .. } => ErrorCode::InvalidArgument,
            Self::Corrupt { .. } => ErrorCode::DataLoss,
        }
    }
}

//! Why a request of a member is not done.

use thiserror::Error;

/// Why a request of a member is not done. Kafka has an error code for each, which the front end names.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GroupError {
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
    /// The member names no protocol that all others have, or another type of protocol.
    #[error("the member has no protocol that all members of the group have")]
    InconsistentProtocol,
    /// A member must know its id before it joins, so that one whose answer is lost leaves no trace.
    #[error("join again with the member id `{0}`")]
    MemberIdRequired(String),
    /// The group has as many members as it may have.
    #[error("the group has as many members as it may have")]
    GroupFull,
    /// The session timeout is outside of what is allowed.
    #[error("the session timeout is outside of what is allowed")]
    InvalidSessionTimeout,
    /// The member speaks of an epoch that is not its own, so it does not hold what it believes it holds.
    #[error("the epoch is not the member's: give all partitions up and join again")]
    FencedEpoch,
    /// The member commits for an epoch that is not its own; it will hear of the next one.
    #[error("the epoch is not the member's any more: try again after the next heartbeat")]
    StaleEpoch,
    /// Another member with this instance id is at work.
    #[error("another member with this instance id is at work")]
    UnreleasedInstance,
    /// A member joins again under another instance id, or under none.
    #[error("a member keeps its instance id for as long as it has its member id")]
    InstanceChanged,
    /// The group has members.
    #[error("the group has members")]
    NotEmpty,
}

//! From the coordinators' errors to Kafka's.

use tidelog_env::error_chain;
use tidelog_kafka_codec::ErrorCode;
use tidelog_metadata_api::GroupsError;

use crate::errors::Refusal;

/// Kafka's code for each error of a coordinator.
pub(super) const fn group_code(error: &GroupsError) -> ErrorCode {
    match error {
        GroupsError::Loading => ErrorCode::CoordinatorLoadInProgress,
        GroupsError::NotCoordinator => ErrorCode::NotCoordinator,
        GroupsError::InvalidRequest { .. } => ErrorCode::InvalidRequest,
        GroupsError::GroupNotFound => ErrorCode::GroupIdNotFound,
        GroupsError::UnknownMember => ErrorCode::UnknownMemberId,
        GroupsError::IllegalGeneration => ErrorCode::IllegalGeneration,
        GroupsError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        GroupsError::FencedInstance => ErrorCode::FencedInstanceId,
        GroupsError::UnreleasedInstance => ErrorCode::UnreleasedInstanceId,
        GroupsError::InconsistentProtocol => ErrorCode::InconsistentGroupProtocol,
        GroupsError::MemberIdRequired(_) => ErrorCode::MemberIdRequired,
        GroupsError::GroupFull => ErrorCode::GroupMaxSizeReached,
        GroupsError::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
        GroupsError::FencedEpoch => ErrorCode::FencedMemberEpoch,
        GroupsError::StaleEpoch => ErrorCode::StaleMemberEpoch,
        GroupsError::UnsupportedAssignor(_) => ErrorCode::UnsupportedAssignor,
        GroupsError::InvalidPattern { .. } => ErrorCode::InvalidRegularExpression,
        GroupsError::NotEmpty => ErrorCode::NonEmptyGroup,
        GroupsError::SubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
        GroupsError::UnstableOffset => ErrorCode::UnstableOffsetCommit,
        GroupsError::FencedProducer => ErrorCode::InvalidProducerEpoch,
        GroupsError::TransactionEnded => ErrorCode::InvalidTxnState,
        GroupsError::OffsetMetadataTooLarge { .. } => ErrorCode::OffsetMetadataTooLarge,
        // Kafka has no word for either that a member would understand.
        GroupsError::TooLarge { .. } | GroupsError::Corrupt { .. } => ErrorCode::UnknownServerError,
        // Also what a later version of the coordinator may say: clients look for it again.
        _ => ErrorCode::CoordinatorNotAvailable,
    }
}

/// The same for requests that members of the classic protocol send about themselves. They know a group that is
/// not there only as one that does not know them.
pub(super) const fn member_code(error: &GroupsError) -> ErrorCode {
    match error {
        GroupsError::GroupNotFound => ErrorCode::UnknownMemberId,
        other => group_code(other),
    }
}

impl From<&GroupsError> for Refusal {
    fn from(error: &GroupsError) -> Self {
        Self::new(group_code(error), error_chain(error))
    }
}

/// What a client hears of a topic that could not be looked up for the moment, in an answer about offsets: all
/// clients try again after this code, and some give up after others.
pub(super) fn while_loading(refusal: Refusal) -> Refusal {
    let passes = matches!(
        refusal.code,
        ErrorCode::RequestTimedOut | ErrorCode::NotController | ErrorCode::NotLeaderOrFollower
    );
    if passes {
        Refusal::new(ErrorCode::CoordinatorLoadInProgress, refusal.message)
    } else {
        refusal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason() -> String {
        "why".to_owned()
    }

    fn every_error() -> Vec<(GroupsError, &'static str)> {
        vec![
            (GroupsError::Loading, "COORDINATOR_LOAD_IN_PROGRESS"),
            (GroupsError::NotCoordinator, "NOT_COORDINATOR"),
            (
                GroupsError::Unavailable { reason: reason() },
                "COORDINATOR_NOT_AVAILABLE",
            ),
            (GroupsError::Unknown, "COORDINATOR_NOT_AVAILABLE"),
            (
                GroupsError::InvalidRequest { reason: reason() },
                "INVALID_REQUEST",
            ),
            (GroupsError::GroupNotFound, "GROUP_ID_NOT_FOUND"),
            (GroupsError::UnknownMember, "UNKNOWN_MEMBER_ID"),
            (GroupsError::IllegalGeneration, "ILLEGAL_GENERATION"),
            (GroupsError::RebalanceInProgress, "REBALANCE_IN_PROGRESS"),
            (GroupsError::FencedInstance, "FENCED_INSTANCE_ID"),
            (GroupsError::UnreleasedInstance, "UNRELEASED_INSTANCE_ID"),
            (
                GroupsError::InconsistentProtocol,
                "INCONSISTENT_GROUP_PROTOCOL",
            ),
            (
                GroupsError::MemberIdRequired(reason()),
                "MEMBER_ID_REQUIRED",
            ),
            (GroupsError::GroupFull, "GROUP_MAX_SIZE_REACHED"),
            (
                GroupsError::InvalidSessionTimeout,
                "INVALID_SESSION_TIMEOUT",
            ),
            (GroupsError::FencedEpoch, "FENCED_MEMBER_EPOCH"),
            (GroupsError::StaleEpoch, "STALE_MEMBER_EPOCH"),
            (
                GroupsError::UnsupportedAssignor(reason()),
                "UNSUPPORTED_ASSIGNOR",
            ),
            (
                GroupsError::InvalidPattern { reason: reason() },
                "INVALID_REGULAR_EXPRESSION",
            ),
            (GroupsError::NotEmpty, "NON_EMPTY_GROUP"),
            (GroupsError::SubscribedToTopic, "GROUP_SUBSCRIBED_TO_TOPIC"),
            (GroupsError::UnstableOffset, "UNSTABLE_OFFSET_COMMIT"),
            (GroupsError::FencedProducer, "INVALID_PRODUCER_EPOCH"),
            (GroupsError::TransactionEnded, "INVALID_TXN_STATE"),
            (
                GroupsError::OffsetMetadataTooLarge { max: 1 },
                "OFFSET_METADATA_TOO_LARGE",
            ),
            (
                GroupsError::TooLarge { reason: reason() },
                "UNKNOWN_SERVER_ERROR",
            ),
            (
                GroupsError::Corrupt { reason: reason() },
                "UNKNOWN_SERVER_ERROR",
            ),
        ]
    }

    #[test]
    fn every_error_has_the_code_that_kafka_has_for_it() {
        for (error, name) in every_error() {
            assert_eq!(group_code(&error).name(), name, "{error}");
            assert_eq!(
                group_code(&error).is_retriable(),
                error.is_retriable(),
                "{error}"
            );
            let of_members = match error {
                GroupsError::GroupNotFound => "UNKNOWN_MEMBER_ID",
                _ => name,
            };
            assert_eq!(member_code(&error).name(), of_members);
        }
    }

    #[test]
    fn a_lookup_that_may_succeed_in_a_moment_makes_nobody_give_up() {
        for code in [ErrorCode::RequestTimedOut, ErrorCode::NotController] {
            let refusal = while_loading(Refusal::new(code, "later"));
            assert_eq!(refusal.code, ErrorCode::CoordinatorLoadInProgress);
        }
        let gone = Refusal::new(ErrorCode::UnknownTopicId, "gone");
        assert_eq!(while_loading(gone.clone()), gone);
    }
}

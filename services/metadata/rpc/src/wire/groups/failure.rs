//! Errors of groups, without loss but for very long texts.

use tidelog_api::internal::v1;
use tidelog_metadata_api::GroupsError;

use crate::wire::shortened;

pub(crate) fn group_failure_to(error: &GroupsError) -> v1::GroupFailure {
    use v1::GroupFailureReason as Reason;
    let told = |reason: Reason, detail: &str| v1::GroupFailure {
        reason: reason.into(),
        detail: shortened(detail.to_owned()),
        max: 0,
    };
    match error {
        GroupsError::Loading => told(Reason::Loading, ""),
        GroupsError::NotCoordinator => told(Reason::NotCoordinator, ""),
        GroupsError::Unavailable { reason } => told(Reason::Unavailable, reason),
        GroupsError::InvalidRequest { reason } => told(Reason::InvalidRequest, reason),
        GroupsError::GroupNotFound => told(Reason::GroupNotFound, ""),
        GroupsError::UnknownMember => told(Reason::UnknownMember, ""),
        GroupsError::IllegalGeneration => told(Reason::IllegalGeneration, ""),
        GroupsError::RebalanceInProgress => told(Reason::RebalanceInProgress, ""),
        GroupsError::FencedInstance => told(Reason::FencedInstance, ""),
        GroupsError::UnreleasedInstance => told(Reason::UnreleasedInstance, ""),
        GroupsError::InconsistentProtocol => told(Reason::InconsistentProtocol, ""),
        GroupsError::MemberIdRequired(id) => told(Reason::MemberIdRequired, id),
        GroupsError::GroupFull => told(Reason::GroupFull, ""),
        GroupsError::InvalidSessionTimeout => told(Reason::InvalidSessionTimeout, ""),
        GroupsError::FencedEpoch => told(Reason::FencedEpoch, ""),
        GroupsError::StaleEpoch => told(Reason::StaleEpoch, ""),
        GroupsError::UnsupportedAssignor(name) => told(Reason::UnsupportedAssignor, name),
        GroupsError::InvalidPattern { reason } => told(Reason::InvalidPattern, reason),
        GroupsError::NotEmpty => told(Reason::NotEmpty, ""),
        GroupsError::SubscribedToTopic => told(Reason::SubscribedToTopic, ""),
        GroupsError::OffsetMetadataTooLarge { max } => v1::GroupFailure {
            max: u64::try_from(*max).unwrap_or(u64::MAX),
            ..told(Reason::OffsetMetadataTooLarge, "")
        },
        GroupsError::UnstableOffset => told(Reason::UnstableOffset, ""),
        GroupsError::FencedProducer => told(Reason::FencedProducer, ""),
        GroupsError::TransactionEnded => told(Reason::TransactionEnded, ""),
        GroupsError::TooLarge { reason } => told(Reason::TooLarge, reason),
        GroupsError::Corrupt { reason } => told(Reason::Corrupt, reason),
        // Also what a later version adds: asking again is safe.
        _ => told(Reason::Unknown, ""),
    }
}

pub(crate) fn group_failure_from(failure: v1::GroupFailure) -> GroupsError {
    use v1::GroupFailureReason as Reason;
    let (kind, max) = (failure.reason(), failure.max);
    let reason = failure.detail;
    match kind {
        Reason::Unspecified | Reason::Unknown => GroupsError::Unknown,
        Reason::Loading => GroupsError::Loading,
        Reason::NotCoordinator => GroupsError::NotCoordinator,
        Reason::Unavailable => GroupsError::Unavailable { reason },
        Reason::InvalidRequest => GroupsError::InvalidRequest { reason },
        Reason::GroupNotFound => GroupsError::GroupNotFound,
        Reason::UnknownMember => GroupsError::UnknownMember,
        Reason::IllegalGeneration => GroupsError::IllegalGeneration,
        Reason::RebalanceInProgress => GroupsError::RebalanceInProgress,
        Reason::FencedInstance => GroupsError::FencedInstance,
        Reason::UnreleasedInstance => GroupsError::UnreleasedInstance,
        Reason::InconsistentProtocol => GroupsError::InconsistentProtocol,
        Reason::MemberIdRequired => GroupsError::MemberIdRequired(reason),
        Reason::GroupFull => GroupsError::GroupFull,
        Reason::InvalidSessionTimeout => GroupsError::InvalidSessionTimeout,
        Reason::FencedEpoch => GroupsError::FencedEpoch,
        Reason::StaleEpoch => GroupsError::StaleEpoch,
        Reason::UnsupportedAssignor => GroupsError::UnsupportedAssignor(reason),
        Reason::InvalidPattern => GroupsError::InvalidPattern { reason },
        Reason::NotEmpty => GroupsError::NotEmpty,
        Reason::SubscribedToTopic => GroupsError::SubscribedToTopic,
        Reason::OffsetMetadataTooLarge => GroupsError::OffsetMetadataTooLarge {
            max: usize::try_from(max).unwrap_or(usize::MAX),
        },
        Reason::UnstableOffset => GroupsError::UnstableOffset,
        Reason::FencedProducer => GroupsError::FencedProducer,
        Reason::TransactionEnded => GroupsError::TransactionEnded,
        Reason::TooLarge => GroupsError::TooLarge { reason },
        Reason::Corrupt => GroupsError::Corrupt { reason },
    }
}

//! Errors of groups, of the store and of sequencers as callers hear them.

use tidelog_groups::GroupError;
use tidelog_metadata_api::{CatalogueError, CommitError, GroupsError, LogError};
use tidelog_store::StoreError;

use crate::keyspace::RowError;
use crate::ownership::{NotHere, OutOfTouch};

pub(super) fn of_group(error: GroupError) -> GroupsError {
    match error {
        GroupError::UnknownMember => GroupsError::UnknownMember,
        GroupError::IllegalGeneration => GroupsError::IllegalGeneration,
        GroupError::RebalanceInProgress => GroupsError::RebalanceInProgress,
        GroupError::FencedInstance => GroupsError::FencedInstance,
        GroupError::InconsistentProtocol => GroupsError::InconsistentProtocol,
        GroupError::MemberIdRequired(id) => GroupsError::MemberIdRequired(id),
        GroupError::GroupFull => GroupsError::GroupFull,
        GroupError::InvalidSessionTimeout => GroupsError::InvalidSessionTimeout,
        GroupError::FencedEpoch => GroupsError::FencedEpoch,
        GroupError::StaleEpoch => GroupsError::StaleEpoch,
        GroupError::UnreleasedInstance => GroupsError::UnreleasedInstance,
        GroupError::NotEmpty => GroupsError::NotEmpty,
        other => GroupsError::InvalidRequest {
            reason: other.to_string(),
        },
    }
}

/// Of rows that were to be written.
pub(super) fn of_write(error: CommitError) -> GroupsError {
    match error {
        CommitError::NotOwner => GroupsError::NotCoordinator,
        CommitError::Unavailable { reason } => GroupsError::Unavailable { reason },
        CommitError::Malformed { reason } => GroupsError::Corrupt { reason },
        _ => GroupsError::Unknown,
    }
}

/// Of a proof of ownership.
pub(super) fn of_proof(error: LogError) -> GroupsError {
    match error {
        LogError::NotOwner => GroupsError::NotCoordinator,
        other => unavailable(&other),
    }
}

pub(super) fn of_store(error: StoreError) -> GroupsError {
    match error {
        StoreError::Fenced => GroupsError::NotCoordinator,
        other => unavailable(&other),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is for `map_err`")]
pub(super) fn of_row(error: RowError) -> GroupsError {
    GroupsError::Corrupt {
        reason: error.to_string(),
    }
}

pub(super) fn of_catalogue(error: CatalogueError) -> GroupsError {
    match error {
        CatalogueError::NotOwner => GroupsError::NotCoordinator,
        CatalogueError::Corrupt { reason } => GroupsError::Corrupt { reason },
        other => unavailable(&other),
    }
}

pub(super) fn invalid(reason: impl Into<String>) -> GroupsError {
    GroupsError::InvalidRequest {
        reason: reason.into(),
    }
}

pub(super) fn too_large(reason: impl Into<String>) -> GroupsError {
    GroupsError::TooLarge {
        reason: reason.into(),
    }
}

fn unavailable(error: &dyn std::error::Error) -> GroupsError {
    GroupsError::Unavailable {
        reason: error.to_string(),
    }
}

impl From<NotHere> for GroupsError {
    fn from(reason: NotHere) -> Self {
        match reason {
            NotHere::Elsewhere => Self::NotCoordinator,
            NotHere::Taking => Self::Loading,
        }
    }
}

impl OutOfTouch for GroupsError {
    fn out_of_touch() -> Self {
        of_proof(LogError::out_of_touch())
    }
}

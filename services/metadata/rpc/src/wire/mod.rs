//! Wire types to the words of the metadata service and back. Bytes of a peer can be refused, never trusted.

mod cluster;
mod commit;
mod compactions;
mod failure;
mod groups;
mod janitor;
mod log;
mod merges;
mod notice;
mod producers;
#[cfg(test)]
mod tests;
mod topic;
mod transactions;

use bytes::Bytes;
use thiserror::Error;
use tidelog_metadata_api::ReadToken;
use tidelog_types::Offset;

pub(crate) use cluster::{member_from, member_id, member_to, view_from, view_to};
pub(crate) use commit::{
    commit_from, commit_to, commits_to_results, fencing_token, results_from, segment_from,
    segment_to,
};
pub(crate) use compactions::*;
pub(crate) use failure::{
    catalogue_failure_from, catalogue_failure_to, cluster_failure_from, cluster_failure_to,
    commit_failure_from, commit_failure_to, log_failure_from, log_failure_to, shortened,
};
pub(crate) use groups::*;
pub(crate) use janitor::{deletions_from, deletions_to};
pub(crate) use log::{
    bounds_from, bounds_to, located_from, located_to, lookup_from, lookup_to, offset_answer_from,
    offset_answer_to, partition_from, partition_to, query_from, query_to,
};
pub(crate) use merges::*;
pub(crate) use notice::{event_from, event_to};
pub(crate) use producers::{
    aborted_from, aborted_to, active_from, active_to, marker_from, marker_results_from,
    marker_results_to, marker_to,
};
pub(crate) use topic::{
    new_topic_from, new_topic_to, page_from, page_to, selector_from, selector_to, topic_from,
    topic_to,
};
pub(crate) use transactions::*;

/// Why a message of a peer makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum WireError {
    /// A field that is required is not set.
    #[error("`{0}` is required")]
    Missing(&'static str),
    /// An id has another length.
    #[error("`{0}` is no id of 16 bytes")]
    Id(&'static str),
    /// A value that the field cannot have.
    #[error("`{field}` cannot be `{value}`")]
    Range {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// More than the field may have.
    #[error("`{field}` has more than `{max}` bytes or items")]
    TooLong {
        /// The field.
        field: &'static str,
        /// The most it may have.
        max: usize,
    },
    /// Stored bytes in a message that cannot be read.
    #[error("`{field}` is damaged: {reason}")]
    Damaged {
        /// The field.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl WireError {
    /// Stored bytes that their own decoder refuses.
    fn damaged(field: &'static str, error: &dyn std::error::Error) -> Self {
        Self::Damaged {
            field,
            reason: error.to_string(),
        }
    }
}

/// The bytes of an id.
fn id(field: &'static str, bytes: &[u8]) -> Result<[u8; 16], WireError> {
    bytes.try_into().map_err(|_| WireError::Id(field))
}

/// The bytes of an id as they are sent.
fn id_bytes(bytes: [u8; 16]) -> Bytes {
    Bytes::copy_from_slice(&bytes)
}

/// An offset, if a record can have it.
pub(crate) fn offset(field: &'static str, raw: u64) -> Result<Offset, WireError> {
    if raw > Offset::MAX.get() {
        return Err(WireError::Range { field, value: raw });
    }
    Ok(Offset::new(raw))
}

/// A number that its own type can hold.
fn narrow<T: TryFrom<i64>>(field: &'static str, raw: i64) -> Result<T, WireError> {
    T::try_from(raw).map_err(|_| WireError::Range {
        field,
        value: raw.cast_unsigned(),
    })
}

/// A read token as it is sent.
pub(crate) fn token_to(token: ReadToken) -> Bytes {
    Bytes::copy_from_slice(&token.encode())
}

/// Reads a read token.
pub(crate) fn token_from(bytes: &[u8]) -> Result<ReadToken, WireError> {
    ReadToken::decode(bytes).map_err(|error| WireError::damaged("token", &error))
}

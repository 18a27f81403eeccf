//! The members of the cluster: who they are, how they come and go, and what becomes of the incarnations
//! under which they wrote.

mod alone;
mod shared;
mod sweep;
mod writers;

use tidelog_env::error_chain;
use tidelog_metadata_api::{ClusterError, KAFKA_ADDRESSES_MAX, Member};
use tidelog_store::TransactError;

pub(crate) use alone::AloneMembers;
pub(crate) use shared::{SharedMembers, SharedParts};
pub(crate) use sweep::Sweep;
pub(crate) use writers::Writers;

use crate::keyspace::{MEMBER_TEXT_BYTES_MAX, RowError};

/// Refuses a member that would not fit its row. It may come from the network.
fn check(member: &Member) -> Result<(), ClusterError> {
    let addresses = &member.kafka_addresses;
    let kafka = addresses.iter().flat_map(|address| {
        let listener = ("Kafka listener", &address.listener);
        [listener, ("Kafka host", &address.host)]
    });
    let texts = [
        ("name", &member.name),
        ("zone", &member.zone),
        ("version", &member.version),
        ("internal address", &member.internal_address),
        ("gRPC address", &member.grpc_address),
    ];
    let long = texts
        .into_iter()
        .chain(kafka)
        .find(|(_, text)| text.len() > MEMBER_TEXT_BYTES_MAX);
    let reason = if let Some((what, _)) = long {
        format!("its {what} is longer than {MEMBER_TEXT_BYTES_MAX} bytes")
    } else if addresses.len() > KAFKA_ADDRESSES_MAX {
        format!("it has more than {KAFKA_ADDRESSES_MAX} Kafka addresses")
    } else {
        return Ok(());
    };
    Err(ClusterError::InvalidMember { reason })
}

/// What a failed transaction means to whoever asked.
fn cluster_error(error: TransactError<ClusterError>) -> ClusterError {
    match error {
        TransactError::Abort(error) => error,
        TransactError::Read(error) => ClusterError::Unavailable {
            reason: error_chain(&error),
        },
        TransactError::Commit(error) => ClusterError::Unavailable {
            reason: error_chain(&error),
        },
    }
}

/// What a damaged row means inside a transaction.
fn damaged(error: &RowError) -> TransactError<ClusterError> {
    TransactError::Abort(ClusterError::Corrupt {
        reason: error.to_string(),
    })
}

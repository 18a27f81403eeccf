//! Transactions: from Kafka's requests to those of the coordinators of transactional ids, and back.
//!
//! Every broker takes every request and hands it on, as for groups: to the coordinator of the id, and what is written
//! to the sequencers and the coordinators of groups, always under the number that the coordinator gave the
//! transaction.

mod add;
mod end;
mod errors;
mod init;
mod join;
mod markers;
mod producers;
mod show;

use tidelog_kafka_codec::ErrorCode;
use tidelog_metadata_api::{ProducerIdentity, TransactionalId};
use tidelog_runtime::access::{Operation, Resource};
use tidelog_types::{ProducerEpoch, ProducerId};

pub(crate) use errors::{append_refusal, commit_code, not_part_code};

use crate::call::Call;
use crate::errors::Refusal;

/// A producer as requests name it.
pub(crate) fn producer(id: i64, epoch: i16) -> ProducerIdentity {
    ProducerIdentity::new(ProducerId::new(id), ProducerEpoch::new(epoch))
}

/// Checks the form of a transactional id.
pub(crate) fn parse_id(id: &str) -> Result<TransactionalId, Refusal> {
    TransactionalId::new(id)
        .map_err(|error| Refusal::new(ErrorCode::InvalidRequest, error.to_string()))
}

impl Call {
    /// A transactional id, if the caller may write under it.
    pub(crate) fn transactional_id(&self, id: &str) -> Result<TransactionalId, Refusal> {
        self.may(Operation::Write, Resource::TransactionalId(id))?;
        parse_id(id)
    }
}

//! Batches of transactions: what they must have before they may be written.

use std::collections::BTreeSet;

use tidelog_format::batch::BatchBuf;
use tidelog_kafka_codec::ErrorCode;
use tidelog_metadata_api::{
    Participant, ProducerIdentity, TransactionNumber, TransactionWork, Verified,
};
use tidelog_types::TopicPartition;

use super::parse::ParsedTopic;
use crate::call::Call;
use crate::errors::Refusal;
use crate::transactions::{append_refusal, not_part_code, parse_id};

/// What a request's batches of a transaction have.
pub(super) enum Ticket {
    /// There are none.
    NotNeeded,
    /// The transaction is open, and these partitions do not take part: what a batch for one of them hears.
    Joined(Verified, ErrorCode),
    /// They cannot be taken.
    Refused(Refusal),
    /// Nothing of the request can be.
    RefusedAll(Refusal),
}

fn is_transactional(batch: &BatchBuf) -> bool {
    batch.header().attributes.is_transactional()
}

impl Ticket {
    /// The transaction that batches are part of.
    pub(super) const fn number(&self) -> Option<TransactionNumber> {
        match self {
            Self::Joined(joined, _) => Some(joined.number),
            _ => None,
        }
    }

    /// Whether the batches of a partition may be written.
    pub(super) fn check(&self, at: TopicPartition, batches: &[BatchBuf]) -> Result<(), Refusal> {
        let any_transactional = || batches.iter().any(is_transactional);
        match self {
            Self::RefusedAll(refusal) => Err(refusal.clone()),
            Self::Refused(refusal) if any_transactional() => Err(refusal.clone()),
            Self::Joined(joined, code)
                if joined.missing.contains(&Participant::Partition(at)) && any_transactional() =>
            {
                let message = "the partition does not take part in the transaction";
                Err(Refusal::new(*code, message))
            }
            _ => Ok(()),
        }
    }
}

impl Call {
    /// Lets the partitions of a request that have batches of a transaction join it.
    pub(super) async fn ticket(&self, id: Option<&str>, topics: &[ParsedTopic]) -> Ticket {
        let partitions = topics.iter().flat_map(|topic| &topic.partitions);
        let parsed = partitions.filter_map(|(_, parsed)| parsed.as_ref().ok());
        let mut participants = BTreeSet::new();
        let mut producers = BTreeSet::new();
        for parsed in parsed {
            for batch in parsed
                .batches
                .iter()
                .filter(|batch| is_transactional(batch))
            {
                let header = batch.header();
                producers.insert(ProducerIdentity::new(
                    header.producer_id,
                    header.producer_epoch,
                ));
                participants.insert(Participant::Partition(parsed.at));
            }
        }
        let Some(producer) = producers.pop_first() else {
            return Ticket::NotNeeded;
        };
        let Some(id) = id else {
            let message = "batches of a transaction come without a transactional id";
            let code = ErrorCode::TransactionalIdAuthorizationFailed;
            return Ticket::RefusedAll(Refusal::new(code, message));
        };
        if !producers.is_empty() {
            let message = "batches of one transaction are of several producers";
            let code = ErrorCode::InvalidProducerIdMapping;
            return Ticket::RefusedAll(Refusal::new(code, message));
        }
        let id = match parse_id(id) {
            Ok(id) => id,
            Err(refusal) => return Ticket::Refused(refusal),
        };
        let work = TransactionWork {
            id,
            producer,
            participants,
        };
        match self.join_transaction(work).await {
            Ok(joined) => Ticket::Joined(joined, not_part_code(self.key, self.version)),
            Err(error) => Ticket::Refused(append_refusal(&error, self.version)),
        }
    }
}

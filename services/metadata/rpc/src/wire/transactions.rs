//! Requests to coordinators of transactional ids, and their answers.

use std::collections::BTreeSet;
use std::time::Duration;

use tidelog_api::internal::v1;
use tidelog_metadata_api::{
    Decision, EndTransaction, InitTransactions, Participant, ProducerIdentity,
    TransactionDescription, TransactionError, TransactionFilter, TransactionListing,
    TransactionNumber, TransactionPage, TransactionState, TransactionVersion, TransactionWork,
    TransactionalId, TransactionsError, Verified,
};
use tidelog_types::{ProducerEpoch, ProducerId, Timestamp};

use super::{WireError, name_from, narrow, partition_from, partition_to, shortened};

pub(crate) fn id_from(text: &str) -> Result<TransactionalId, WireError> {
    TransactionalId::new(text).map_err(|error| WireError::damaged("transactional_id", &error))
}

pub(crate) fn id_to(id: &TransactionalId) -> String {
    id.as_str().to_owned()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn producer_to(producer: ProducerIdentity) -> v1::TransactionProducer {
    v1::TransactionProducer {
        id: producer.id.get(),
        epoch: i32::from(producer.epoch.get()),
    }
}

pub(crate) fn producer_from(
    producer: Option<v1::TransactionProducer>,
) -> Result<ProducerIdentity, WireError> {
    let producer = producer.ok_or(WireError::Missing("producer"))?;
    let epoch = narrow("epoch", i64::from(producer.epoch))?;
    Ok(ProducerIdentity::new(
        ProducerId::new(producer.id),
        ProducerEpoch::new(epoch),
    ))
}

fn participants_to(participants: &BTreeSet<Participant>) -> v1::TransactionParticipants {
    let mut sent = v1::TransactionParticipants::default();
    for participant in participants {
        match participant {
            Participant::Partition(partition) => sent.partitions.push(partition_to(*partition)),
            Participant::Group(group) => sent.groups.push(group.as_str().to_owned()),
        }
    }
    sent
}

fn participants_from(
    sent: Option<v1::TransactionParticipants>,
) -> Result<BTreeSet<Participant>, WireError> {
    let sent = sent.unwrap_or_default();
    let partitions = sent.partitions.into_iter();
    let partitions =
        partitions.map(|partition| partition_from(Some(partition)).map(Participant::Partition));
    let groups = sent.groups.iter();
    let groups = groups.map(|group| name_from(group).map(Participant::Group));
    partitions.chain(groups).collect()
}

pub(crate) fn init_to(request: &InitTransactions) -> v1::InitTransactions {
    v1::InitTransactions {
        transactional_id: id_to(&request.id),
        timeout_ms: millis(request.timeout),
        expected: request.expected.map(producer_to),
    }
}

pub(crate) fn init_from(request: &v1::InitTransactions) -> Result<InitTransactions, WireError> {
    let expected = request.expected;
    Ok(InitTransactions {
        id: id_from(&request.transactional_id)?,
        timeout: Duration::from_millis(request.timeout_ms),
        expected: expected
            .map(|expected| producer_from(Some(expected)))
            .transpose()?,
    })
}

pub(crate) fn work_to(work: &TransactionWork) -> v1::TransactionWork {
    v1::TransactionWork {
        transactional_id: id_to(&work.id),
        producer: Some(producer_to(work.producer)),
        participants: Some(participants_to(&work.participants)),
    }
}

pub(crate) fn work_from(work: v1::TransactionWork) -> Result<TransactionWork, WireError> {
    Ok(TransactionWork {
        id: id_from(&work.transactional_id)?,
        producer: producer_from(work.producer)?,
        participants: participants_from(work.participants)?,
    })
}

pub(crate) fn end_to(request: &EndTransaction) -> v1::EndTransaction {
    v1::EndTransaction {
        transactional_id: id_to(&request.id),
        producer: Some(producer_to(request.producer)),
        commits: request.decision == Decision::Commit,
        bumps_epoch: request.version == TransactionVersion::Two,
    }
}

pub(crate) fn end_from(request: &v1::EndTransaction) -> Result<EndTransaction, WireError> {
    Ok(EndTransaction {
        id: id_from(&request.transactional_id)?,
        producer: producer_from(request.producer)?,
        decision: if request.commits {
            Decision::Commit
        } else {
            Decision::Abort
        },
        version: if request.bumps_epoch {
            TransactionVersion::Two
        } else {
            TransactionVersion::One
        },
    })
}

pub(crate) fn verified_to(verified: &Verified) -> v1::VerifiedTransaction {
    v1::VerifiedTransaction {
        number: verified.number.0,
        missing: Some(participants_to(&verified.missing)),
    }
}

pub(crate) fn verified_from(verified: v1::VerifiedTransaction) -> Result<Verified, WireError> {
    Ok(Verified {
        number: TransactionNumber(verified.number),
        missing: participants_from(verified.missing)?,
    })
}

const fn state_to(state: TransactionState) -> v1::TransactionState {
    match state {
        TransactionState::Empty => v1::TransactionState::Empty,
        TransactionState::Ongoing => v1::TransactionState::Ongoing,
        TransactionState::PrepareCommit => v1::TransactionState::PrepareCommit,
        TransactionState::PrepareAbort => v1::TransactionState::PrepareAbort,
        TransactionState::CompleteCommit => v1::TransactionState::CompleteCommit,
        TransactionState::CompleteAbort => v1::TransactionState::CompleteAbort,
    }
}

fn state_from(raw: i32) -> Result<TransactionState, WireError> {
    match v1::TransactionState::try_from(raw) {
        Ok(v1::TransactionState::Empty) => Ok(TransactionState::Empty),
        Ok(v1::TransactionState::Ongoing) => Ok(TransactionState::Ongoing),
        Ok(v1::TransactionState::PrepareCommit) => Ok(TransactionState::PrepareCommit),
        Ok(v1::TransactionState::PrepareAbort) => Ok(TransactionState::PrepareAbort),
        Ok(v1::TransactionState::CompleteCommit) => Ok(TransactionState::CompleteCommit),
        Ok(v1::TransactionState::CompleteAbort) => Ok(TransactionState::CompleteAbort),
        Ok(v1::TransactionState::Unspecified) | Err(_) => Err(WireError::Range {
            field: "state",
            value: u64::from(raw.cast_unsigned()),
        }),
    }
}

pub(crate) fn transaction_to(description: &TransactionDescription) -> v1::TransactionDescription {
    v1::TransactionDescription {
        state: state_to(description.state).into(),
        timeout_ms: millis(description.timeout),
        started_at: description.started_at.map(Timestamp::as_millis),
        producer: Some(producer_to(description.producer)),
        participants: Some(participants_to(&description.participants)),
    }
}

pub(crate) fn transaction_from(
    description: v1::TransactionDescription,
) -> Result<TransactionDescription, WireError> {
    Ok(TransactionDescription {
        state: state_from(description.state)?,
        timeout: Duration::from_millis(description.timeout_ms),
        started_at: description.started_at.map(Timestamp::from_millis),
        producer: producer_from(description.producer)?,
        participants: participants_from(description.participants)?,
    })
}

pub(crate) fn list_transactions_to(
    filter: &TransactionFilter,
    after: &[u8],
    count: usize,
) -> v1::ListTransactions {
    let states = filter.states.iter();
    v1::ListTransactions {
        states: states.map(|state| state_to(*state).into()).collect(),
        producer_ids: filter.producers.iter().map(|id| id.get()).collect(),
        longer_than_ms: filter.longer_than.map(millis),
        after: after.to_vec().into(),
        count: u32::try_from(count).unwrap_or(u32::MAX),
    }
}

pub(crate) fn transaction_filter_from(
    request: &v1::ListTransactions,
) -> Result<TransactionFilter, WireError> {
    let states = request.states.iter().map(|raw| state_from(*raw));
    let producers = request.producer_ids.iter().map(|id| ProducerId::new(*id));
    Ok(TransactionFilter {
        states: states.collect::<Result<_, _>>()?,
        producers: producers.collect(),
        longer_than: request.longer_than_ms.map(Duration::from_millis),
    })
}

pub(crate) fn transaction_page_to(page: TransactionPage) -> v1::ListedTransactions {
    let listings = page.transactions.iter();
    let listings = listings.map(|listing| v1::TransactionListing {
        transactional_id: id_to(&listing.id),
        producer_id: listing.producer.get(),
        state: state_to(listing.state).into(),
    });
    v1::ListedTransactions {
        transactions: listings.collect(),
        next: page.next.into(),
    }
}

pub(crate) fn transaction_page_from(
    page: v1::ListedTransactions,
) -> Result<TransactionPage, WireError> {
    let listings = page.transactions.into_iter().map(|listing| {
        Ok(TransactionListing {
            id: id_from(&listing.transactional_id)?,
            producer: ProducerId::new(listing.producer_id),
            state: state_from(listing.state)?,
        })
    });
    Ok(TransactionPage {
        transactions: listings.collect::<Result<_, _>>()?,
        next: page.next.to_vec(),
    })
}

pub(crate) fn transaction_failure_to(error: &TransactionsError) -> v1::TransactionFailure {
    use v1::TransactionFailureReason as Reason;
    let (reason, detail) = match error {
        TransactionsError::Loading => (Reason::Loading, ""),
        TransactionsError::NotCoordinator => (Reason::NotCoordinator, ""),
        TransactionsError::Unavailable { reason } => (Reason::Unavailable, reason.as_str()),
        TransactionsError::InvalidRequest { reason } => (Reason::InvalidRequest, reason.as_str()),
        TransactionsError::NotFound => (Reason::NotFound, ""),
        TransactionsError::Corrupt { reason } => (Reason::Corrupt, reason.as_str()),
        TransactionsError::Refused(refused) => (refused_to(*refused), ""),
        // Also what a later version adds: asking again is safe.
        _ => (Reason::Unknown, ""),
    };
    v1::TransactionFailure {
        reason: reason.into(),
        detail: shortened(detail.to_owned()),
    }
}

const fn refused_to(error: TransactionError) -> v1::TransactionFailureReason {
    use v1::TransactionFailureReason as Reason;
    match error {
        TransactionError::Concurrent => Reason::Concurrent,
        TransactionError::Fenced => Reason::Fenced,
        TransactionError::UnknownProducer => Reason::UnknownProducer,
        TransactionError::InvalidState => Reason::InvalidState,
        TransactionError::InvalidTimeout => Reason::InvalidTimeout,
        TransactionError::TooLarge => Reason::TooLarge,
        // That an id is needed nobody hears.
        _ => Reason::Unknown,
    }
}

pub(crate) fn transaction_failure_from(failure: v1::TransactionFailure) -> TransactionsError {
    use v1::TransactionFailureReason as Reason;
    let kind = failure.reason();
    let reason = failure.detail;
    let refused = match kind {
        Reason::Unspecified | Reason::Unknown => return TransactionsError::Unknown,
        Reason::Loading => return TransactionsError::Loading,
        Reason::NotCoordinator => return TransactionsError::NotCoordinator,
        Reason::Unavailable => return TransactionsError::Unavailable { reason },
        Reason::InvalidRequest => return TransactionsError::InvalidRequest { reason },
        Reason::NotFound => return TransactionsError::NotFound,
        Reason::Corrupt => return TransactionsError::Corrupt { reason },
        Reason::Concurrent => TransactionError::Concurrent,
        Reason::Fenced => TransactionError::Fenced,
        Reason::UnknownProducer => TransactionError::UnknownProducer,
        Reason::InvalidState => TransactionError::InvalidState,
        Reason::InvalidTimeout => TransactionError::InvalidTimeout,
        Reason::TooLarge => TransactionError::TooLarge,
    };
    TransactionsError::Refused(refused)
}

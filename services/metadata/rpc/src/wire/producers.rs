//! Markers, aborted transactions and the producers of a partition.

use tidelog_api::internal::v1;
use tidelog_metadata_api::{
    AbortedTransaction, ActiveProducer, Decision, LogError, ProducerIdentity, TransactionMarker,
    TransactionNumber,
};
use tidelog_types::{Offset, ProducerEpoch, ProducerId, Timestamp};

use super::{
    WireError, log_failure_from, log_failure_to, narrow, offset, partition_from, partition_to,
};

pub(crate) fn marker_to(marker: &TransactionMarker) -> v1::TransactionMarker {
    v1::TransactionMarker {
        partition: Some(partition_to(marker.partition)),
        producer_id: marker.producer.id.get(),
        producer_epoch: i32::from(marker.producer.epoch.get()),
        number: marker.number.map(|number| number.0),
        coordinator_epoch: marker.coordinator_epoch,
        commits: marker.decision == Decision::Commit,
    }
}

pub(crate) fn marker_from(marker: v1::TransactionMarker) -> Result<TransactionMarker, WireError> {
    Ok(TransactionMarker {
        partition: partition_from(marker.partition)?,
        producer: identity(marker.producer_id, marker.producer_epoch)?,
        number: marker.number.map(TransactionNumber),
        coordinator_epoch: marker.coordinator_epoch,
        decision: if marker.commits {
            Decision::Commit
        } else {
            Decision::Abort
        },
    })
}

fn identity(id: i64, epoch: i32) -> Result<ProducerIdentity, WireError> {
    let epoch = narrow("producer_epoch", i64::from(epoch))?;
    Ok(ProducerIdentity::new(
        ProducerId::new(id),
        ProducerEpoch::new(epoch),
    ))
}

pub(crate) fn marker_results_to(
    outcomes: &[Result<(), LogError>],
) -> Vec<v1::EndTransactionResult> {
    let results = outcomes.iter().map(|outcome| v1::EndTransactionResult {
        failure: outcome.as_ref().err().map(log_failure_to),
    });
    results.collect()
}

/// Reads the results of so many markers. One that is missing says nothing: asked again, it has an answer.
pub(crate) fn marker_results_from(
    results: Vec<v1::EndTransactionResult>,
    count: usize,
) -> Vec<Result<(), LogError>> {
    let mut results = results.into_iter();
    let outcomes = (0..count).map(|_| match results.next() {
        Some(v1::EndTransactionResult { failure: None }) => Ok(()),
        Some(v1::EndTransactionResult {
            failure: Some(failure),
        }) => Err(log_failure_from(failure)),
        None => Err(LogError::Unavailable {
            reason: WireError::Missing("result").to_string(),
        }),
    });
    outcomes.collect()
}

pub(crate) const fn aborted_to(aborted: &AbortedTransaction) -> v1::AbortedTransaction {
    v1::AbortedTransaction {
        producer_id: aborted.producer.get(),
        first_offset: aborted.first.get(),
        last_offset: aborted.last.get(),
    }
}

pub(crate) fn aborted_from(
    aborted: v1::AbortedTransaction,
) -> Result<AbortedTransaction, WireError> {
    Ok(AbortedTransaction {
        producer: ProducerId::new(aborted.producer_id),
        first: offset("first_offset", aborted.first_offset)?,
        last: offset("last_offset", aborted.last_offset)?,
    })
}

pub(crate) fn active_to(active: &ActiveProducer) -> v1::ActiveProducer {
    v1::ActiveProducer {
        producer_id: active.producer.id.get(),
        producer_epoch: i32::from(active.producer.epoch.get()),
        last_sequence: active.last_sequence,
        last_used: active.last_used.as_millis(),
        coordinator_epoch: active.coordinator_epoch,
        open_from: active.open_from.map(Offset::get),
    }
}

pub(crate) fn active_from(active: v1::ActiveProducer) -> Result<ActiveProducer, WireError> {
    let open_from = active.open_from.map(|raw| offset("open_from", raw));
    Ok(ActiveProducer {
        producer: identity(active.producer_id, active.producer_epoch)?,
        last_sequence: active.last_sequence,
        last_used: Timestamp::from_millis(active.last_used),
        coordinator_epoch: active.coordinator_epoch,
        open_from: open_from.transpose()?,
    })
}

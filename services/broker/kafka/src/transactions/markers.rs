//! `WriteTxnMarkers`: an operator ends what hangs in a partition (`kafka-transactions.sh abort`).

use tidelog_kafka_codec::ErrorCode;
use tidelog_kafka_codec::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic,
};
use tidelog_kafka_codec::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use tidelog_kafka_codec::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use tidelog_metadata_api::{Decision, LogError, MARKERS_MAX, TransactionMarker};
use tidelog_runtime::access::{Operation, Resource};

use super::producer;
use crate::call::{Call, partition};
use crate::errors::Refusal;

impl Call {
    pub(crate) async fn write_txn_markers(
        &self,
        request: WriteTxnMarkersRequest,
    ) -> WriteTxnMarkersResponse {
        let allowed = self.may(Operation::Alter, Resource::Cluster);
        let mut results = Vec::with_capacity(request.markers.len());
        for marker in request.markers {
            results.push(WritableTxnMarkerResult {
                producer_id: marker.producer_id,
                topics: self.write_marker(&marker, &allowed).await,
            });
        }
        WriteTxnMarkersResponse { markers: results }
    }

    async fn write_marker(
        &self,
        marker: &WritableTxnMarker,
        allowed: &Result<(), Refusal>,
    ) -> Vec<WritableTxnMarkerTopicResult> {
        let mut markers = Vec::new();
        let mut places = Vec::new();
        let mut topics = Vec::with_capacity(marker.topics.len());
        for topic in &marker.topics {
            let found = self.markers_of(marker, topic, allowed).await;
            let mut partitions = Vec::with_capacity(found.len());
            for (partition_index, found) in found {
                let code = found
                    .as_ref()
                    .err()
                    .map_or(ErrorCode::None, |refusal| refusal.code);
                if let Ok(found) = found {
                    markers.push(found);
                    places.push((topics.len(), partitions.len()));
                }
                partitions.push(WritableTxnMarkerPartitionResult {
                    partition_index,
                    error_code: self.code(code),
                });
            }
            topics.push(WritableTxnMarkerTopicResult {
                name: topic.name.clone(),
                partitions,
            });
        }
        let engine = self.front.engine();
        let mut ended = Vec::with_capacity(markers.len());
        for some in markers.chunks(MARKERS_MAX) {
            ended.extend(engine.end_transactions(some.to_vec()).await);
        }
        for ((topic, partition), result) in places.into_iter().zip(ended) {
            let topic: Option<&mut WritableTxnMarkerTopicResult> = topics.get_mut(topic);
            let place = topic.and_then(|topic| topic.partitions.get_mut(partition));
            if let (Some(place), Err(error)) = (place, result) {
                place.error_code = self.code(marker_code(&error));
            }
        }
        topics
    }

    /// A marker for each partition of a topic, or why there is none.
    async fn markers_of(
        &self,
        marker: &WritableTxnMarker,
        topic: &WritableTxnMarkerTopic,
        allowed: &Result<(), Refusal>,
    ) -> Vec<(i32, Result<TransactionMarker, Refusal>)> {
        let info = match allowed {
            Ok(()) => self.topic(Operation::Write, &topic.name).await,
            Err(refusal) => Err(refusal.clone()),
        };
        let indexes = topic.partition_indexes.iter();
        let markers = indexes.map(|index| {
            let at = match &info {
                Ok(info) => partition(info, *index),
                Err(refusal) => Err(refusal.clone()),
            };
            let found = at.map(|partition| TransactionMarker {
                partition,
                producer: producer(marker.producer_id, marker.producer_epoch),
                number: None,
                coordinator_epoch: marker.coordinator_epoch,
                decision: if marker.transaction_result {
                    Decision::Commit
                } else {
                    Decision::Abort
                },
            });
            (*index, found)
        });
        markers.collect()
    }
}

/// The code of an error.
fn marker_code(error: &LogError) -> ErrorCode {
    match error {
        LogError::CoordinatorFenced(_) => ErrorCode::TransactionCoordinatorFenced,
        other => Refusal::from(other).code,
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::{ProducerEpoch, ProducerId};

    use super::*;

    #[test]
    fn an_operator_hears_what_is_newer_than_the_marker_or_that_nothing_is_open() {
        for (error, name) in [
            (
                LogError::CoordinatorFenced(7),
                "TRANSACTION_COORDINATOR_FENCED",
            ),
            (
                LogError::ProducerFenced(ProducerEpoch::new(3)),
                "INVALID_PRODUCER_EPOCH",
            ),
            (
                LogError::NoTransaction(ProducerId::new(3)),
                "INVALID_TXN_STATE",
            ),
            (LogError::NotOwner, "NOT_LEADER_OR_FOLLOWER"),
        ] {
            assert_eq!(marker_code(&error).name(), name);
        }
    }
}

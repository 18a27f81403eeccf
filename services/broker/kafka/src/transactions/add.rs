//! `AddPartitionsToTxn` and `AddOffsetsToTxn`.

use std::collections::BTreeSet;

use tidelog_kafka_codec::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use tidelog_kafka_codec::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use tidelog_kafka_codec::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
};
use tidelog_kafka_codec::{ByteString, ErrorCode};
use tidelog_metadata_api::{Participant, TransactionWork};
use tidelog_runtime::access::{Operation, Resource};
use tidelog_types::TopicPartition;

use super::errors::refusal;
use super::producer;
use crate::call::{Call, partition};
use crate::errors::Refusal;

/// The first version with many transactions at once, which brokers of Kafka send to each other.
const MANY_FROM: i16 = 4;

/// The partitions of a transaction, each with where it is or why it cannot be added.
type Found = Vec<(ByteString, Vec<(i32, Result<TopicPartition, Refusal>)>)>;

impl Call {
    pub(crate) async fn add_partitions_to_txn(
        &self,
        request: AddPartitionsToTxnRequest,
    ) -> AddPartitionsToTxnResponse {
        if self.version < MANY_FROM {
            let transaction = AddPartitionsToTxnTransaction {
                transactional_id: request.v3_and_below_transactional_id,
                producer_id: request.v3_and_below_producer_id,
                producer_epoch: request.v3_and_below_producer_epoch,
                verify_only: false,
                topics: request.v3_and_below_topics,
            };
            return AddPartitionsToTxnResponse {
                results_by_topic_v3_and_below: self.add_partitions(transaction).await,
                ..AddPartitionsToTxnResponse::default()
            };
        }
        if let Err(refusal) = self.may(Operation::Alter, Resource::Cluster) {
            return AddPartitionsToTxnResponse {
                error_code: self.code(refusal.code),
                ..AddPartitionsToTxnResponse::default()
            };
        }
        let mut results = Vec::with_capacity(request.transactions.len());
        for transaction in request.transactions {
            results.push(AddPartitionsToTxnResult {
                transactional_id: transaction.transactional_id.clone(),
                topic_results: self.add_partitions(transaction).await,
            });
        }
        AddPartitionsToTxnResponse {
            results_by_transaction: results,
            ..AddPartitionsToTxnResponse::default()
        }
    }

    /// A code for each partition of a transaction.
    async fn add_partitions(
        &self,
        transaction: AddPartitionsToTxnTransaction,
    ) -> Vec<AddPartitionsToTxnTopicResult> {
        let AddPartitionsToTxnTransaction {
            transactional_id,
            producer_id,
            producer_epoch,
            verify_only,
            topics,
        } = transaction;
        let id = match self.transactional_id(&transactional_id) {
            Ok(id) => id,
            Err(refusal) => return self.added(&topics, |_, _| refusal.code),
        };
        let found = self.partitions_to_add(&topics).await;
        let mut all = found.iter().flat_map(|(_, partitions)| partitions);
        if all.any(|(_, at)| at.is_err()) {
            // All of them or none.
            return self.added(&topics, |topic, index| match at(&found, topic, index) {
                Some(Err(refusal)) => refusal.code,
                _ => ErrorCode::OperationNotAttempted,
            });
        }
        let all = found.iter().flat_map(|(_, partitions)| partitions);
        let all = all.filter_map(|(_, at)| at.as_ref().ok());
        let work = TransactionWork {
            id,
            producer: producer(producer_id, producer_epoch),
            participants: all.map(|at| Participant::Partition(*at)).collect(),
        };
        let transactions = self.front.engine().transactions();
        let missing = if verify_only {
            transactions.verify(work).await.map(|it| it.missing)
        } else {
            transactions.add(work).await.map(|_| BTreeSet::new())
        };
        match missing {
            Err(error) => {
                let refusal = refusal(&error, self.key, self.version);
                tracing::debug!(code = %refusal.code, reason = refusal.message, "not added");
                self.added(&topics, |_, _| refusal.code)
            }
            Ok(missing) => self.added(&topics, |topic, index| match at(&found, topic, index) {
                Some(Ok(at)) if missing.contains(&Participant::Partition(*at)) => {
                    ErrorCode::TransactionAbortable
                }
                _ => ErrorCode::None,
            }),
        }
    }

    /// Where the partitions are. Who writes to them must be allowed to.
    async fn partitions_to_add(&self, topics: &[AddPartitionsToTxnTopic]) -> Found {
        let mut found = Vec::with_capacity(topics.len());
        for topic in topics {
            let info = self.topic(Operation::Write, &topic.name).await;
            let partitions = topic.partitions.iter().map(|index| {
                let at = match &info {
                    Ok(info) => partition(info, *index),
                    Err(refusal) => Err(refusal.clone()),
                };
                (*index, at)
            });
            found.push((topic.name.clone(), partitions.collect()));
        }
        found
    }

    fn added(
        &self,
        topics: &[AddPartitionsToTxnTopic],
        code: impl Fn(usize, usize) -> ErrorCode,
    ) -> Vec<AddPartitionsToTxnTopicResult> {
        let results = topics.iter().enumerate().map(|(at, topic)| {
            let partitions = topic.partitions.iter().enumerate();
            let partitions = partitions.map(|(index, partition_index)| {
                let code = code(at, index);
                AddPartitionsToTxnPartitionResult {
                    partition_index: *partition_index,
                    partition_error_code: self.code(code),
                }
            });
            AddPartitionsToTxnTopicResult {
                name: topic.name.clone(),
                results_by_partition: partitions.collect(),
            }
        });
        results.collect()
    }

    pub(crate) async fn add_offsets_to_txn(
        &self,
        request: AddOffsetsToTxnRequest,
    ) -> AddOffsetsToTxnResponse {
        let code = match self.add_group(&request).await {
            Ok(()) => ErrorCode::None,
            Err(refusal) => {
                tracing::debug!(code = %refusal.code, reason = refusal.message, "not added");
                refusal.code
            }
        };
        AddOffsetsToTxnResponse {
            error_code: self.code(code),
            ..AddOffsetsToTxnResponse::default()
        }
    }

    async fn add_group(&self, request: &AddOffsetsToTxnRequest) -> Result<(), Refusal> {
        let id = self.transactional_id(&request.transactional_id)?;
        let group = self.group(Operation::Read, &request.group_id)?;
        let work = TransactionWork {
            id,
            producer: producer(request.producer_id, request.producer_epoch),
            participants: BTreeSet::from([Participant::Group(group)]),
        };
        let added = self.front.engine().transactions().add(work).await;
        added
            .map(drop)
            .map_err(|error| refusal(&error, self.key, self.version))
    }
}

/// Where a partition is, by its place in the request.
fn at(found: &Found, topic: usize, index: usize) -> Option<&Result<TopicPartition, Refusal>> {
    let (_, partitions) = found.get(topic)?;
    partitions.get(index).map(|(_, at)| at)
}

//! `TxnOffsetCommit`: offsets that are committed with a transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidelog_kafka_codec::ErrorCode;
use tidelog_kafka_codec::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use tidelog_kafka_codec::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use tidelog_kafka_codec::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use tidelog_metadata_api::{
    CommitOffsets, CommittingMember, GroupName, GroupOffset, GroupsError, OpenTransaction,
    Participant, ProducerIdentity, TopicInfo, TransactionWork, TransactionalId,
};
use tidelog_runtime::access::Operation;
use tidelog_types::TopicPartition;

use super::classic::owned;
use super::commit::Committing;
use super::errors::group_code;
use crate::call::Call;
use crate::errors::Refusal;
use crate::transactions::{self, not_part_code};

/// The first version whose topics are named by ids.
const BY_ID_FROM: i16 = 6;
/// The first version whose clients take `COORDINATOR_LOAD_IN_PROGRESS` for what it is.
const LOADING_FROM: i16 = 2;

/// Who commits, and where.
struct Committer {
    id: TransactionalId,
    producer: ProducerIdentity,
    group: GroupName,
    member: CommittingMember,
}

/// Offsets that can be committed, and where their outcomes go: the topic and the partition in the answer.
#[derive(Debug, Default)]
struct Wanted {
    offsets: Vec<(TopicPartition, GroupOffset)>,
    places: Vec<(usize, usize)>,
}

impl Call {
    pub(crate) async fn txn_offset_commit(
        &self,
        mut request: TxnOffsetCommitRequest,
    ) -> TxnOffsetCommitResponse {
        let named = std::mem::take(&mut request.topics);
        let committer = self.committer(request);
        let found = match &committer {
            Ok(_) => {
                let topics = named.iter().map(|topic| (&topic.name, topic.topic_id));
                let is_by_id = self.version >= BY_ID_FROM;
                self.topics_of_offsets(Operation::Read, topics, is_by_id)
                    .await
            }
            Err(refusal) => vec![Err(refusal.clone()); named.len()],
        };
        let mut wanted = Wanted::default();
        let mut topics = Vec::with_capacity(named.len());
        for (topic, found) in named.into_iter().zip(found) {
            let at = topics.len();
            topics.push(self.transactional_topic(&found, topic, at, &mut wanted));
        }
        if let Ok(committer) = committer
            && !wanted.offsets.is_empty()
        {
            let outcomes = self.commit_in_transaction(committer, wanted.offsets).await;
            for ((topic, partition), code) in wanted.places.into_iter().zip(outcomes) {
                let topic = topics.get_mut(topic);
                if let Some(place) = topic.and_then(|topic| topic.partitions.get_mut(partition)) {
                    place.error_code = self.code(self.known(code));
                }
            }
        }
        TxnOffsetCommitResponse {
            topics,
            ..TxnOffsetCommitResponse::default()
        }
    }

    fn committer(&self, request: TxnOffsetCommitRequest) -> Result<Committer, Refusal> {
        Ok(Committer {
            id: self.transactional_id(&request.transactional_id)?,
            producer: transactions::producer(request.producer_id, request.producer_epoch),
            group: self.group(Operation::Read, &request.group_id)?,
            member: CommittingMember {
                member_id: request.member_id.to_string(),
                instance: owned(request.group_instance_id),
                epoch: request.generation_id_or_member_epoch,
            },
        })
    }

    /// The answer for a topic as far as it is known before anything is committed.
    fn transactional_topic(
        &self,
        found: &Result<Arc<TopicInfo>, Refusal>,
        topic: TxnOffsetCommitRequestTopic,
        at: usize,
        wanted: &mut Wanted,
    ) -> TxnOffsetCommitResponseTopic {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let offset = match found {
                Ok(topic) => Committing {
                    index: partition.partition_index,
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.as_deref(),
                }
                .check(topic),
                Err(refusal) => Err(refusal.clone()),
            };
            let code = offset.as_ref().err().map_or(ErrorCode::None, |it| it.code);
            if let Ok(offset) = offset {
                wanted.offsets.push(offset);
                wanted.places.push((at, partitions.len()));
            }
            partitions.push(TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: self.code(self.known(code)),
            });
        }
        TxnOffsetCommitResponseTopic {
            name: topic.name,
            topic_id: topic.topic_id,
            partitions,
        }
    }

    /// The group joins the transaction, and the offsets wait there for its end. A code for each offset.
    async fn commit_in_transaction(
        &self,
        committer: Committer,
        offsets: Vec<(TopicPartition, GroupOffset)>,
    ) -> Vec<ErrorCode> {
        let count = offsets.len();
        let Committer {
            id,
            producer,
            group,
            member,
        } = committer;
        let work = TransactionWork {
            id,
            producer,
            participants: BTreeSet::from([Participant::Group(group.clone())]),
        };
        let number = match self.join_transaction(work).await {
            Ok(joined) if joined.missing.is_empty() => joined.number,
            Ok(_) => return vec![not_part_code(self.key, self.version); count],
            Err(error) => {
                tracing::debug!(%error, "offsets did not join their transaction");
                return vec![transactions::commit_code(&error, self.version); count];
            }
        };
        let commit = CommitOffsets {
            group,
            member,
            offsets,
            transaction: Some(OpenTransaction { producer, number }),
        };
        match self.front.engine().groups().commit_offsets(commit).await {
            Ok(results) => {
                let codes = results.iter().map(|result| match result {
                    Ok(()) => ErrorCode::None,
                    Err(error) => offset_code(error),
                });
                codes.collect()
            }
            Err(error) => vec![offset_code(&error); count],
        }
    }

    /// The code as the version knows it.
    const fn known(&self, code: ErrorCode) -> ErrorCode {
        match code {
            ErrorCode::CoordinatorLoadInProgress if self.version < LOADING_FROM => {
                ErrorCode::CoordinatorNotAvailable
            }
            code => code,
        }
    }
}

/// Kafka's code for an error of a group, in the words of transactions: those of generations in all versions.
const fn offset_code(error: &GroupsError) -> ErrorCode {
    match error {
        GroupsError::GroupNotFound | GroupsError::StaleEpoch => ErrorCode::IllegalGeneration,
        // Somebody who is no member, while there are some.
        GroupsError::NotEmpty => ErrorCode::UnknownMemberId,
        GroupsError::TooLarge { .. } => ErrorCode::InvalidCommitOffsetSize,
        GroupsError::FencedProducer => ErrorCode::InvalidProducerEpoch,
        GroupsError::TransactionEnded => ErrorCode::InvalidTxnState,
        other => group_code(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_groups_have_names_that_producers_know() {
        let reason = String::new();
        for (error, name) in [
            (GroupsError::GroupNotFound, "ILLEGAL_GENERATION"),
            (GroupsError::StaleEpoch, "ILLEGAL_GENERATION"),
            (GroupsError::IllegalGeneration, "ILLEGAL_GENERATION"),
            (GroupsError::NotEmpty, "UNKNOWN_MEMBER_ID"),
            (GroupsError::UnknownMember, "UNKNOWN_MEMBER_ID"),
            (GroupsError::FencedInstance, "FENCED_INSTANCE_ID"),
            (
                GroupsError::TooLarge { reason },
                "INVALID_COMMIT_OFFSET_SIZE",
            ),
            (GroupsError::FencedProducer, "INVALID_PRODUCER_EPOCH"),
            (GroupsError::TransactionEnded, "INVALID_TXN_STATE"),
            (GroupsError::NotCoordinator, "NOT_COORDINATOR"),
        ] {
            assert_eq!(offset_code(&error).name(), name, "{error}");
        }
    }
}

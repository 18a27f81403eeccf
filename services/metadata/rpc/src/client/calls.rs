//! The seams of a remote process, call by call.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use tidelog_api::internal::v1;
use tidelog_metadata_api::{
    AbortedTransaction, ActiveProducer, Catalogue, CatalogueError, Cluster, ClusterError,
    ClusterView, CommitAnswer, CommitError, FencingToken, Log, LogError, LookupAnswer,
    LookupRequest, Member, Membership, NewTopic, NoticeStream, OffsetAnswer, OffsetQuery,
    PartitionBounds, ProducerIdentity, ReadToken, ShardCommit, TopicInfo, TopicPage, TopicSelector,
    TransactionMarker,
};
use tidelog_types::{
    ClusterGeneration, ClusterId, Incarnation, MemberId, Offset, OffsetRange, ProducerEpoch,
    ProducerId, SegmentName, SegmentSequence, TopicPartition,
};
use tokio::sync::watch;

use super::membership;
use super::node::RemoteNode;
use crate::rpc::Rpc;
use crate::settings::{LOOKUPS_TARGET, MARKERS_MESSAGE_MAX};
use crate::status::CallError;
use crate::wire::{
    WireError, aborted_from, active_from, bounds_from, located_from, log_failure_from, lookup_to,
    marker_results_from, marker_to, new_topic_to, offset_answer_from, page_from, partition_to,
    query_to, segment_to, selector_to, token_from, topic_from,
};

/// What the peer has answered makes no sense.
fn nonsense(error: impl Into<CallError>) -> LogError {
    error.into().into_log()
}

impl RemoteNode {
    async fn locate_few(&self, requests: &[LookupRequest]) -> Vec<Result<LookupAnswer, LogError>> {
        let lookups = requests.iter().map(lookup_to).collect();
        let mut client = self.peer.sequencer();
        let answer = self.peer.call(
            Rpc::Locate,
            v1::LocateRequest { lookups },
            |request| async move { client.locate(request).await },
        );
        let results = match answer.await {
            Ok(answer) => answer.results,
            Err(error) => {
                let error = error.into_log();
                return requests.iter().map(|_| Err(error.clone())).collect();
            }
        };
        let mut results = results.into_iter();
        let answers =
            requests
                .iter()
                .map(|_| match results.next().and_then(|result| result.result) {
                    Some(v1::locate_result::Result::Located(located)) => {
                        located_from(&located).map_err(nonsense)
                    }
                    Some(v1::locate_result::Result::Failure(failure)) => {
                        Err(log_failure_from(failure))
                    }
                    None => Err(nonsense(WireError::Missing("result"))),
                });
        answers.collect()
    }
}

impl RemoteNode {
    async fn end_some(&self, markers: &[TransactionMarker]) -> Vec<Result<(), LogError>> {
        let mut client = self.peer.sequencer();
        let message = v1::EndTransactionsRequest {
            markers: markers.iter().map(marker_to).collect(),
        };
        let answer = self
            .peer
            .call(Rpc::EndTransactions, message, |request| async move {
                client.end_transactions(request).await
            });
        match answer.await {
            Ok(answer) => marker_results_from(answer.results, markers.len()),
            Err(error) => {
                let error = error.into_log();
                markers.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }
}

#[async_trait]
impl Log for RemoteNode {
    fn cluster(&self) -> (ClusterId, ClusterGeneration) {
        self.identity
    }

    async fn register_writer(&self) -> Result<Incarnation, LogError> {
        let mut client = self.peer.writer();
        let message = v1::RegisterWriterRequest {};
        let answer = self
            .peer
            .call(Rpc::RegisterWriter, message, |request| async move {
                client.register_writer(request).await
            });
        let answer = answer.await.map_err(CallError::into_log)?;
        Ok(Incarnation::new(answer.incarnation))
    }

    fn commit(
        &self,
        commits: Vec<ShardCommit>,
    ) -> BoxFuture<'static, Vec<Result<CommitAnswer, CommitError>>> {
        self.pipe.commit(&commits)
    }

    async fn set_fencing_token(
        &self,
        partition: TopicPartition,
        expected: Option<FencingToken>,
        token: FencingToken,
    ) -> Result<ReadToken, LogError> {
        let mut client = self.peer.sequencer();
        let message = v1::SetFencingTokenRequest {
            partition: Some(partition_to(partition)),
            expected: expected.map(|token| token.as_bytes().clone()),
            fencing_token: token.as_bytes().clone(),
        };
        let answer = self
            .peer
            .call(Rpc::SetFencingToken, message, |request| async move {
                client.set_fencing_token(request).await
            });
        let answer = answer.await.map_err(CallError::into_log)?;
        token_from(&answer.token).map_err(nonsense)
    }

    async fn locate(&self, requests: &[LookupRequest]) -> Vec<Result<LookupAnswer, LogError>> {
        let parts = requests.chunks(LOOKUPS_TARGET);
        join_all(parts.map(|part| self.locate_few(part)))
            .await
            .into_iter()
            .flatten()
            .collect()
    }

    async fn bounds(&self, partition: TopicPartition) -> Result<PartitionBounds, LogError> {
        let request = LookupRequest {
            partition,
            offset: Offset::ZERO,
            bytes_max: 0,
            extents_max: 0,
        };
        Ok(self.lookup(request).await?.bounds)
    }

    async fn offset(
        &self,
        partition: TopicPartition,
        query: OffsetQuery,
    ) -> Result<OffsetAnswer, LogError> {
        let mut client = self.peer.sequencer();
        let (position, timestamp) = query_to(query);
        let message = v1::ResolveOffsetRequest {
            partition: Some(partition_to(partition)),
            position: position.into(),
            timestamp,
        };
        let answer = self
            .peer
            .call(Rpc::ResolveOffset, message, |request| async move {
                client.resolve_offset(request).await
            });
        let answer = answer.await.map_err(CallError::into_log)?;
        offset_answer_from(&answer).map_err(nonsense)
    }

    async fn delete_records(
        &self,
        partition: TopicPartition,
        before: Offset,
    ) -> Result<(PartitionBounds, ReadToken), LogError> {
        let mut client = self.peer.sequencer();
        let message = v1::DeleteRecordsRequest {
            partition: Some(partition_to(partition)),
            before: before.get(),
        };
        let answer = self
            .peer
            .call(Rpc::DeleteRecords, message, |request| async move {
                client.delete_records(request).await
            });
        let answer = answer.await.map_err(CallError::into_log)?;
        let bounds = bounds_from(answer.bounds).map_err(nonsense)?;
        Ok((bounds, token_from(&answer.token).map_err(nonsense)?))
    }

    async fn init_producer(&self) -> Result<ProducerIdentity, LogError> {
        let mut client = self.peer.writer();
        let message = v1::InitProducerRequest {};
        let answer = self
            .peer
            .call(Rpc::InitProducer, message, |request| async move {
                client.init_producer(request).await
            });
        let answer = answer.await.map_err(CallError::into_log)?;
        let out_of_range = |_| {
            nonsense(WireError::Range {
                field: "producer_epoch",
                value: u64::from(answer.producer_epoch.cast_unsigned()),
            })
        };
        let epoch = i16::try_from(answer.producer_epoch).map_err(out_of_range)?;
        Ok(ProducerIdentity {
            id: ProducerId::new(answer.producer_id),
            epoch: ProducerEpoch::new(epoch),
        })
    }

    async fn end_transactions(&self, markers: Vec<TransactionMarker>) -> Vec<Result<(), LogError>> {
        let parts = markers.chunks(MARKERS_MESSAGE_MAX);
        let ended = parts.map(|part| self.end_some(part));
        join_all(ended).await.into_iter().flatten().collect()
    }

    async fn aborted(
        &self,
        partition: TopicPartition,
        offsets: OffsetRange,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        let mut client = self.peer.sequencer();
        let message = v1::ListAbortedRequest {
            partition: Some(partition_to(partition)),
            base_offset: offsets.base.get(),
            next_offset: offsets.next.get(),
        };
        let answer = self
            .peer
            .call(Rpc::ListAborted, message, |request| async move {
                client.list_aborted(request).await
            });
        let answer = answer.await.map_err(CallError::into_log)?;
        let aborted = answer.transactions.into_iter().map(aborted_from);
        aborted.collect::<Result<_, _>>().map_err(nonsense)
    }

    async fn producers(&self, partition: TopicPartition) -> Result<Vec<ActiveProducer>, LogError> {
        let mut client = self.peer.sequencer();
        let message = v1::ListProducersRequest {
            partition: Some(partition_to(partition)),
        };
        let answer = self
            .peer
            .call(Rpc::ListProducers, message, |request| async move {
                client.list_producers(request).await
            });
        let answer = answer.await.map_err(CallError::into_log)?;
        let producers = answer.producers.into_iter().map(active_from);
        producers.collect::<Result<_, _>>().map_err(nonsense)
    }

    async fn inline_segment(&self, segment: SegmentName) -> Result<Option<Bytes>, LogError> {
        let mut client = self.peer.sequencer();
        let message = v1::ReadInlineRequest {
            segment: Some(segment_to(segment)),
        };
        let answer = self
            .peer
            .call(Rpc::ReadInline, message, |request| async move {
                client.read_inline(request).await
            });
        let answer = answer.await.map_err(CallError::into_log)?;
        Ok(answer.segment)
    }

    async fn raise_floor(
        &self,
        incarnation: Incarnation,
        floor: SegmentSequence,
    ) -> Result<(), LogError> {
        let mut client = self.peer.writer();
        let message = v1::RaiseFloorRequest {
            incarnation: incarnation.get(),
            floor: floor.get(),
        };
        let answer = self
            .peer
            .call(Rpc::RaiseFloor, message, |request| async move {
                client.raise_floor(request).await
            });
        answer.await.map(drop).map_err(CallError::into_log)
    }

    fn seen(&self) -> Vec<ReadToken> {
        self.following.seen()
    }

    async fn reached(&self, token: ReadToken) -> Result<(), LogError> {
        let within = self.peer.settings.request_timeout;
        let clock = self.peer.env.clock.as_ref();
        self.following.reached(clock, within, token).await
    }

    fn subscribe(&self) -> NoticeStream {
        self.following.subscribe()
    }
}

/// A call of the catalogue that names a topic and is answered with it.
macro_rules! about_topic {
    ($self:ident, $rpc:ident, $changes:literal, $method:ident, $message:expr) => {{
        let mut client = $self.peer.catalogue();
        let call = $self.peer.call(Rpc::$rpc, $message, |request| async move {
            client.$method(request).await
        });
        let answer = call.await.map_err(|error| error.into_catalogue($changes))?;
        topic_from(answer.topic).map_err(|error| CallError::from(error).into_catalogue($changes))
    }};
}

#[async_trait]
impl Catalogue for RemoteNode {
    async fn create_topic(&self, topic: NewTopic) -> Result<Arc<TopicInfo>, CatalogueError> {
        about_topic!(self, CreateTopic, true, create_topic, new_topic_to(topic))
    }

    async fn topic(&self, selector: &TopicSelector) -> Result<Arc<TopicInfo>, CatalogueError> {
        let selector = Some(selector_to(selector));
        let message = v1::GetTopicRequest { selector };
        about_topic!(self, GetTopic, false, get_topic, message)
    }

    async fn list_topics(
        &self,
        after: &[u8],
        count: usize,
        deleted: bool,
    ) -> Result<TopicPage, CatalogueError> {
        let mut client = self.peer.catalogue();
        let message = v1::ListTopicsRequest {
            after: after.to_vec().into(),
            count: u32::try_from(count).unwrap_or(u32::MAX),
            deleted,
        };
        let answer = self
            .peer
            .call(Rpc::ListTopics, message, |request| async move {
                client.list_topics(request).await
            });
        let answer = answer.await.map_err(|error| error.into_catalogue(false))?;
        page_from(answer).map_err(|error| CallError::from(error).into_catalogue(false))
    }

    async fn alter_topic_config(
        &self,
        selector: &TopicSelector,
        changes: BTreeMap<String, Option<String>>,
        validate_only: bool,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        let mut message = v1::AlterTopicConfigRequest {
            selector: Some(selector_to(selector)),
            validate_only,
            ..v1::AlterTopicConfigRequest::default()
        };
        for (key, value) in changes {
            match value {
                Some(value) => drop(message.set.insert(key, value)),
                None => message.reset.push(key),
            }
        }
        about_topic!(self, AlterTopicConfig, true, alter_topic_config, message)
    }

    async fn add_partitions(
        &self,
        selector: &TopicSelector,
        count: u32,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        let selector = Some(selector_to(selector));
        let message = v1::AddPartitionsRequest { selector, count };
        about_topic!(self, AddPartitions, true, add_partitions, message)
    }

    async fn delete_topic(
        &self,
        selector: &TopicSelector,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        let selector = Some(selector_to(selector));
        let message = v1::DeleteTopicRequest { selector };
        about_topic!(self, DeleteTopic, true, delete_topic, message)
    }

    async fn undelete_topic(
        &self,
        selector: &TopicSelector,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        let selector = Some(selector_to(selector));
        let message = v1::UndeleteTopicRequest { selector };
        about_topic!(self, UndeleteTopic, true, undelete_topic, message)
    }
}

#[async_trait]
impl Cluster for RemoteNode {
    fn watch(&self) -> watch::Receiver<Arc<ClusterView>> {
        self.view.subscribe()
    }

    async fn join(&self, member: Member) -> Result<Membership, ClusterError> {
        let peer = self.peer.clone();
        let env = &self.peer.env;
        let within = self.peer.settings.request_timeout;
        let peers = move || vec![peer.clone()];
        membership::join(env, self.stop.clone(), within, member, peers).await
    }

    async fn set_draining(&self, member: MemberId, draining: bool) -> Result<(), ClusterError> {
        let mut client = self.peer.cluster();
        let message = v1::SetDrainingRequest {
            member_id: member.to_bytes().to_vec().into(),
            draining,
        };
        let answer = self
            .peer
            .call(Rpc::SetDraining, message, |request| async move {
                client.set_draining(request).await
            });
        answer.await.map(drop).map_err(CallError::into_cluster)
    }
}

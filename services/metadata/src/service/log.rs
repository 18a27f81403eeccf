//! What the service offers to brokers: commits, lookups, offsets, numbers.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all, ready};
use tidelog_metadata_api::{
    AbortedTransaction, ActiveProducer, CommitAnswer, CommitError, FencingToken, Log, LogError,
    LookupAnswer, LookupRequest, NoticeStream, OffsetAnswer, OffsetQuery, PartitionBounds,
    ProducerIdentity, ReadToken, ShardCommit, TransactionMarker,
};
use tidelog_store::{ReadMode, TransactError, transact};
use tidelog_types::{
    ClusterGeneration, ClusterId, Incarnation, Offset, OffsetRange, ProducerEpoch, SegmentName,
    SegmentSequence, TopicPartition,
};

use super::{Inner, MetadataService};
use crate::catalogue::RETRY;
use crate::keyspace::{Counter, FloorRow, InlineRow};
use crate::numbers::{log_error, transact_error};
use crate::ownership::OutOfTouch as _;

#[async_trait]
impl Log for MetadataService {
    fn cluster(&self) -> (ClusterId, ClusterGeneration) {
        (self.inner.cluster.id, self.inner.cluster.generation)
    }

    async fn register_writer(&self) -> Result<Incarnation, LogError> {
        let taking = self.inner.take_numbers(Counter::Incarnation, 1);
        let taken = self.inner.touch.answer(taking).await?;
        self.inner.members.note_writer();
        Ok(Incarnation::new(taken))
    }

    fn commit(
        &self,
        commits: Vec<ShardCommit>,
    ) -> BoxFuture<'static, Vec<Result<CommitAnswer, CommitError>>> {
        let touch = &self.inner.touch;
        let is_lost = touch.is_lost();
        let answers = commits.into_iter().map(|commit| {
            if is_lost {
                return ready(Err(CommitError::out_of_touch())).boxed();
            }
            match self.inner.shards.get(commit.manifest.shard) {
                Ok(sequencer) => {
                    // What becomes of one that is under way when the store is lost the next owner knows, or
                    // this one later.
                    let (touch, answer) = (touch.clone(), sequencer.commit(commit));
                    async move {
                        let answer = touch.while_kept(answer).await;
                        answer.unwrap_or(Err(CommitError::Unknown))
                    }
                    .boxed()
                }
                Err(reason) => ready(Err(CommitError::from(reason))).boxed(),
            }
        });
        // Collected now, so that every commit is in its mailbox before the future is first polled.
        let answers: Vec<_> = answers.collect();
        join_all(answers).boxed()
    }

    async fn set_fencing_token(
        &self,
        partition: TopicPartition,
        expected: Option<FencingToken>,
        token: FencingToken,
    ) -> Result<ReadToken, LogError> {
        let setting = async {
            let sequencer = self.inner.sequencer(partition).await?;
            sequencer
                .set_fencing_token(partition, expected, token)
                .await
        };
        let unknown = LogError::out_of_touch();
        self.inner.touch.change(unknown, setting).await
    }

    async fn locate(&self, requests: &[LookupRequest]) -> Vec<Result<LookupAnswer, LogError>> {
        let count = u64::try_from(requests.len()).unwrap_or(u64::MAX);
        self.inner.lookups.fetch_add(count, Ordering::Relaxed);
        let located = self.inner.touch.while_kept(self.inner.locate(requests));
        let lost = || requests.iter().map(|_| Err(LogError::out_of_touch()));
        located.await.unwrap_or_else(|| lost().collect())
    }

    async fn bounds(&self, partition: TopicPartition) -> Result<PartitionBounds, LogError> {
        let bounds = async {
            let sequencer = self.inner.sequencer(partition).await?;
            Ok(self.inner.shown(&sequencer, partition).await?.bounds)
        };
        self.inner.touch.answer(bounds).await
    }

    async fn offset(
        &self,
        partition: TopicPartition,
        query: OffsetQuery,
    ) -> Result<OffsetAnswer, LogError> {
        let offset = self.inner.offset(partition, query);
        self.inner.touch.answer(offset).await
    }

    async fn delete_records(
        &self,
        partition: TopicPartition,
        before: Offset,
    ) -> Result<(PartitionBounds, ReadToken), LogError> {
        let deleting = async {
            let sequencer = self.inner.sequencer(partition).await?;
            let token = sequencer.delete_records(partition, before).await?;
            let shown = self.inner.shown(&sequencer, partition).await?;
            Ok((shown.bounds, token))
        };
        let unknown = LogError::out_of_touch();
        self.inner.touch.change(unknown, deleting).await
    }

    async fn init_producer(&self) -> Result<ProducerIdentity, LogError> {
        self.inner.touch.answer(self.inner.init_producer()).await
    }

    async fn end_transactions(&self, markers: Vec<TransactionMarker>) -> Vec<Result<(), LogError>> {
        let count = markers.len();
        if self.inner.touch.is_lost() {
            return out_of_touch(count);
        }
        let ending = self.inner.end_transactions(markers);
        let ended = self.inner.touch.while_kept(ending).await;
        ended.unwrap_or_else(|| out_of_touch(count))
    }

    async fn aborted(
        &self,
        partition: TopicPartition,
        offsets: OffsetRange,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        let aborted = self.inner.aborted(partition, offsets);
        self.inner.touch.answer(aborted).await
    }

    async fn producers(&self, partition: TopicPartition) -> Result<Vec<ActiveProducer>, LogError> {
        let producers = self.inner.producers(partition);
        self.inner.touch.answer(producers).await
    }

    async fn raise_floor(
        &self,
        incarnation: Incarnation,
        floor: SegmentSequence,
    ) -> Result<(), LogError> {
        let raising = self.inner.raise_floor(incarnation, floor);
        self.inner.touch.answer(raising).await
    }

    async fn inline_segment(&self, segment: SegmentName) -> Result<Option<Bytes>, LogError> {
        self.inner.touch.answer(self.inner.inline(segment)).await
    }

    fn seen(&self) -> Vec<ReadToken> {
        let generation = self.inner.cluster.generation;
        let sequencers = self.inner.shards.all().into_iter();
        let seen = sequencers.map(|(shard, sequencer)| ReadToken {
            generation,
            shard,
            group: sequencer.view().read().group,
        });
        seen.collect()
    }

    async fn reached(&self, token: ReadToken) -> Result<(), LogError> {
        if token.generation != self.inner.cluster.generation {
            // A token of another life of the cluster promises nothing in this one.
            return Ok(());
        }
        let sequencer = self.inner.shards.get(token.shard)?;
        let reached = sequencer.reached(token.group);
        self.inner.touch.answer(reached).await
    }

    fn subscribe(&self) -> NoticeStream {
        NoticeStream::new(self.inner.notices.subscribe())
    }
}

/// Of markers that were under way nobody knows; all are to be sent again.
fn out_of_touch(count: usize) -> Vec<Result<(), LogError>> {
    (0..count).map(|_| Err(LogError::out_of_touch())).collect()
}

impl Inner {
    /// A segment in the store, by snapshot: whoever knows of it knows of a commit that is durable. Its bytes are given out
    /// as they are: whoever takes some proves them, and tells what is lost if they are damaged (invariant I6).
    pub(super) async fn inline(&self, segment: SegmentName) -> Result<Option<Bytes>, LogError> {
        let key = self.keys.inline(segment);
        let mut transaction = self.store.begin().await.map_err(log_error)?;
        let value = transaction.get(&key, ReadMode::Snapshot).await;
        // A copy, so that whoever keeps it keeps nothing else of the store.
        let copy = |value| Bytes::copy_from_slice(&InlineRow::unproven(value));
        Ok(value.map_err(log_error)?.map(copy))
    }

    async fn init_producer(&self) -> Result<ProducerIdentity, LogError> {
        let id = self.producer_ids.take().await?;
        Ok(ProducerIdentity {
            id,
            epoch: ProducerEpoch::new(0),
        })
    }

    async fn raise_floor(
        &self,
        incarnation: Incarnation,
        floor: SegmentSequence,
    ) -> Result<(), LogError> {
        let key = self.keys.floor(incarnation);
        transact(self.store.as_ref(), &self.env, RETRY, |mut transaction| {
            let key = key.clone();
            async move {
                self.generation.check(transaction.as_mut()).await?;
                let value = transaction.get(&key, ReadMode::Serializable).await?;
                let before = value.map(FloorRow::decode).transpose().map_err(|error| {
                    TransactError::Abort(LogError::Corrupt {
                        reason: error.to_string(),
                    })
                })?;
                if before.is_none_or(|row| row.floor < floor) {
                    transaction.put(key, FloorRow { floor }.encode());
                }
                Ok((transaction, ()))
            }
        })
        .await
        .map_err(transact_error)?;
        self.deletion.signal().tell();
        Ok(())
    }
}

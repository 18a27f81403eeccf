//! Where the reading of partitions begins that a member has got.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use tidelog_api::ApiError;
use tidelog_broker_engine::{FetchError, FoundOffset};
use tidelog_metadata_api::{
    CommitOffsets, CommittingMember, FetchOffsets, GroupOffset, OffsetQuery,
};
use tidelog_runtime::access::{Caller, Operation, Resource};
use tidelog_types::{ErrorCode, Offset, TopicPartition};

use super::wish::Wish;
use crate::errors::{fetch_error, log_error};
use crate::front::{Front, ONE_REQUEST};
use crate::groups::Topics;

/// Partitions whose offsets are looked for at a time.
const OFFSETS_AT_ONCE: usize = 16;

/// What was found out of a partition.
#[derive(Clone, Debug)]
pub(super) enum Start {
    /// Reading begins here.
    At(Arc<str>, Offset),
    /// It cannot be read.
    Refused(Arc<str>, ApiError),
    /// The topic is not there any more: the coordinator will take the partition away.
    Gone,
    /// It is not known now.
    Later,
}

/// Finds out where to begin.
pub(super) struct Starter {
    pub(super) front: Front,
    pub(super) caller: Caller,
    pub(super) wish: Arc<Wish>,
    pub(super) member: CommittingMember,
}

/// A partition of a topic that is there and may be read.
struct Known {
    at: TopicPartition,
    topic: Arc<str>,
    /// What was committed.
    committed: Option<Offset>,
}

impl Starter {
    /// Each partition is looked for by its committed offset, or not by that.
    pub(super) async fn find(
        self,
        wanted: Vec<(TopicPartition, bool)>,
    ) -> Vec<(TopicPartition, Start)> {
        let mut found = Vec::with_capacity(wanted.len());
        let mut known = Vec::with_capacity(wanted.len());
        let mut topics = BTreeMap::new();
        for (at, is_reset) in wanted {
            let topic = topics.entry(at.topic);
            let topic = match topic {
                std::collections::btree_map::Entry::Occupied(topic) => topic.into_mut(),
                std::collections::btree_map::Entry::Vacant(topic) => {
                    topic.insert(self.topic(at).await)
                }
            };
            match topic {
                Ok(topic) => known.push((at, Arc::clone(topic), is_reset)),
                Err(start) => found.push((at, start.clone())),
            }
        }
        let (known, later) = self.committed(known).await;
        found.extend(later.into_iter().map(|at| (at, Start::Later)));
        found.extend(self.resolved(known).await);
        found
    }

    /// The topic of a partition, if it is there and the caller may read it.
    async fn topic(&self, at: TopicPartition) -> Result<Arc<str>, Start> {
        let found = Topics::default().live(&self.front, at.topic).await;
        let topic = found.map_err(|_| Start::Later)?.ok_or(Start::Gone)?;
        let name: Arc<str> = topic.name.as_str().into();
        let on = Resource::Topic(&name);
        let allowed = self
            .front
            .allow(&self.caller, Operation::Read, on, ONE_REQUEST);
        match allowed.await {
            Ok(()) => Ok(name),
            Err(error) if error.is_retriable() => Err(Start::Later),
            Err(error) => Err(Start::Refused(name, error)),
        }
    }

    /// The committed offsets, and the partitions whose offset is not known now: the coordinator does not say, or an open
    /// transaction may change it.
    async fn committed(
        &self,
        wanted: Vec<(TopicPartition, Arc<str>, bool)>,
    ) -> (Vec<Known>, Vec<TopicPartition>) {
        let mut known = Vec::with_capacity(wanted.len());
        let mut later = Vec::new();
        if wanted.is_empty() {
            return (known, later);
        }
        let request = FetchOffsets {
            group: self.wish.group.clone(),
            member: None,
            partitions: Some(wanted.iter().map(|(at, ..)| *at).collect()),
            only_stable: true,
        };
        let groups = self.front.engine().groups();
        let answer = groups.fetch_offsets(vec![request]).await.pop();
        let offsets = answer.and_then(Result::ok).unwrap_or_default();
        let mut offsets: BTreeMap<_, _> = offsets.into_iter().collect();
        for (at, topic, is_reset) in wanted {
            let Some(Ok(committed)) = offsets.remove(&at) else {
                later.push(at);
                continue;
            };
            let committed = committed.filter(|_| !is_reset).map(|it| it.offset.offset);
            known.push(Known {
                at,
                topic,
                committed,
            });
        }
        (known, later)
    }

    /// Where to begin in each partition. Where that is at the end of what there is, it is committed, so that whoever
    /// gets the partition later begins there and misses nothing that came in between.
    async fn resolved(&self, known: Vec<Known>) -> Vec<(TopicPartition, Start)> {
        let starts = futures::stream::iter(known).map(|known| async move {
            let start = self.resolve(&known).await;
            (known, start)
        });
        let mut starts: Vec<(Known, Start)> = starts.buffered(OFFSETS_AT_ONCE).collect().await;
        if self.wish.reset == Some(OffsetQuery::Latest) {
            self.commit(&mut starts).await;
        }
        let starts = starts.into_iter();
        starts.map(|(known, start)| (known.at, start)).collect()
    }

    async fn resolve(&self, known: &Known) -> Start {
        let topic = Arc::clone(&known.topic);
        if let Some(committed) = known.committed {
            return Start::At(topic, committed);
        }
        let error = match self.wish.reset {
            Some(query) => match self.offset(known.at, query).await {
                Ok(found) => {
                    let offset = found.map(|found| found.offset);
                    return Start::At(topic, offset.unwrap_or_default());
                }
                Err(error) => fetch_error(&error),
            },
            None => match self.front.engine().bounds(known.at).await {
                Ok(bounds) => {
                    let message = "no offset is committed that is there, and the subscriber does \
                                   not say where to begin: seek";
                    ApiError::new(ErrorCode::OffsetOutOfRange, message)
                        .with("log_start_offset", &bounds.log_start)
                        .with("high_watermark", &bounds.high_watermark)
                }
                Err(error) => log_error(&error),
            },
        };
        match error.code {
            ErrorCode::UnknownTopic | ErrorCode::UnknownPartition => Start::Gone,
            _ if error.is_retriable() => Start::Later,
            _ => Start::Refused(topic, error),
        }
    }

    async fn offset(
        &self,
        at: TopicPartition,
        query: OffsetQuery,
    ) -> Result<Option<FoundOffset>, FetchError> {
        let engine = self.front.engine();
        engine.offset(at, query, self.wish.isolation).await
    }

    async fn commit(&self, starts: &mut [(Known, Start)]) {
        let chosen = starts.iter_mut().filter_map(|(known, start)| match start {
            Start::At(_, offset) if known.committed.is_none() => Some((known.at, *offset, start)),
            _ => None,
        });
        let chosen: Vec<_> = chosen.collect();
        if chosen.is_empty() {
            return;
        }
        let offsets = chosen.iter().map(|(at, offset, _)| {
            let offset = GroupOffset {
                offset: *offset,
                leader_epoch: None,
                metadata: String::new(),
            };
            (*at, offset)
        });
        let commit = CommitOffsets {
            group: self.wish.group.clone(),
            member: self.member.clone(),
            offsets: offsets.collect(),
            transaction: None,
        };
        let groups = self.front.engine().groups();
        let committed = groups.commit_offsets(commit).await;
        let mut committed = committed.unwrap_or_default().into_iter();
        for (_, _, start) in chosen {
            if !matches!(committed.next(), Some(Ok(()))) {
                *start = Start::Later;
            }
        }
    }
}

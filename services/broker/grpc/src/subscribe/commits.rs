//! Commits in the order in which the client sends them, and what waits for them. No I/O.

use std::collections::{BTreeMap, HashSet, VecDeque};

use tidelog_api::{ApiError, v1};
use tidelog_broker_engine::MemoryHold;
use tidelog_metadata_api::{GroupOffset, GroupsError};
use tidelog_types::{ErrorCode, Offset, TopicPartition};

use crate::errors::member_error;
use crate::settings::REQUEST_PARTITIONS_MAX;

/// Messages that wait. Beyond it nothing more is read from the client.
pub(super) const WAITING_MAX: usize = 8;

/// What a client has said, and is done in its order.
#[derive(Debug)]
pub(super) enum Said {
    Commit(Commit),
    /// Partitions are let go of, once what was committed before is durable.
    Release(u64),
}

/// A commit of the client.
#[derive(Debug)]
pub(super) struct Commit {
    correlation_id: u64,
    offsets: Vec<v1::SubscribeOffset>,
    /// Memory of it and its answer.
    hold: Option<MemoryHold>,
}

impl Commit {
    /// Checks what a client sent.
    pub(super) fn new(
        commit: v1::SubscribeCommit,
        hold: Option<MemoryHold>,
    ) -> Result<Self, ApiError> {
        let offsets = commit.offsets;
        if offsets.len() > REQUEST_PARTITIONS_MAX {
            let message = format!("a commit has at most {REQUEST_PARTITIONS_MAX} partitions");
            return Err(ApiError::invalid(message));
        }
        let mut seen = HashSet::with_capacity(offsets.len());
        for offset in &offsets {
            let (topic, partition) = (&offset.topic, offset.partition);
            if !seen.insert((topic, partition)) {
                let message =
                    format!("partition `{partition}` of topic `{topic}` stands there twice");
                return Err(ApiError::invalid(message));
            }
            if offset.offset > Offset::MAX.get() {
                return Err(ApiError::invalid("no offset is that large"));
            }
        }
        Ok(Self {
            correlation_id: commit.correlation_id,
            offsets,
            hold,
        })
    }
}

/// Commits that are carried out together.
#[derive(Debug)]
pub(super) struct Batch {
    commits: Vec<(Commit, Vec<Option<TopicPartition>>)>,
    /// The last offset of each partition.
    offsets: BTreeMap<TopicPartition, GroupOffset>,
    /// How often it was sent.
    pub(super) tries: u32,
}

/// An answer to a commit, and the memory of it.
pub(super) type Answered = (v1::SubscribeCommitted, Option<MemoryHold>);

/// What happened to all offsets of a batch, in their order.
pub(super) type Outcome = Result<Vec<Result<(), GroupsError>>, GroupsError>;

impl Batch {
    /// What to commit.
    pub(super) fn offsets(&self) -> Vec<(TopicPartition, GroupOffset)> {
        let offsets = self.offsets.iter();
        offsets.map(|(at, offset)| (*at, offset.clone())).collect()
    }

    /// One answer for each commit.
    pub(super) fn answered(self, outcome: Outcome) -> Vec<Answered> {
        let outcomes = match outcome {
            Ok(outcomes) => outcomes,
            Err(error) => vec![Err(error); self.offsets.len()],
        };
        let failed = self.offsets.keys().zip(outcomes);
        let failed: BTreeMap<_, _> = failed
            .filter_map(|(at, outcome)| Some((*at, outcome.err()?)))
            .collect();
        let answers = self.commits.into_iter().map(|(commit, places)| {
            let offsets = commit.offsets.into_iter().zip(places);
            let failed = offsets.filter_map(|(offset, at)| {
                let error = match at {
                    None => not_held(&offset.topic, offset.partition),
                    Some(at) => member_error(failed.get(&at)?),
                };
                Some(v1::SubscribeNotCommitted {
                    topic: offset.topic,
                    partition: offset.partition,
                    error: Some(error.to_proto()),
                })
            });
            let committed = v1::SubscribeCommitted {
                correlation_id: commit.correlation_id,
                failed: failed.collect(),
            };
            (committed, commit.hold)
        });
        answers.collect()
    }
}

/// What a client hears that speaks of a partition that it has not.
pub(super) fn not_held(topic: &str, partition: u32) -> ApiError {
    let message =
        format!("partition `{partition}` of topic `{topic}` is not this member's, or not any more");
    ApiError::new(ErrorCode::Fenced, message)
}

/// What is next.
#[derive(Debug)]
pub(super) enum Next {
    /// Commits to carry out.
    Batch(Batch),
    /// Partitions to let go of.
    Release(u64),
}

/// What waits, in order.
#[derive(Debug, Default)]
pub(super) struct Commits {
    waiting: VecDeque<Said>,
}

impl Commits {
    pub(super) fn push(&mut self, said: Said) {
        self.waiting.push_back(said);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the client has to wait before it can say more.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    /// What to do next: a release, or all commits up to the next one together.
    pub(super) fn next(
        &mut self,
        find: impl Fn(&str, u32) -> Option<TopicPartition>,
    ) -> Option<Next> {
        let mut batch = Batch {
            commits: Vec::new(),
            offsets: BTreeMap::new(),
            tries: 0,
        };
        while let Some(said) = self.waiting.pop_front() {
            match said {
                Said::Release(id) if batch.commits.is_empty() => return Some(Next::Release(id)),
                Said::Release(_) => {
                    self.waiting.push_front(said);
                    break;
                }
                Said::Commit(commit) => batch.add(commit, &find),
            }
        }
        (!batch.commits.is_empty()).then_some(Next::Batch(batch))
    }
}

impl Batch {
    fn add(&mut self, commit: Commit, find: impl Fn(&str, u32) -> Option<TopicPartition>) {
        let mut places = Vec::with_capacity(commit.offsets.len());
        for offset in &commit.offsets {
            let at = find(&offset.topic, offset.partition);
            places.push(at);
            let Some(at) = at else {
                continue;
            };
            let offset = GroupOffset {
                offset: Offset::new(offset.offset),
                leader_epoch: None,
                metadata: offset.metadata.clone(),
            };
            self.offsets.insert(at, offset);
        }
        self.commits.push((commit, places));
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::{PartitionIndex, TopicNumber};

    use super::*;

    fn commit(id: u64, offsets: &[(u32, u64)]) -> Said {
        let offsets = offsets
            .iter()
            .map(|(partition, offset)| v1::SubscribeOffset {
                topic: "t".to_owned(),
                partition: *partition,
                offset: *offset,
                ..v1::SubscribeOffset::default()
            });
        let commit = v1::SubscribeCommit {
            correlation_id: id,
            offsets: offsets.collect(),
        };
        Said::Commit(Commit::new(commit, None).unwrap())
    }

    /// The member has partitions 0 and 1.
    fn find(_: &str, partition: u32) -> Option<TopicPartition> {
        let index = PartitionIndex::new(partition);
        (partition < 2).then(|| TopicPartition::new(TopicNumber::new(1), index))
    }

    fn batch(commits: &mut Commits) -> Batch {
        match commits.next(find) {
            Some(Next::Batch(batch)) => batch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_waits_is_committed_together_and_the_last_offset_counts() {
        let mut commits = Commits::default();
        commits.push(commit(1, &[(0, 5), (1, 5)]));
        commits.push(commit(2, &[(0, 7), (9, 1)]));
        let batch = batch(&mut commits);
        let offsets: Vec<_> = batch
            .offsets()
            .into_iter()
            .map(|(_, it)| it.offset.get())
            .collect();
        assert_eq!(offsets, [7, 5]);
        let answers = batch.answered(Ok(vec![Ok(()), Err(GroupsError::StaleEpoch)]));
        let failed = answers.into_iter().map(|(answer, _)| {
            let failed = answer.failed.iter().map(|it| it.partition).collect();
            (answer.correlation_id, failed)
        });
        let expected: [(u64, Vec<u32>); 2] = [(1, vec![1]), (2, vec![9])];
        assert_eq!(failed.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn partitions_are_let_go_of_after_what_was_committed_before_and_not_after_more() {
        let mut commits = Commits::default();
        commits.push(commit(1, &[(0, 5)]));
        commits.push(Said::Release(3));
        commits.push(commit(2, &[(1, 6)]));
        assert_eq!(batch(&mut commits).answered(Ok(vec![Ok(())])).len(), 1);
        assert!(matches!(commits.next(find), Some(Next::Release(3))));
        assert_eq!(batch(&mut commits).answered(Ok(vec![Ok(())])).len(), 1);
        assert!(commits.next(find).is_none());
    }

    #[test]
    fn a_partition_stands_in_a_commit_once_and_offsets_are_such_as_can_be() {
        let twice = v1::SubscribeCommit {
            offsets: vec![v1::SubscribeOffset::default(); 2],
            ..v1::SubscribeCommit::default()
        };
        assert!(Commit::new(twice, None).is_err());
        let large = v1::SubscribeCommit {
            offsets: vec![v1::SubscribeOffset {
                offset: u64::MAX,
                ..v1::SubscribeOffset::default()
            }],
            ..v1::SubscribeCommit::default()
        };
        assert!(Commit::new(large, None).is_err());
    }
}

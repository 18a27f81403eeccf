//! Goes through all that was found, topic by topic: first it is decided what becomes of every log, then rows are written.

use std::collections::BTreeMap;
use std::ops::Bound;

use tidelog_metadata_api::{PartitionCount, TopicConfig, TopicInfo, TopicState};
use tidelog_types::{
    PartitionIndex, ProducerEpoch, ProducerId, SegmentName, TopicName, TopicNumber, TopicPartition,
};

use super::append::Appended;
use super::found::{FoundPartition, FoundTopic};
use super::write::Rows;
use super::{RebuildError, Rebuilding, RebuiltPartition};
use crate::backup::{Change, RestoreError};
use crate::keyspace::{ClusterRow, Counter, NumberRow, RestoreRow, RowError, TopicRow};

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Topics that are newer than the backup.
    pub(super) topics: Vec<TopicName>,
    /// Topics of which something was found and that are purged.
    pub(super) purged: Vec<TopicName>,
    pub(super) partitions: Vec<RebuiltPartition>,
    pub(super) appended: Appended,
    /// Transactional ids whose producers were given a higher epoch.
    pub(super) raised: u64,
    /// Segments that say of a topic what cannot be.
    pub(super) unreadable: Vec<(SegmentName, String)>,
    /// The highest epochs that transactional producers have in what was found.
    pub(super) epochs: BTreeMap<ProducerId, ProducerEpoch>,
}

/// A topic that something was found of.
pub(super) struct Topic {
    pub(super) info: TopicInfo,
    row: TopicRow,
    /// A segment that tells of it, if a merged one does.
    segment: Option<SegmentName>,
    /// Whether the backup has it not.
    is_new: bool,
}

/// What becomes of a topic.
enum Fate {
    Kept(Box<Topic>),
    /// It was purged, or is to be.
    Purged(TopicName),
    /// No name of it is known: only what was not merged tells of it.
    Nameless,
    /// No cluster has ever given out its number.
    Impossible(SegmentName),
}

impl Topic {
    pub(super) const fn name(&self) -> &TopicName {
        &self.info.name
    }

    /// What was found of a partition must be of its shard.
    fn check_shard(
        &self,
        partition: TopicPartition,
        found: &FoundPartition,
    ) -> Result<(), RebuildError> {
        let known = self.info.kept_partition(partition.partition);
        match found.shard {
            Some((shard, segment))
                if found.contradicts || known.is_none_or(|known| known.shard != shard) =>
            {
                Err(self.differs("shard", segment))
            }
            _ => Ok(()),
        }
    }

    fn differs(&self, what: &'static str, segment: SegmentName) -> RebuildError {
        RebuildError::Topic {
            segment: self.segment.unwrap_or(segment),
            topic: self.info.name.clone(),
            what,
        }
    }
}

impl Rebuilding<'_> {
    /// Decides everything before the first row is written, then reads and writes partition by partition.
    pub(super) async fn run(&self, restore: RestoreRow) -> Result<Log, RebuildError> {
        let cluster = self.pages.value(self.keys.cluster()).await?;
        let cluster = ClusterRow::decode(cluster.ok_or(missing("cluster"))?)?;
        let mut log = Log::default();
        let numbers = self.numbers();
        for number in &numbers {
            match self.topic(*number, cluster).await? {
                Fate::Kept(topic) => {
                    for (partition, found) in self.partitions(*number) {
                        topic.check_shard(partition, found)?;
                        let standing = self.standing(partition).await?;
                        self.decide(&topic, partition, found, &standing).await?;
                    }
                }
                Fate::Purged(name) => {
                    log.appended.nameless += self.unmerged(*number);
                    log.purged.push(name);
                }
                Fate::Nameless => log.appended.nameless += self.unmerged(*number),
                Fate::Impossible(segment) => {
                    let fault = format!("no topic has ever had the number `{number}`");
                    log.unreadable.push((segment, fault));
                }
            }
        }
        let mut rows = Rows::begin(self, restore).await?;
        for number in numbers {
            if let Fate::Kept(topic) = self.topic(number, cluster).await? {
                self.write(*topic, &mut log, &mut rows).await?;
            }
        }
        log.raised = self.raise_epochs(&log.epochs, &mut rows).await?;
        rows.finish().await?;
        Ok(log)
    }

    async fn write(
        &self,
        topic: Topic,
        log: &mut Log,
        rows: &mut Rows<'_>,
    ) -> Result<(), RebuildError> {
        for (partition, found) in self.partitions(topic.info.number) {
            self.extend(&topic, (partition, found), log, rows).await?;
        }
        let Topic { row, is_new, .. } = topic;
        if is_new {
            log.topics.push(row.name().clone());
            rows.push(Change::Topic(Box::new(row))).await
        } else {
            let key = self.keys.topic(row.number());
            rows.push(Change::Put(key, row.encode())).await
        }
    }

    /// The topics of what was found.
    fn numbers(&self) -> Vec<TopicNumber> {
        let mut numbers: Vec<TopicNumber> = Vec::new();
        for partition in self.found.partitions.keys() {
            if numbers.last() != Some(&partition.topic) {
                numbers.push(partition.topic);
            }
        }
        numbers
    }

    /// What was found of a topic.
    fn partitions(
        &self,
        topic: TopicNumber,
    ) -> impl Iterator<Item = (TopicPartition, &FoundPartition)> {
        let at = |index| TopicPartition::new(topic, PartitionIndex::new(index));
        let range = (Bound::Included(at(0)), Bound::Included(at(u32::MAX)));
        let found = self.found.partitions.range(range);
        found.map(|(partition, found)| (*partition, found))
    }

    /// Records of a topic that were not merged, if they were to be appended.
    fn unmerged(&self, topic: TopicNumber) -> u64 {
        let found = self.partitions(topic);
        let found = found.filter(|(_, found)| !found.unmerged.is_empty());
        let records = &self.found.unmerged.records;
        found.filter_map(|(at, _)| records.get(&at)).sum()
    }

    async fn topic(&self, number: TopicNumber, cluster: ClusterRow) -> Result<Fate, RebuildError> {
        let found = self.found.topics.get(&number);
        let value = self.pages.value(self.keys.topic(number)).await?;
        let Some(value) = value else {
            let Some(found) = found else {
                return Ok(Fate::Nameless);
            };
            return self.new_topic(number, found, cluster).await;
        };
        let mut row = TopicRow::decode(value)?;
        if matches!(row.state(), TopicState::Purging { .. }) {
            return Ok(Fate::Purged(row.name().clone()));
        }
        if let Some(found) = found {
            if row.info().id != found.id {
                return Err(found.differs("id"));
            }
            if row.partition_count() < found.partition_count {
                row.grow(found.count(), cluster.shards);
            }
        }
        Ok(Fate::Kept(Box::new(Topic {
            info: row.info(),
            row,
            segment: found.map(|found| found.segment),
            is_new: false,
        })))
    }

    /// A topic that the backup does not have: it is newer, or was purged before, and what there is of it waits to go.
    async fn new_topic(
        &self,
        number: TopicNumber,
        found: &FoundTopic,
        cluster: ClusterRow,
    ) -> Result<Fate, RebuildError> {
        if number.get() <= self.before.topics {
            return Ok(Fate::Purged(found.name.clone()));
        }
        let last = self.keys.counter(Counter::TopicNumber);
        let last = self.pages.value(last).await?.map(NumberRow::decode);
        if last.transpose()?.is_none_or(|last| last.0 < number.get()) {
            return Ok(Fate::Impossible(found.segment));
        }
        let (config, shards) = (TopicConfig::default(), cluster.shards);
        let name = found.name.clone();
        let row = TopicRow::new(found.id, number, name, found.count(), shards, &config);
        Ok(Fate::Kept(Box::new(Topic {
            info: row.info(),
            row,
            segment: Some(found.segment),
            is_new: true,
        })))
    }
}

impl FoundTopic {
    const fn count(&self) -> PartitionCount {
        PartitionCount {
            count: self.partition_count,
            since: self.since,
        }
    }

    fn differs(&self, what: &'static str) -> RebuildError {
        RebuildError::Topic {
            segment: self.segment,
            topic: self.name.clone(),
            what,
        }
    }
}

pub(super) fn missing(kind: &'static str) -> RebuildError {
    let what = "it is not there";
    RestoreError::Row(RowError { kind, what }).into()
}

//! The topics of what a backup has. They are read after the partitions, and may be purged while it is taken: then what it
//! has of them must not be left without a topic.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidelog_metadata_api::TopicState;
use tidelog_store::{RowSource, StoreError};
use tidelog_types::{Timestamp, TopicNumber};

use super::error::TakeError;
use super::scan::{Pages, Rest, Row};
use super::take::Taking;
use crate::keyspace::{KeyKind, Keyspace, RowError, TopicRow};

/// The rows of topics as they were when they were looked for; nothing for those that were gone.
#[derive(Debug, Default)]
pub(super) struct Topics(BTreeMap<TopicNumber, Option<Bytes>>);

impl Topics {
    /// Those of some rows whose topics are there, which are looked for after the rows were read. `topic_of`: the topic in
    /// a key.
    pub(super) async fn with_topics<R: RowSource + ?Sized>(
        &mut self,
        pages: &Pages<'_, R>,
        keys: Keyspace,
        mut rows: Vec<Row>,
        topic_of: impl Fn(&[u8]) -> Option<TopicNumber>,
    ) -> Result<Vec<Row>, StoreError> {
        let topics: BTreeSet<_> = rows.iter().filter_map(|(key, _)| topic_of(key)).collect();
        let mut gone = BTreeSet::new();
        for topic in topics {
            let value = pages.value(keys.topic(topic)).await?;
            if value.is_none() {
                gone.insert(topic);
            }
            let known = self.0.entry(topic).or_default();
            // What it was before is what other rows need that are in the backup already.
            *known = value.or(known.take());
        }
        // A damaged key is told of by whoever reads it.
        rows.retain(|(key, _)| topic_of(key).is_none_or(|topic| !gone.contains(&topic)));
        Ok(rows)
    }

    /// Looks for a topic of which nothing is known.
    pub(super) async fn look<R: RowSource + ?Sized>(
        &mut self,
        pages: &Pages<'_, R>,
        keys: Keyspace,
        topic: TopicNumber,
    ) -> Result<(), StoreError> {
        if let Entry::Vacant(new) = self.0.entry(topic) {
            new.insert(pages.value(keys.topic(topic)).await?);
        }
        Ok(())
    }

    /// The row of a topic, if it was there.
    pub(super) fn row(&self, topic: TopicNumber) -> Option<Bytes> {
        self.0.get(&topic).cloned().flatten()
    }

    /// The topic of this key is in the backup.
    pub(super) fn is_there(&mut self, key: &[u8]) {
        if let Some(topic) = Keyspace::topic_number(key) {
            self.0.remove(&topic);
        }
    }

    /// Those that were there and are not in the backup: they were purged at `now` at the latest.
    pub(super) fn purged(self, now: Timestamp) -> Result<Vec<TopicRow>, RowError> {
        let rows = self.0.into_values().flatten().map(|value| {
            let mut row = TopicRow::decode(value)?;
            let (at, purge_after) = match row.state() {
                TopicState::Live => (now, now),
                TopicState::Deleted { at, purge_after }
                | TopicState::Purging { at, purge_after } => (at, purge_after),
            };
            row.set_state(TopicState::Purging { at, purge_after });
            Ok(row)
        });
        rows.collect()
    }
}

impl<R: RowSource + ?Sized> Taking<'_, R> {
    /// Offsets of groups in topics that are there.
    pub(super) async fn group_offsets(&mut self) -> Result<(), TakeError> {
        let mut rest = Rest::of(self.keys.all(KeyKind::GroupOffset));
        while let Some(rows) = self.pages.next(&mut rest).await? {
            let rows = self
                .topics
                .with_topics(&self.pages, self.keys, rows, |key| {
                    Keyspace::offset_partition(key).map(|at| at.topic)
                })
                .await?;
            for (key, value) in rows {
                self.writer.row(&key, &value).await?;
            }
        }
        Ok(())
    }

    /// Topics as they are now. Those that were purged meanwhile, of which there are partitions, are purged again after a
    /// restore.
    pub(super) async fn write_topics(&mut self) -> Result<(), TakeError> {
        let mut rest = Rest::of(self.keys.all(KeyKind::Topic));
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, value) in rows {
                self.topics.is_there(&key);
                self.writer.row(&key, &value).await?;
            }
        }
        let now = self.pages.env.clock.wall();
        for row in std::mem::take(&mut self.topics).purged(now)? {
            let key = self.keys.topic(row.number());
            self.writer.row(&key, &row.encode()).await?;
        }
        Ok(())
    }
}

//! The part of the task that owns a shard that purges deleted topics whose time is over: between groups, in small steps,
//! as what keeps logs as short as their topics say.
//!
//! Each step can be made again: what it does says what shall be. So a step that fails, or of which nobody knows, is made
//! again by this owner or the next one, which finds in the rows how far the topic is.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidelog_metadata_api::{CatalogueError, TopicInfo, TopicState};
use tidelog_store::{ReadMode, ScanOptions, Transaction};
use tidelog_types::{PartitionIndex, ShardId, Timestamp, TopicNumber, TopicPartition};

use super::actor::{Actor, Ended};
use super::error::{Next, SequencerError};
use super::keeping::catalogue_error;
use super::message::Message;
use super::purge::{Job, OffsetsPass, Purged, Stage};
use super::state::PartitionState;
use crate::catalogue::BeginPurge;
use crate::keyspace::{EmptiedRow, KeyKind, Keyspace, PartitionRow};

/// The owner of this shard removes the topic, once all shards have nothing of it any more.
const LAST: ShardId = ShardId::new(0);
/// Partitions that a step looks at and empties.
const PARTITIONS: usize = 500;
/// Rows that a step deletes, or looks at.
const ROWS: usize = 1_000;
/// The kinds of rows that begin with a partition. The partition's own goes last.
const KINDS: [KeyKind; 5] = [
    KeyKind::Page,
    KeyKind::Producer,
    KeyKind::Aborted,
    KeyKind::Compacted,
    KeyKind::Partition,
];

/// What is found of some partitions.
#[derive(Debug, Default)]
struct Looked {
    /// Those that have records, or a row that is to be written anew.
    full: Vec<TopicPartition>,
    /// Bytes of these.
    bytes: u64,
    /// Those of which not all is off the books yet.
    waiting: Vec<TopicPartition>,
    /// Offsets of these.
    left: u64,
    /// The partition that is to be looked at next, if there are more.
    rest: Option<u32>,
}

/// What one partition needs.
enum Needs {
    Nothing,
    /// To be emptied. It has so many bytes.
    Emptying(u64),
    /// To wait for a checkpoint, or until its extents are off the books.
    Waiting,
}

impl Actor {
    /// Takes note of what a topic is by now.
    pub(super) fn purge_sees(&mut self, topic: &TopicInfo) {
        match topic.state {
            TopicState::Live => self.purge.forget(topic.number),
            TopicState::Deleted { purge_after, .. } => self.purge.note(topic.number, purge_after),
            TopicState::Purging { purge_after, .. } => {
                self.purge.note(topic.number, purge_after);
                // Another shard may have come to its end with it.
                self.purge.wake();
            }
        }
        self.report_purge();
    }

    fn report_purge(&self) {
        if self.lease.shard == LAST {
            let count = i64::try_from(self.purge.count()).unwrap_or(i64::MAX);
            self.parts.metrics.keeping.deleted_topics.set(count);
        }
    }

    /// Whoever owns the shard next says how many wait.
    pub(super) fn purge_ends(&self) {
        if self.lease.shard == LAST {
            self.parts.metrics.keeping.deleted_topics.set(0);
        }
    }

    /// Does a little of what is to be done.
    pub(super) async fn purge_step(&mut self, job: Job) -> Result<(), Ended> {
        let clock = Arc::clone(&self.parts.env.clock);
        let topic = match &job {
            Job::Begin(topic) => Some(*topic),
            Job::Work(purged) => Some(purged.topic.number),
            Job::Offsets(_) => None,
        };
        let done = match job {
            Job::Begin(topic) => self.begin_purge(topic).await,
            Job::Work(purged) => self.go_on_with(purged).await?,
            Job::Offsets(pass) => self.look_through(pass).await,
        };
        let Err(error) = done else {
            if self.purge.take_missed() {
                self.retention.see_all();
            }
            self.report_purge();
            return Ok(());
        };
        if error.next() == Next::Fenced {
            return Err(self.end(Vec::new(), &error));
        }
        self.parts.metrics.keeping.failures.inc();
        self.warn("purging has to wait", &error);
        // What lands late is true all the same.
        self.purge.pause(clock.now());
        match (topic, &error) {
            (Some(topic), SequencerError::Row(_)) => self.purge.set_aside(topic, clock.wall()),
            // It is begun anew: rows say how far it is.
            (Some(topic), _) => self.purge.note(topic, Timestamp::from_millis(0)),
            (None, _) => self.purge.wake(),
        }
        Ok(())
    }

    /// Finds out whether it is time for a topic, and how far it is.
    async fn begin_purge(&mut self, number: TopicNumber) -> Result<(), SequencerError> {
        let begun = self.parts.catalogue.begin_purge(number).await;
        let topic = match begun {
            Ok(BeginPurge::Now(topic)) => topic,
            Ok(BeginPurge::At(at)) => {
                self.purge.note(number, at);
                return Ok(());
            }
            Ok(BeginPurge::Never) => return Ok(()),
            Err(error @ CatalogueError::Corrupt { .. }) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(topic = number.get(), error, "topic cannot be purged");
                return Ok(());
            }
            Err(error) => return Err(catalogue_error(error)),
        };
        // Nothing is committed to it from here on: whatever its partitions have now is all they will ever have.
        self.state.has_gone(number);
        let mut transaction = self.parts.store.begin().await?;
        let key = self.parts.keys.emptied(number, self.lease.shard);
        let is_emptied = transaction.get(&key, ReadMode::Snapshot).await?.is_some();
        if is_emptied {
            // Perhaps nobody knew of it when it was noted.
            self.forget_purged(&topic);
        }
        if is_emptied && self.lease.shard != LAST {
            self.purge.done(number);
            return Ok(());
        }
        self.purge.go_on(Purged {
            topic,
            stage: if is_emptied {
                Stage::Others
            } else {
                Stage::Look(0)
            },
            since: self.parts.env.clock.now(),
            bytes: 0,
            left: 0,
        });
        Ok(())
    }

    /// Goes on with a topic, and keeps it unless it is done.
    async fn go_on_with(
        &mut self,
        mut purged: Purged,
    ) -> Result<Result<(), SequencerError>, Ended> {
        let stage = purged.stage;
        let next = match stage {
            Stage::Look(from) => self.empty_some(&mut purged, from).await?,
            Stage::Offsets => {
                self.begin_offsets(purged.topic.number);
                // It goes on when the look is over; one that has come too late for this one waits for the next.
                Ok(Some(Stage::Offsets))
            }
            Stage::Emptied => self.note_emptied(&purged).await,
            Stage::Others => self.look_at_others(&purged).await,
            Stage::Rows => self.delete_rows(&purged).await,
        };
        let next = match next {
            Ok(next) => next,
            Err(error) => return Ok(Err(error)),
        };
        let clock = &self.parts.env.clock;
        let Some(next) = next else {
            return Ok(Ok(()));
        };
        if next != stage {
            purged.stage = next;
            purged.since = clock.now();
            self.purge.go_on(purged);
        } else if stage == Stage::Rows {
            self.purge.go_on(purged);
        } else {
            let topic = Arc::clone(&purged.topic);
            if !self.purge.rest(purged, clock.now(), clock.wall()) {
                tracing::warn!(
                    topic = %topic.name, id = %topic.id, shard = self.lease.shard.get(),
                    "purging of a topic does not go on: see what failed before; it is tried again in an hour"
                );
            }
        }
        Ok(Ok(()))
    }

    // ----- the logs ---------------------------------------------------------------------------------

    /// Empties some partitions, or sees that they are.
    async fn empty_some(
        &mut self,
        purged: &mut Purged,
        from: u32,
    ) -> Result<Result<Option<Stage>, SequencerError>, Ended> {
        let looked = match self.look_at_logs(&purged.topic, from).await {
            Ok(looked) => looked,
            Err(error) => return Ok(Err(error)),
        };
        for partition in &looked.waiting {
            self.reclaim.note(*partition);
        }
        if !looked.full.is_empty() {
            purged.bytes = purged.bytes.saturating_add(looked.bytes);
            let partitions = looked.full;
            self.run_group(vec![Message::Empty { partitions }]).await?;
            return Ok(Ok(Some(Stage::Look(from))));
        }
        if !looked.waiting.is_empty() {
            if looked.left != purged.left {
                // It goes on, if not here.
                purged.since = self.parts.env.clock.now();
                purged.left = looked.left;
            }
            return Ok(Ok(Some(Stage::Look(from))));
        }
        Ok(Ok(Some(looked.rest.map_or(Stage::Offsets, Stage::Look))))
    }

    async fn look_at_logs(&self, topic: &TopicInfo, from: u32) -> Result<Looked, SequencerError> {
        let mut looked = Looked::default();
        let mut some = Vec::new();
        let skipped = usize::try_from(from).unwrap_or(usize::MAX);
        for (index, info) in (0..).zip(&topic.partitions).skip(skipped) {
            if info.shard != self.lease.shard {
                continue;
            }
            if some.len() == PARTITIONS {
                looked.rest = Some(index);
                break;
            }
            some.push(TopicPartition::new(
                topic.number,
                PartitionIndex::new(index),
            ));
        }
        let keys = self.parts.keys;
        let mut transaction = self.parts.store.begin().await?;
        let asked = some
            .iter()
            .map(|at| (keys.partition(*at), ReadMode::Snapshot));
        let values = transaction.get_many(&asked.collect::<Vec<_>>()).await?;
        for (partition, value) in some.into_iter().zip(values) {
            let has_pages = value
                .as_ref()
                .is_none_or(|value| PartitionRow::has_pages(value));
            let row = value.map(PartitionRow::decode).transpose()?;
            match self.needs(partition, row.as_ref(), has_pages) {
                Needs::Nothing => {}
                Needs::Emptying(bytes) => {
                    looked.bytes = looked.bytes.saturating_add(bytes);
                    looked.full.push(partition);
                }
                Needs::Waiting => {
                    let pages = keys.pages_of(partition);
                    let left = row
                        .as_ref()
                        .map_or(0, |row| row.next.get().saturating_sub(row.reclaimed.get()));
                    looked.left = looked.left.saturating_add(left);
                    let is_written = row.is_some_and(|row| self.is_written(partition, &row));
                    let is_written = is_written && has_pages;
                    let options = ScanOptions::limit(1).snapshot();
                    // In a backup that was taken meanwhile pages may be missing that the row still counts.
                    if !is_written || !transaction.scan(pages, options).await?.rows.is_empty() {
                        looked.waiting.push(partition);
                    }
                }
            }
        }
        Ok(looked)
    }

    fn needs(
        &self,
        partition: TopicPartition,
        row: Option<&PartitionRow>,
        has_pages: bool,
    ) -> Needs {
        let stored = row.cloned().map(PartitionState::from_row);
        let known = self.state.partitions.get(&partition);
        let Some(state) = known.or(stored.as_ref()) else {
            return Needs::Nothing;
        };
        let is_changed = self.state.changed_partitions.contains(&partition);
        if state.log_start < state.next || (!has_pages && !is_changed) {
            return Needs::Emptying(state.total.saturating_sub(state.reclaimed_bytes));
        }
        let is_written = match row {
            Some(row) => has_pages && self.is_written(partition, row),
            None => state.next == tidelog_types::Offset::ZERO,
        };
        let is_off = row.is_none_or(|row| row.reclaimed == row.next);
        if is_written && is_off {
            Needs::Nothing
        } else {
            Needs::Waiting
        }
    }

    /// Whether the row has all that the partition will ever have.
    fn is_written(&self, partition: TopicPartition, row: &PartitionRow) -> bool {
        let known = self.state.partitions.get(&partition);
        row.log_start == row.next && known.is_none_or(|known| known.next == row.next)
    }

    // ----- offsets of groups ------------------------------------------------------------------------

    fn begin_offsets(&mut self, topic: TopicNumber) {
        if !self.purge.looks_through() {
            let mut topics: BTreeSet<_> = self.purge.all_at(Stage::Offsets).into_iter().collect();
            topics.insert(topic);
            let rest = self.parts.keys.all_group_offsets(self.lease.shard);
            self.purge.look_through(OffsetsPass { topics, rest });
        }
    }

    /// Deletes the offsets of topics among some rows. What a group is asked for it reads anew, and what it writes goes
    /// through this task, so that nothing comes in between.
    async fn look_through(&mut self, mut pass: OffsetsPass) -> Result<(), SequencerError> {
        let mut transaction = self.parts.store.begin().await?;
        self.lease.check(transaction.as_mut()).await?;
        let options = ScanOptions::limit(ROWS).snapshot();
        let page = transaction.scan(pass.rest.clone(), options).await?;
        let rest = page.next(&pass.rest, options.direction);
        let mut deleted = 0;
        for (key, _) in page.rows {
            let partition = Keyspace::offset_partition(&key);
            if partition.is_some_and(|at| pass.topics.contains(&at.topic)) {
                transaction.delete(key);
                deleted += 1;
            }
        }
        if deleted > 0 {
            transaction.commit().await?;
            self.parts.metrics.rows_deleted.inc_by(deleted);
        }
        match rest {
            Some(rest) => {
                pass.rest = rest;
                self.purge.look_through(pass);
            }
            None => self.purge.looked_through(&pass.topics),
        }
        Ok(())
    }

    // ----- the end ------------------------------------------------------------------------------------

    /// From here on no owner of the shard takes anything of the topic from the tail.
    async fn note_emptied(&mut self, purged: &Purged) -> Result<Option<Stage>, SequencerError> {
        let (number, shard) = (purged.topic.number, self.lease.shard);
        let mut transaction = self.parts.store.begin().await?;
        self.lease.check(transaction.as_mut()).await?;
        // Also before anybody hears of it: if it is not known whether this is written, others may go on with it.
        self.forget_purged(&purged.topic);
        let topic = self.parts.keys.topic(number);
        let topic = transaction.get(&topic, ReadMode::Serializable).await?;
        if topic.is_none() {
            // It was, and the others have done the rest.
            self.purge.done(number);
            return Ok(None);
        }
        let key = self.parts.keys.emptied(number, shard);
        transaction.put(key, EmptiedRow.encode());
        transaction.commit().await?;
        tracing::info!(
            topic = %purged.topic.name, id = %purged.topic.id, shard = shard.get(), bytes = purged.bytes,
            "shard has nothing of a deleted topic any more"
        );
        // Whoever has the last shard hears of it.
        self.parts.catalogue.changed(&purged.topic).await;
        if shard != LAST {
            self.purge.done(number);
            return Ok(None);
        }
        Ok(Some(Stage::Others))
    }

    /// Nothing of it is in memory any more, so that no checkpoint writes it.
    fn forget_purged(&mut self, topic: &TopicInfo) {
        self.state.forget_topic(topic.number);
        self.view.write().forget_topic(topic.number);
        for (index, _) in (0..).zip(&topic.partitions) {
            let partition = TopicPartition::new(topic.number, PartitionIndex::new(index));
            self.reclaim.forget(partition);
            self.retention.forget(partition);
        }
    }

    async fn look_at_others(&mut self, purged: &Purged) -> Result<Option<Stage>, SequencerError> {
        let topic = &purged.topic;
        let mut shards: BTreeSet<ShardId> = (0..self.parts.catalogue.shards())
            .map(ShardId::new)
            .collect();
        shards.extend(topic.partitions.iter().map(|info| info.shard));
        let mut rest = Some(self.parts.keys.emptied_of(topic.number));
        while let Some(range) = rest.take() {
            let mut transaction = self.parts.store.begin().await?;
            let options = ScanOptions::limit(ROWS).snapshot();
            let page = transaction.scan(range.clone(), options).await?;
            rest = page.next(&range, options.direction);
            for (key, _) in page.rows {
                if let Some(shard) = Keyspace::last_shard(&key) {
                    shards.remove(&shard);
                }
            }
        }
        let is_over = shards.is_empty();
        Ok(Some(if is_over { Stage::Rows } else { Stage::Others }))
    }

    /// Deletes some rows of partitions, or, if there are none any more, the topic.
    async fn delete_rows(&mut self, purged: &Purged) -> Result<Option<Stage>, SequencerError> {
        let (keys, topic) = (self.parts.keys, &purged.topic);
        let mut transaction = self.parts.store.begin().await?;
        self.lease.check(transaction.as_mut()).await?;
        let mut keys_found = Vec::new();
        for kind in KINDS {
            let left = ROWS.saturating_sub(keys_found.len());
            let range = keys.of_topic(kind, topic.number);
            let options = ScanOptions::limit(left).snapshot();
            let rows = transaction.scan(range, options).await?.rows;
            keys_found.extend(rows.into_iter().map(|(key, _)| key));
            if keys_found.len() >= ROWS {
                break;
            }
        }
        let is_last = keys_found.is_empty();
        let count = u64::try_from(keys_found.len()).unwrap_or(u64::MAX);
        for key in keys_found {
            transaction.delete(key);
        }
        if is_last {
            self.delete_topic(transaction.as_mut(), topic).await?;
        }
        transaction.commit().await?;
        self.parts.metrics.rows_deleted.inc_by(count);
        if !is_last {
            return Ok(Some(Stage::Rows));
        }
        self.parts.metrics.keeping.purged_topics.inc();
        tracing::info!(
            topic = %topic.name, id = %topic.id, partitions = topic.partitions.len(),
            "purged deleted topic"
        );
        self.parts.catalogue.changed(topic).await;
        Ok(None)
    }

    async fn delete_topic(
        &self,
        transaction: &mut dyn Transaction,
        topic: &TopicInfo,
    ) -> Result<(), SequencerError> {
        let keys = self.parts.keys;
        let range = keys.emptied_of(topic.number);
        let options = ScanOptions::default().snapshot();
        for (key, _) in transaction.scan(range, options).await?.rows {
            transaction.delete(key);
        }
        transaction.delete(keys.deleted_topic(&topic.name, topic.number));
        transaction.delete(keys.topic_id(topic.id));
        transaction.delete(keys.topic(topic.number));
        Ok(())
    }
}

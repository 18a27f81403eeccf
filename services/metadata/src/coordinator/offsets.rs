//! What a group does with offsets: those that are the group's at once, and those that wait for the end of a transaction.

use std::collections::BTreeSet;

use tidelog_metadata_api::{
    CommitOffsets, CommittedOffset, DeleteOffsets, EndGroupTransaction, GroupOffset, GroupsError,
    OFFSET_METADATA_BYTES_MAX, OpenTransaction,
};
use tidelog_types::{TopicNumber, TopicPartition};

use super::ask::{Outcomes, Reply};
use super::errors::of_group;
use super::group::Group;
use super::machine::Machine;
use super::serve::Moment;
use super::topics::View;
use crate::keyspace::GroupOffsetRow;
use crate::sequencer::GroupRows;

impl Group {
    pub(super) fn commit(
        &mut self,
        request: CommitOffsets,
        reply: Reply<Outcomes>,
        at: &Moment<'_>,
    ) {
        if let Err(error) = self.check_commit(&request, at) {
            self.answer(reply, Err(error));
            return;
        }
        self.changes += 1;
        let before = self.about;
        if !self.exists() {
            // Somebody who is no member has come first.
            self.about.empty_since = at.wall;
        }
        self.about.has_offsets = true;
        self.about.has_transactions |= request.transaction.is_some();
        if self.about != before || !self.mirror.exists() {
            self.store_about();
        }
        let transaction = request.transaction;
        let mut outcomes = Vec::with_capacity(request.offsets.len());
        let mut committed = 0;
        for (partition, offset) in request.offsets {
            if offset.metadata.len() > OFFSET_METADATA_BYTES_MAX {
                outcomes.push(Err(GroupsError::OffsetMetadataTooLarge {
                    max: OFFSET_METADATA_BYTES_MAX,
                }));
                continue;
            }
            let rows = match &transaction {
                None => {
                    committed += 1;
                    self.reach(partition, offset, at)
                }
                Some(transaction) => {
                    let place = &self.place;
                    self.transactions.put(place, transaction, partition, offset)
                }
            };
            self.put_rows(rows);
            outcomes.push(Ok(()));
        }
        at.metrics.offsets_committed.inc_by(committed);
        self.answer(reply, Ok(outcomes));
    }

    /// The group has reached an offset, whatever an open transaction says.
    fn reach(
        &mut self,
        partition: TopicPartition,
        offset: GroupOffset,
        at: &Moment<'_>,
    ) -> GroupRows {
        let place = &self.place;
        let key = place.keys.group_offset(place.shard, &place.name, partition);
        let row = GroupOffsetRow(CommittedOffset {
            offset,
            committed_at: at.wall,
        });
        let mut rows = vec![(key, Some(row.encode()))];
        rows.extend(self.transactions.supersede(place, partition, u64::MAX));
        rows
    }

    fn check_commit(
        &mut self,
        request: &CommitOffsets,
        at: &Moment<'_>,
    ) -> Result<(), GroupsError> {
        let member = &request.member;
        if !self.exists() && member.epoch >= 0 {
            return Err(GroupsError::GroupNotFound);
        }
        let (id, instance) = (&member.member_id, member.instance.as_deref());
        match (&mut self.machine, &request.transaction) {
            (Machine::Classic(group), None) => {
                group.check_commit(id, instance, member.epoch, at.now)
            }
            (Machine::Classic(group), Some(_)) => group.check_pending(id, instance, member.epoch),
            (Machine::Consumer(group), _) => group.check_commit(id, instance, member.epoch),
        }
        .map_err(of_group)?;
        match &request.transaction {
            None => Ok(()),
            Some(transaction) => self.check_transaction(transaction, &request.offsets),
        }
    }

    fn check_transaction(
        &self,
        transaction: &OpenTransaction,
        offsets: &[(TopicPartition, GroupOffset)],
    ) -> Result<(), GroupsError> {
        self.transactions.check(transaction)?;
        let bytes = offsets.iter().map(|(_, offset)| offset.metadata.len());
        self.transactions.check_room(offsets.len(), bytes.sum())
    }

    /// A transaction has ended, also one that has left nothing here: nothing of it may come any more.
    pub(super) fn end_transaction(
        &mut self,
        request: &EndGroupTransaction,
        reply: Reply<()>,
        at: &Moment<'_>,
    ) {
        self.changes += 1;
        let ended = self.transactions.end(&self.place, request, at.wall);
        if !ended.rows.is_empty() {
            if !self.mirror.exists() {
                self.about.empty_since = at.wall;
            }
            if !std::mem::replace(&mut self.about.has_transactions, true) || !self.mirror.exists() {
                self.store_about();
            }
            at.metrics.offsets_committed.inc_by(ended.committed);
            self.put_rows(ended.rows);
        }
        self.answer(reply, Ok(()));
    }

    pub(super) fn delete_offsets(
        &mut self,
        request: &DeleteOffsets,
        reply: Reply<Outcomes>,
        topics: &View<'_>,
    ) {
        if !self.exists() {
            self.answer(reply, Err(GroupsError::GroupNotFound));
            return;
        }
        let read = match self.read_topics(topics) {
            Ok(read) => read,
            Err(error) => {
                self.answer(reply, Err(error));
                return;
            }
        };
        self.changes += 1;
        let mut outcomes = Vec::with_capacity(request.partitions.len());
        for partition in &request.partitions {
            if read.contains(&partition.topic) {
                outcomes.push(Err(GroupsError::SubscribedToTopic));
                continue;
            }
            let place = &self.place;
            let key = place
                .keys
                .group_offset(place.shard, &place.name, *partition);
            let mut rows = vec![(key, None)];
            rows.extend(self.transactions.supersede(place, *partition, u64::MAX));
            self.put_rows(rows);
            outcomes.push(Ok(()));
        }
        self.answer(reply, Ok(outcomes));
    }

    /// The topics whose offsets members need.
    fn read_topics(&self, topics: &View<'_>) -> Result<BTreeSet<TopicNumber>, GroupsError> {
        use tidelog_groups::consumer::Topics as _;
        if !self.machine.has_members() {
            return Ok(BTreeSet::new());
        }
        let names = self.machine.subscribed_topics(topics);
        let names = names.ok_or(GroupsError::NotEmpty)?;
        let shapes = names.iter().filter_map(|name| topics.find(name));
        Ok(shapes.map(|shape| shape.number).collect())
    }
}

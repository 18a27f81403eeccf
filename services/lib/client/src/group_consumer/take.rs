//! What the service says, and what the caller hears of it.

use std::collections::BTreeSet;

use tidelog_api::v1::subscribe_request::Kind;
use tidelog_api::v1::subscribe_response::Event;
use tidelog_api::{ApiError, v1};
use tidelog_types::{Offset, OffsetRange};

use super::{
    Confirm, GroupConsumer, GroupEvent, GroupPartition, Position, SubscribeError, partition,
};
use crate::Chunk;

impl GroupConsumer {
    /// Takes a message; answers the one that only who commits waits for.
    pub(super) fn take(
        &mut self,
        message: v1::SubscribeResponse,
    ) -> Option<v1::SubscribeCommitted> {
        self.client.token().set(message.token);
        let used = message.used_credit.and_then(|used| used.bytes);
        self.take_data(message.partitions, used.unwrap_or_default());
        match message.event {
            Some(Event::Joined(joined)) => {
                self.member_id = joined.member_id;
                self.went_well();
            }
            Some(Event::Assigned(assigned)) => self.take_assigned(assigned),
            Some(Event::Revoked(revoked)) => {
                let of_topics = revoked.partitions.into_iter();
                let lost = of_topics.flat_map(|of_topic| {
                    let indexes = of_topic.partitions.into_iter();
                    let topic = of_topic.topic;
                    indexes.map(move |index| partition(&topic, index))
                });
                self.revoke(lost.collect(), Confirm::Release(revoked.revocation_id));
            }
            Some(Event::Stalled(stalled)) => {
                // One batch is larger than the window: it comes alone.
                let credit = stalled.needed.unwrap_or_default();
                self.beyond += credit.bytes.unwrap_or_default();
                if let Some(link) = &mut self.link {
                    link.say(Kind::Credit(credit));
                }
            }
            Some(Event::Sought(sought)) => self.take_sought(sought),
            Some(Event::Draining(_)) => {
                let all = self.positions.keys().cloned().collect();
                self.revoke(all, Confirm::End);
            }
            Some(Event::Committed(committed)) => return Some(committed),
            None => {}
        }
        None
    }

    fn take_assigned(&mut self, assigned: v1::SubscribeAssigned) {
        let mut begun = Vec::new();
        for got in assigned.partitions {
            let at = partition(&got.topic, got.partition);
            let position = Position {
                next: got.offset,
                is_new: false,
            };
            self.positions.insert(at.clone(), position);
            match got.error {
                None => begun.push((at, got.offset)),
                Some(error) => self.fail(at, error),
            }
        }
        if !begun.is_empty() {
            self.ready.push_back((Ok(GroupEvent::Assigned(begun)), 0));
        }
    }

    /// Partitions go. What has come of them and was not handed out is for whoever has them next.
    fn revoke(&mut self, partitions: BTreeSet<GroupPartition>, confirm: Confirm) {
        self.drop_ready(&partitions);
        let revoked = GroupEvent::Revoked(partitions.into_iter().collect());
        self.ready.push_back((Ok(revoked), 0));
        self.revoking.push_back(confirm);
    }

    fn take_sought(&mut self, sought: v1::SubscribeSought) {
        let at = partition(&sought.topic, sought.partition);
        if let Some(open) = self.seeking.get_mut(&at) {
            *open -= 1;
            if *open == 0 {
                self.seeking.remove(&at);
            }
        }
        if let Some(error) = sought.error {
            self.fail(at, error);
        }
    }

    fn take_data(&mut self, partitions: Vec<v1::PartitionData>, used: u64) {
        let mut used = used;
        for data in partitions {
            let at = partition(&data.topic, data.partition);
            if let Some(error) = data.error {
                self.fail(at, error);
                continue;
            }
            let batches = match data.data {
                Some(v1::partition_data::Data::Batches(batches)) => batches,
                _ => bytes::Bytes::new(),
            };
            let bytes = (batches.len() as u64).min(used);
            used -= bytes;
            let position = self.positions.get(&at);
            let from = self
                .ahead_of(&at)
                .or(position.map(|position| position.next));
            let from = from.filter(|_| !self.seeking.contains_key(&at));
            let Some(from) = from.filter(|from| *from < data.next_offset) else {
                self.owed += bytes;
                continue;
            };
            let chunk = Chunk {
                partition: data.partition,
                offsets: OffsetRange {
                    base: Offset::new(from),
                    next: Offset::new(data.next_offset),
                },
                high_watermark: Offset::new(data.high_watermark),
                batches,
                limit: self.options.decode_limit,
            };
            let topic = data.topic;
            let event = GroupEvent::Chunk { topic, chunk };
            self.ready.push_back((Ok(event), bytes));
        }
        self.owed += used;
    }

    /// The offset after what has come of a partition and was not handed out yet.
    fn ahead_of(&self, at: &GroupPartition) -> Option<u64> {
        let mut ready = self.ready.iter().rev();
        ready.find_map(|(ready, _)| match ready {
            Ok(GroupEvent::Chunk { topic, chunk })
                if *topic == at.topic && chunk.partition == at.partition =>
            {
                Some(chunk.offsets.next.get())
            }
            _ => None,
        })
    }

    /// Drops what has come of partitions and was not handed out.
    pub(super) fn drop_ready(&mut self, partitions: &BTreeSet<GroupPartition>) {
        let mut dropped = 0;
        self.ready.retain(|(ready, bytes)| {
            let Ok(GroupEvent::Chunk { topic, chunk }) = ready else {
                return true;
            };
            let goes = partitions.contains(&partition(topic, chunk.partition));
            dropped += if goes { *bytes } else { 0 };
            !goes
        });
        self.owed += dropped;
    }

    fn fail(&mut self, partition: GroupPartition, error: v1::Error) {
        let error = ApiError::from_proto(error);
        let failed = SubscribeError::Partition { partition, error };
        self.ready.push_back((Err(failed), 0));
    }

    /// Takes note of what is handed out.
    pub(super) fn note(&mut self, ready: &Result<GroupEvent, SubscribeError>) {
        match ready {
            Ok(GroupEvent::Chunk { topic, chunk }) => {
                let at = partition(topic, chunk.partition);
                if let Some(position) = self.positions.get_mut(&at) {
                    position.next = chunk.offsets.next.get();
                    position.is_new = true;
                }
            }
            Ok(GroupEvent::Revoked(partitions)) => {
                self.confirm = self.revoking.pop_front();
                self.released.clone_from(partitions);
            }
            _ => {}
        }
    }

    /// The stream is gone, and with it all partitions.
    pub(super) fn lose(&mut self) {
        self.link = None;
        self.confirm = None;
        self.revoking.clear();
        self.seeking.clear();
        self.released.clear();
        (self.owed, self.in_hand, self.beyond) = (0, 0, 0);
        self.ready
            .retain(|(ready, _)| matches!(ready, Ok(GroupEvent::Lost(_))));
        let lost: Vec<_> = std::mem::take(&mut self.positions).into_keys().collect();
        if !lost.is_empty() {
            self.ready.push_back((Ok(GroupEvent::Lost(lost)), 0));
        }
    }

    /// A stream stands.
    fn went_well(&mut self) {
        self.opening = None;
        if self.breaks.take().is_some() {
            self.client.trouble().passed();
        }
        self.backoff = self.policy().start();
    }
}

//! What comes of what was begun.

use std::sync::Arc;

use prost::Message as _;
use tidelog_api::{ApiError, v1};
use tidelog_metadata_api::{ConsumerHeartbeatAnswer, EPOCH_JOIN, GroupsError};
use tidelog_types::{ErrorCode, Offset, TopicPartition};
use v1::subscribe_response::Event;

use super::{End, RETRY_AFTER, Session, said};
use crate::answer::{DataAnswer, PartitionAnswer};
use crate::errors::member_error;
use crate::produce::going_away;
use crate::subscribe::commits::{Batch, Outcome};
use crate::subscribe::credit::{Credit, Fits};
use crate::subscribe::holdings::{Named, Place, Revocation};
use crate::subscribe::reading::Read;
use crate::subscribe::starts::Start;

/// How often a commit is sent whose epoch was not the member's any more.
const COMMIT_TRIES_MAX: u32 = 3;

impl Session {
    pub(super) fn on_tick(&mut self) -> Result<(), End> {
        let now = self.front.now();
        if self.drains_until.is_some_and(|until| until <= now) {
            return Err(going_away().into());
        }
        for revocation in self.holdings.overdue(now) {
            self.release(revocation);
        }
        Ok(())
    }

    pub(super) fn on_beaten(
        &mut self,
        answer: Result<ConsumerHeartbeatAnswer, GroupsError>,
    ) -> Result<(), End> {
        let now = self.front.now();
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.is_retriable() => {
                // It may have been done, and the answer lost.
                self.pulse.asks_all = true;
                self.pulse.at = now + RETRY_AFTER;
                return Ok(());
            }
            Err(error) => {
                self.is_out = true;
                return Err(member_error(&error).into());
            }
        };
        if self.member.epoch == EPOCH_JOIN {
            let member_id = self.member.id.clone();
            self.tell(Event::Joined(v1::SubscribeJoined { member_id }));
        }
        self.member.epoch = answer.epoch;
        self.pulse.asks_all = false;
        self.pulse.at = if self.pulse.again {
            now
        } else {
            now + answer.heartbeat
        };
        if let Some(batch) = self.retry.take() {
            self.commit(batch);
        }
        if let Some(target) = answer.assignment {
            self.on_assigned(target);
        }
        Ok(())
    }

    fn on_assigned(&mut self, target: Vec<TopicPartition>) {
        // The coordinator waits as long, and began before.
        let patience = self.wish.rebalance / 10 * 9;
        let until = self.pulse.began + patience;
        let assigned = self.holdings.assign(target, until);
        self.reading.withdraw();
        if assigned.given_up {
            self.beat_soon();
        }
        if let Some(Revocation { id, partitions }) = assigned.revocation {
            let left = until.saturating_since(self.front.now());
            self.tell(Event::Revoked(v1::SubscribeRevoked {
                revocation_id: id,
                partitions: by_topic(partitions),
                time_left: prost_types::Duration::try_from(left).ok(),
            }));
        }
    }

    pub(super) fn on_committed(&mut self, batch: Batch, outcome: Outcome) {
        if let Err(error) = &outcome
            && (*error == GroupsError::StaleEpoch || error.ends_membership())
        {
            // The coordinator says what the epoch is, or that the member is out.
            self.beat_soon();
            if *error == GroupsError::StaleEpoch && batch.tries < COMMIT_TRIES_MAX {
                self.pulse.asks_all = true;
                self.retry = Some(batch);
                return;
            }
        }
        for (committed, hold) in batch.answered(outcome) {
            let mut answer = said(Event::Committed(committed));
            answer.hold = hold;
            self.outbox.push_back(answer);
        }
    }

    pub(super) fn on_started(&mut self, found: Vec<(TopicPartition, Start)>) {
        let mut partitions = Vec::new();
        for (at, start) in found {
            let (topic, next, error) = match start {
                Start::At(topic, next) => (topic, Some(next), None),
                Start::Refused(topic, error) => (topic, None, Some(error)),
                Start::Gone => {
                    self.holdings.park(at);
                    continue;
                }
                Start::Later => {
                    self.start_at = self.front.now() + RETRY_AFTER;
                    continue;
                }
            };
            if self.holdings.started(at, &topic, next) || error.is_some() {
                partitions.push(v1::SubscribedPartition {
                    topic: topic.to_string(),
                    partition: at.partition.get(),
                    offset: next.unwrap_or_default().get(),
                    error: error.map(|error| error.to_proto()),
                });
            }
        }
        self.reading.withdraw();
        if !partitions.is_empty() {
            self.tell(Event::Assigned(v1::SubscribeAssigned { partitions }));
        }
    }

    pub(super) fn on_read(&mut self, read: Read) {
        let mut partitions = Vec::new();
        let mut left = self.credit;
        let mut taken = left.of(0, 0);
        let mut needed: Option<Credit> = None;
        let mut owed = Vec::new();
        for (place, mut answer) in read.found {
            if answer.data.error.is_some() {
                partitions.extend(self.failed(&place, answer));
                continue;
            }
            match left.cut(&mut answer) {
                Fits::Nothing(this) => needed = Some(needed.unwrap_or(this)),
                Fits::Some(this) => {
                    let next = Offset::new(answer.data.next_offset);
                    if self.holdings.advance(&place, next) {
                        left.take(this);
                        taken = taken.sum(this);
                        owed.push((place.topic, answer.data_bytes()));
                        partitions.push(answer);
                    }
                }
            }
        }
        if partitions.is_empty() {
            if let Some(needed) = needed {
                self.stalled = Some(needed);
                let needed = Some(needed.to_proto());
                self.tell(Event::Stalled(v1::SubscribeStalled { needed }));
            }
            return;
        }
        self.credit = left;
        self.charge(owed);
        let used_credit = taken.is_counted().then(|| taken.to_proto());
        let more = v1::SubscribeResponse {
            used_credit,
            ..v1::SubscribeResponse::default()
        };
        self.outbox.push_back(DataAnswer {
            partitions,
            hold: read.hold,
            turn: read.turn,
            more: more.encode_to_vec().into(),
            ..DataAnswer::default()
        });
    }

    /// A partition that cannot be read, if the client is to be told.
    fn failed(&mut self, place: &Place, answer: PartitionAnswer) -> Option<PartitionAnswer> {
        let error = answer.data.error.clone().map(ApiError::from_proto);
        let code = error.map_or(ErrorCode::Internal, |error| error.code);
        if !self.holdings.advance(place, place.next) {
            return None;
        }
        match code {
            ErrorCode::OffsetOutOfRange if self.wish.reset.is_some() => {
                self.holdings.reset(place.at);
                None
            }
            ErrorCode::UnknownTopic | ErrorCode::UnknownPartition => {
                self.holdings.park(place.at);
                None
            }
            _ => {
                self.holdings.park(place.at);
                Some(answer)
            }
        }
    }

    /// Tells the quota what was sent. Nothing more is read before it agrees.
    fn charge(&mut self, owed: Vec<(Arc<str>, u64)>) {
        let (front, caller) = (self.front.clone(), self.caller.clone());
        self.charging.begin(async move {
            for (topic, bytes) in owed {
                front.charge_read(&caller, &topic, bytes).await?;
            }
            Ok(())
        });
    }
}

/// Partitions, gathered by their topics.
fn by_topic(partitions: Vec<Named>) -> Vec<v1::GroupAssignment> {
    let mut topics: Vec<v1::GroupAssignment> = Vec::new();
    for (topic, partition) in partitions {
        match topics.last_mut() {
            Some(last) if *last.topic == *topic => last.partitions.push(partition),
            _ => topics.push(v1::GroupAssignment {
                topic: topic.to_string(),
                partitions: vec![partition],
            }),
        }
    }
    topics
}

//! Fetch sessions: a client tells what has changed of what it wants, and hears of partitions that have news.
//!
//! A session is its connection's, and ends with it. A client whose session is gone begins a new one. Memory
//! for sessions is bounded; who comes when there is none is served without.

use std::collections::BTreeMap;

use tidelog_broker_engine::MemoryHold;
use tidelog_kafka_codec::messages::FetchRequest;
use tidelog_kafka_codec::messages::fetch_request::{FetchPartition, FetchTopic};
use tidelog_kafka_codec::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use tidelog_kafka_codec::{ByteString, ErrorCode, Uuid};

use crate::front::Front;

/// The epoch of a request that begins a session.
const INITIAL: i32 = 0;
/// The epoch of a request that ends one, or wants none.
const FINAL: i32 = -1;
/// No session.
const NONE: i32 = 0;
/// About what a partition takes in a session, with its part of the topic's name.
const PARTITION_BYTES: u64 = 256;

/// A topic by its name, or by its id in versions that have ids.
type TopicKey = (Uuid, ByteString);

/// What a client wants of a partition, and what it has heard.
#[derive(Debug)]
struct Entry {
    wanted: FetchPartition,
    /// High watermark and log start offset.
    heard: Option<(i64, i64)>,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    id: i32,
    /// The epoch of the next request.
    next: i32,
    by_id: bool,
    partitions: BTreeMap<TopicKey, BTreeMap<i32, Entry>>,
    holds: Vec<MemoryHold>,
}

/// What a request is in the life of a session.
#[derive(Debug)]
pub(crate) enum Step {
    /// It wants no session, or there is no memory for one.
    Alone,
    /// It goes on with this one, or has begun it.
    Within(Box<Session>, Stage),
}

/// Whether a session has just begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// All partitions are told.
    First,
    /// Those with news are.
    Later,
}

impl Step {
    /// What a request does with the session of its connection, which is taken while it does. Of a request that goes on
    /// with one, the topics become all that the session has. One that is refused leaves the session as it was.
    pub(crate) fn of(
        front: &Front,
        current: &mut Option<Box<Session>>,
        request: &mut FetchRequest,
        by_id: bool,
    ) -> Result<Self, ErrorCode> {
        match request.session_epoch {
            FINAL => {
                *current = None;
                Ok(Self::Alone)
            }
            INITIAL => {
                // The new one takes the place of the old one.
                *current = None;
                let begun = Session::begin(front, request, by_id);
                Ok(begun.map_or(Self::Alone, |session| {
                    Self::Within(Box::new(session), Stage::First)
                }))
            }
            epoch => {
                let named = current.as_ref();
                let named = named.filter(|session| session.id == request.session_id);
                let named = named.ok_or(ErrorCode::FetchSessionIdNotFound)?;
                if epoch != named.next {
                    return Err(ErrorCode::InvalidFetchSessionEpoch);
                }
                if named.by_id != by_id {
                    return Err(ErrorCode::FetchSessionTopicIdError);
                }
                let session = current.take();
                let mut session = session.ok_or(ErrorCode::FetchSessionIdNotFound)?;
                if !session.change(front, request) {
                    // No memory: the client begins anew, and will be served without a session.
                    return Err(ErrorCode::FetchSessionIdNotFound);
                }
                request.topics = session.topics();
                Ok(Self::Within(session, Stage::Later))
            }
        }
    }
}

impl Session {
    fn begin(front: &Front, request: &FetchRequest, by_id: bool) -> Option<Self> {
        let random = front.parts.env.rng.next_u64() & 0x7fff_ffff;
        let mut session = Self {
            id: i32::try_from(random).unwrap_or_default().max(NONE + 1),
            next: INITIAL,
            by_id,
            partitions: BTreeMap::new(),
            holds: Vec::new(),
        };
        session.change(front, request).then_some(session)
    }

    /// The number of the session, as it is told.
    pub(crate) const fn id(&self) -> i32 {
        self.id
    }

    /// Takes over what a request changes; false if there is no memory for it.
    fn change(&mut self, front: &Front, request: &FetchRequest) -> bool {
        let wanted = request.topics.iter();
        let count: usize = wanted.map(|topic| topic.partitions.len()).sum();
        if count > 0 {
            let bytes = count as u64 * PARTITION_BYTES;
            match front.sessions.try_hold(bytes) {
                Ok(hold) => self.holds.push(hold),
                Err(_) => return false,
            }
        }
        for topic in &request.forgotten_topics_data {
            let key = (topic.topic_id, topic.topic.clone());
            if let Some(partitions) = self.partitions.get_mut(&key) {
                partitions.retain(|index, _| !topic.partitions.contains(index));
                if partitions.is_empty() {
                    self.partitions.remove(&key);
                }
            }
        }
        for topic in &request.topics {
            // A copy: what is asked by is a part of the whole request.
            let name = ByteString::from(topic.topic.to_string());
            let partitions = self.partitions.entry((topic.topic_id, name)).or_default();
            for wanted in &topic.partitions {
                let heard = partitions
                    .get(&wanted.partition)
                    .and_then(|entry| entry.heard);
                let wanted = wanted.clone();
                partitions.insert(wanted.partition, Entry { wanted, heard });
            }
        }
        self.settle(front);
        self.next = self.next.checked_add(1).unwrap_or(INITIAL + 1);
        true
    }

    /// Holds as much memory as there are partitions.
    fn settle(&mut self, front: &Front) {
        if self.holds.len() <= 1 {
            return;
        }
        let count: usize = self.partitions.values().map(BTreeMap::len).sum();
        // Given back first: it is no more than what was held.
        self.holds.clear();
        let bytes = count as u64 * PARTITION_BYTES;
        self.holds.extend(front.sessions.try_hold(bytes));
    }

    /// All that the session wants.
    fn topics(&self) -> Vec<FetchTopic> {
        let topics = self.partitions.iter();
        let topics = topics.map(|((topic_id, topic), partitions)| FetchTopic {
            topic: topic.clone(),
            topic_id: *topic_id,
            partitions: partitions
                .values()
                .map(|entry| entry.wanted.clone())
                .collect(),
        });
        topics.collect()
    }

    /// Takes note of what the client hears, and leaves out what is no news.
    pub(crate) fn tell(&mut self, responses: &mut Vec<FetchableTopicResponse>, stage: Stage) {
        for topic in responses.iter_mut() {
            let key = (topic.topic_id, topic.topic.clone());
            let Some(entries) = self.partitions.get_mut(&key) else {
                continue;
            };
            topic.partitions.retain(|data| {
                let entry = entries.get_mut(&data.partition_index);
                let is_news = entry.is_none_or(|entry| entry.tell(data));
                is_news || stage == Stage::First
            });
        }
        if stage == Stage::Later {
            responses.retain(|topic| !topic.partitions.is_empty());
        }
    }
}

impl Entry {
    /// Whether there is something new in what is told.
    fn tell(&mut self, data: &PartitionData) -> bool {
        let has_records = data.records.as_ref().is_some_and(|it| !it.is_empty());
        let bounds = (data.high_watermark, data.log_start_offset);
        let has_moved = self.heard.replace(bounds) != Some(bounds);
        if data.error_code != 0 {
            // It is told until it is over, and then that it is.
            self.heard = None;
        }
        has_records || has_moved || data.error_code != 0
    }
}

//! `Fetch`: records go out as the pieces of pages they lie in.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_broker_engine::{
    FairHold, FetchPartition, FetchRequest as Asked, Fetched, FoundPartition, Isolation,
    MemoryHold, Need,
};
use tidelog_kafka_codec::messages::fetch_request::{FetchPartition as Wanted, FetchTopic};
use tidelog_kafka_codec::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, PartitionData,
};
use tidelog_kafka_codec::messages::{FetchRequest, FetchResponse};
use tidelog_kafka_codec::{ErrorCode, Records, RequestFrame};
use tidelog_metadata_api::TopicInfo;
use tidelog_runtime::access::Operation;
use tidelog_types::Offset;

use crate::call::{Answered, Call, check_epoch, decode, partition};
use crate::connection::{Hold, Outcome};
use crate::errors::Refusal;
use crate::session::{Session, Step};

/// The first version whose topics are named by ids.
const BY_ID_FROM: i16 = 13;
/// `isolation_level` of readers who want nothing of open or aborted transactions.
const READ_COMMITTED: i8 = 1;

/// The partitions of a request, each with what is asked of the engine for it or why nothing is.
struct Plan {
    topics: Vec<PlannedTopic>,
    asked: Vec<FetchPartition>,
    any_refused: bool,
}

struct PlannedTopic {
    wanted: FetchTopic,
    found: Result<Arc<TopicInfo>, Refusal>,
    /// In the order of the partitions that are wanted.
    refusals: Vec<Option<Refusal>>,
}

/// What was read, and the memory that it takes.
struct Read {
    found: Vec<FoundPartition>,
    copies: Option<MemoryHold>,
    turn: Option<FairHold>,
}

/// The session of a connection, if it has one.
pub(crate) type Current = Arc<Mutex<Option<Box<Session>>>>;

/// Answers a fetch.
pub(crate) async fn answer(mut call: Call, frame: RequestFrame, current: Current) -> Outcome {
    call.charge(frame.body.len()).await;
    let mut holds = Vec::new();
    let answered = match decode(frame) {
        Ok(request) => {
            let response = call.fetch(request, &current, &mut holds).await;
            call.respond(&response)
        }
        Err(error) => Answered::Broken(error.to_string()),
    };
    Outcome {
        answered,
        holds,
        throttle: call.throttle,
        fails_silently: false,
    }
}

/// A number of which nothing is as little as less than nothing.
fn natural(number: i32) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

impl Call {
    async fn fetch(
        &mut self,
        mut request: FetchRequest,
        current: &Current,
        holds: &mut Vec<Hold>,
    ) -> FetchResponse {
        let by_id = self.version >= BY_ID_FROM;
        let step = Step::of(&self.front, &mut current.lock(), &mut request, by_id);
        let step = match step {
            Ok(step) => step,
            Err(code) => {
                return FetchResponse {
                    error_code: self.code(code),
                    throttle_time_ms: self.throttle_ms(),
                    ..FetchResponse::default()
                };
            }
        };
        let mut responses = self.fetch_topics(request, holds).await;
        let mut session_id = 0;
        if let Step::Within(mut session, stage) = step {
            session.tell(&mut responses, stage);
            session_id = session.id();
            *current.lock() = Some(session);
        }
        FetchResponse {
            throttle_time_ms: self.throttle_ms(),
            session_id,
            responses,
            ..FetchResponse::default()
        }
    }

    async fn fetch_topics(
        &mut self,
        request: FetchRequest,
        holds: &mut Vec<Hold>,
    ) -> Vec<FetchableTopicResponse> {
        if !request.rack_id.is_empty() {
            self.caller.zone = request.rack_id.to_string();
        }
        // The first batch is told whatever the limit is.
        let bytes_max = natural(request.max_bytes).max(1);
        let bytes_max = bytes_max.min(u64::from(self.front.parts.settings.fetch_bytes_max));
        let is_committed = request.isolation_level == READ_COMMITTED;
        let wait = Duration::from_millis(natural(request.max_wait_ms));
        let bytes_min = natural(request.min_bytes).min(bytes_max);
        let plan = self.plan(request.topics).await;
        let asked = Asked {
            partitions: plan.asked.clone(),
            bytes_max,
            bytes_min,
            // Errors are told at once.
            wait_max: if plan.any_refused {
                Duration::ZERO
            } else {
                wait
            },
            isolation: isolation(is_committed),
        };
        let read = self.read_in_turn(asked).await;
        holds.extend(read.copies.map(Hold::Copies));
        holds.extend(read.turn.map(Hold::Answer));
        self.respond_topics(plan.topics, read.found, is_committed)
    }

    async fn plan(&self, topics: Vec<FetchTopic>) -> Plan {
        let mut plan = Plan {
            topics: Vec::with_capacity(topics.len()),
            asked: Vec::new(),
            any_refused: false,
        };
        for wanted in topics {
            let found = if self.version >= BY_ID_FROM {
                self.topic_by_id(Operation::Read, wanted.topic_id).await
            } else {
                self.topic(Operation::Read, &wanted.topic).await
            };
            let mut refusals = Vec::with_capacity(wanted.partitions.len());
            for item in &wanted.partitions {
                let asked = match &found {
                    Ok(topic) => ask(topic, item),
                    Err(refusal) => Err(refusal.clone()),
                };
                plan.any_refused |= asked.is_err();
                refusals.push(asked.map(|asked| plan.asked.push(asked)).err());
            }
            plan.topics.push(PlannedTopic {
                wanted,
                found,
                refusals,
            });
        }
        plan
    }

    /// Reads; a server that goes away does not wait for news.
    async fn read_or_go(&self, asked: &mut Asked) -> Fetched {
        let engine = self.front.engine();
        tokio::select! {
            biased;
            fetched = engine.fetch(asked) => return fetched,
            () = self.front.stop.cancelled() => {}
        }
        asked.wait_max = Duration::ZERO;
        engine.fetch(asked).await
    }

    /// Reads, and has memory for the answer when it ends. What was read is let go while that is waited for,
    /// and read again: its pages are in memory then.
    async fn read_in_turn(&self, mut asked: Asked) -> Read {
        let answers = &self.front.answers;
        let mut fetched = self.read_or_go(&mut asked).await;
        let mut need = fetched.bytes();
        let mut turn = answers.try_hold(self.holder, Need::Exactly(need));
        // Other partitions may come first the next time, and need more.
        while need > turn.as_ref().map_or(0, FairHold::bytes) {
            asked.bytes_max = need;
            asked.wait_max = Duration::ZERO;
            drop((fetched, turn));
            turn = Some(answers.hold(self.holder, Need::Exactly(need)).await);
            fetched = self.front.engine().fetch(&asked).await;
            need = fetched.bytes();
        }
        let (found, copies) = fetched.into_parts();
        Read {
            found,
            copies,
            turn,
        }
    }

    fn respond_topics(
        &mut self,
        topics: Vec<PlannedTopic>,
        found: Vec<FoundPartition>,
        is_committed: bool,
    ) -> Vec<FetchableTopicResponse> {
        let mut found = found.into_iter();
        let mut responses = Vec::with_capacity(topics.len());
        for topic in topics {
            let mut partitions = Vec::with_capacity(topic.refusals.len());
            let mut bytes_out = 0;
            for (item, refusal) in topic.wanted.partitions.iter().zip(topic.refusals) {
                let read = match refusal {
                    Some(refusal) => Some(Err(refusal)),
                    None => found
                        .next()
                        .map(|found| found.map_err(|(_, error)| Refusal::from(&error))),
                };
                // There is one answer for each that was asked for.
                let Some(read) = read else { continue };
                bytes_out += read.as_ref().map_or(0, |read| read.batches.len() as u64);
                partitions.push(self.respond_partition(item.partition, read, is_committed));
            }
            if let Ok(found) = &topic.found
                && bytes_out > 0
            {
                self.charge_read(found.name.as_str(), bytes_out);
            }
            responses.push(FetchableTopicResponse {
                topic: topic.wanted.topic,
                topic_id: topic.wanted.topic_id,
                partitions,
            });
        }
        responses
    }

    fn respond_partition(
        &self,
        index: i32,
        read: Result<tidelog_broker_engine::FetchedPartition, Refusal>,
        is_committed: bool,
    ) -> PartitionData {
        let data = PartitionData {
            partition_index: index,
            aborted_transactions: is_committed.then(Vec::new),
            records: Some(Records::new()),
            ..PartitionData::default()
        };
        match read {
            Ok(read) => PartitionData {
                high_watermark: read.bounds.high_watermark.to_i64(),
                last_stable_offset: read.bounds.last_stable.to_i64(),
                log_start_offset: read.bounds.log_start.to_i64(),
                aborted_transactions: is_committed
                    .then(|| read.aborted.iter().map(aborted).collect()),
                records: Some(read.batches.into_parts().collect()),
                ..data
            },
            Err(refusal) => {
                tracing::debug!(code = %refusal.code, reason = refusal.message, "fetch was refused");
                PartitionData {
                    error_code: self.code(refusal.code),
                    high_watermark: -1,
                    ..data
                }
            }
        }
    }
}

/// Which records a reader sees.
pub(crate) const fn isolation(is_committed: bool) -> Isolation {
    if is_committed {
        Isolation::Committed
    } else {
        Isolation::Uncommitted
    }
}

fn aborted(transaction: &tidelog_metadata_api::AbortedTransaction) -> AbortedTransaction {
    AbortedTransaction {
        producer_id: transaction.producer.get(),
        first_offset: transaction.first.to_i64(),
    }
}

/// What to ask the engine for.
fn ask(topic: &TopicInfo, wanted: &Wanted) -> Result<FetchPartition, Refusal> {
    let partition = partition(topic, wanted.partition)?;
    check_epoch(wanted.current_leader_epoch)?;
    let offset = Offset::from_i64(wanted.fetch_offset).ok_or_else(|| {
        let message = format!("there is no offset `{}`", wanted.fetch_offset);
        Refusal::new(ErrorCode::OffsetOutOfRange, message)
    })?;
    Ok(FetchPartition {
        partition,
        offset,
        bytes_max: natural(wanted.partition_max_bytes).max(1),
    })
}

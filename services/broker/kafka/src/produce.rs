//! `Produce`: batches are checked, handed to the engine in their order, and answered when they are durable.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidelog_broker_engine::{Append, AppendAnswer, AppendError, FairHold, MemoryHold};
use tidelog_env::MonoTime;
use tidelog_env::clock::timeout;
use tidelog_format::batch::{BatchBuf, BatchRules, Compression};
use tidelog_kafka_codec::messages::produce_request::{PartitionProduceData, TopicProduceData};
use tidelog_kafka_codec::messages::produce_response::{
    PartitionProduceResponse, TopicProduceResponse,
};
use tidelog_kafka_codec::messages::{ProduceRequest, ProduceResponse};
use tidelog_kafka_codec::{ByteString, ErrorCode, Records, RequestFrame, Uuid};
use tidelog_metadata_api::{BatchCondition, OrderKey, TopicInfo};
use tidelog_runtime::access::{Operation, Resource};
use tidelog_types::PartitionIndex;

use crate::call::{Answered, Call, decode, partition};
use crate::connection::Outcome;
use crate::errors::Refusal;
use crate::settings::PARTITION_BATCHES_MAX;

/// The first version whose topics are named by ids.
const BY_ID_FROM: i16 = 13;
/// The first version whose clients know zstd.
const ZSTD_FROM: i16 = 7;

/// `acks` of who wants what it sends to be on all replicas.
const ACKS_ALL: i16 = -1;

/// A partition whose batches are on their way, or why they are not.
struct OpenPartition {
    index: i32,
    sent: Result<Vec<AppendAnswer>, Refusal>,
}

struct OpenTopic {
    name: ByteString,
    id: Uuid,
    partitions: Vec<OpenPartition>,
}

/// A request whose batches were handed over.
struct Open {
    call: Call,
    began: MonoTime,
    acks: i16,
    /// When it is told that it is not known what becomes of it, if ever.
    until: Option<MonoTime>,
    topics: Vec<OpenTopic>,
    /// Under which key its batches keep their order, and the key in use.
    order: (OrderKey, Arc<Mutex<OrderKey>>),
}

/// Hands the batches of a request to the engine once there is memory for them. What is returned waits for
/// them. Requests that are taken one after the other, each awaited, keep their order.
pub(crate) async fn take(
    mut call: Call,
    frame: RequestFrame,
    intake: Option<FairHold>,
    current: Arc<Mutex<OrderKey>>,
) -> BoxFuture<'static, Outcome> {
    let began = call.front.parts.env.clock.now();
    let bytes = frame.body.len();
    call.charge(bytes).await;
    let request: ProduceRequest = match decode(frame) {
        Ok(request) => request,
        Err(error) => {
            let outcome = Outcome {
                answered: Answered::Broken(error.to_string()),
                holds: Vec::new(),
                throttle: call.throttle,
                fails_silently: false,
            };
            return futures::future::ready(outcome).boxed();
        }
    };
    let hold = call.front.engine().reserve(bytes as u64).await;
    // Its batches have their own memory now.
    drop(intake);
    let key = *current.lock();
    let mut taking = Taking {
        call: &call,
        refusal: refusal_of_all(&call, &request),
        order: key,
        hold: Arc::new(hold),
    };
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        topics.push(taking.topic(topic).await);
    }
    drop(taking);
    let millis = u64::try_from(request.timeout_ms).unwrap_or_default();
    // As in Kafka, only who asks for all replicas says how long to wait for them.
    let waits = request.acks == ACKS_ALL;
    let open = Open {
        began,
        acks: request.acks,
        until: waits.then(|| began + Duration::from_millis(millis)),
        topics,
        order: (key, current),
        call,
    };
    open.answered().boxed()
}

/// Why nothing of a request can be taken, if so.
fn refusal_of_all(call: &Call, request: &ProduceRequest) -> Option<Refusal> {
    if !(-1..=1).contains(&request.acks) {
        let message = format!("`acks` is `{}`: it is 0, 1 or -1", request.acks);
        return Some(Refusal::new(ErrorCode::InvalidRequiredAcks, message));
    }
    let id = request.transactional_id.as_ref()?;
    let on = Resource::TransactionalId(id);
    call.may(Operation::Write, on).err()
}

/// Hands over one request.
struct Taking<'a> {
    call: &'a Call,
    refusal: Option<Refusal>,
    order: OrderKey,
    hold: Arc<MemoryHold>,
}

impl Taking<'_> {
    async fn topic(&mut self, topic: TopicProduceData) -> OpenTopic {
        let found = match &self.refusal {
            Some(refusal) => Err(refusal.clone()),
            None if self.call.version >= BY_ID_FROM => {
                self.call
                    .topic_by_id(Operation::Write, topic.topic_id)
                    .await
            }
            None => self.call.topic(Operation::Write, &topic.name).await,
        };
        let partitions = topic.partition_data.into_iter().map(|data| {
            let PartitionProduceData { index, records } = data;
            let sent = match &found {
                Ok(topic) => self.partition(topic, index, records),
                Err(refusal) => Err(refusal.clone()),
            };
            OpenPartition { index, sent }
        });
        OpenTopic {
            partitions: partitions.collect(),
            name: topic.name,
            id: topic.topic_id,
        }
    }

    /// All batches of a partition, or none.
    fn partition(
        &self,
        topic: &Arc<TopicInfo>,
        index: i32,
        records: Option<Records>,
    ) -> Result<Vec<AppendAnswer>, Refusal> {
        let at = partition(topic, index)?.partition;
        let bytes = records.map(|records| records.to_bytes());
        let batches = parse(topic, bytes.unwrap_or_default(), self.call.version)?;
        let sent = batches
            .into_iter()
            .map(|batch| self.append(topic, at, batch));
        sent.collect()
    }

    fn append(
        &self,
        topic: &Arc<TopicInfo>,
        partition: PartitionIndex,
        batch: BatchBuf,
    ) -> Result<AppendAnswer, Refusal> {
        // Batches of an idempotent producer have their order in themselves.
        let is_ordered = batch.header().producer_id.is_idempotent();
        let append = Append {
            topic: Arc::clone(topic),
            partition,
            batch,
            condition: BatchCondition::default(),
            order: (!is_ordered).then_some(self.order),
        };
        let sent = self
            .call
            .front
            .engine()
            .append(append, Arc::clone(&self.hold));
        sent.map_err(|error| Refusal::from(&error))
    }
}

/// Checks batches without decoding their records.
fn parse(topic: &TopicInfo, bytes: Bytes, version: i16) -> Result<Vec<BatchBuf>, Refusal> {
    let invalid = |message: &str| Refusal::new(ErrorCode::InvalidRecord, message);
    let rules = BatchRules::client(topic.config.batch_bytes_max());
    let mut batches = Vec::new();
    for batch in BatchBuf::parse_all(bytes, rules) {
        let batch = batch.map_err(|error| Refusal::from(&error))?;
        if batches.len() == PARTITION_BATCHES_MAX {
            return Err(invalid("a request has too many batches of one partition"));
        }
        if batch.compression() == Compression::Zstd && version < ZSTD_FROM {
            let message = "a client of this version of the protocol does not know zstd";
            let code = ErrorCode::UnsupportedCompressionType;
            return Err(Refusal::new(code, message));
        }
        if batch.header().attributes.is_transactional() {
            let message = "the producer has no open transaction: there are none yet";
            return Err(Refusal::new(ErrorCode::InvalidTxnState, message));
        }
        batches.push(batch);
    }
    if batches.is_empty() {
        return Err(invalid("a partition is named without a record batch"));
    }
    Ok(batches)
}

impl Open {
    /// Waits for the engine.
    async fn answered(self) -> Outcome {
        let Self {
            call,
            began,
            acks,
            until,
            topics,
            order: (key, current),
        } = self;
        let clock = &call.front.parts.env.clock;
        let mut any_failed = false;
        let mut responses = Vec::with_capacity(topics.len());
        for topic in topics {
            let mut partition_responses = Vec::with_capacity(topic.partitions.len());
            for OpenPartition { index, sent } in topic.partitions {
                let done = match until {
                    None => all_of(sent).await,
                    Some(until) => {
                        let left = until.saturating_since(clock.now());
                        let waiting = timeout(clock.as_ref(), left, all_of(sent));
                        waiting.await.unwrap_or_else(|_| Err(too_late()))
                    }
                };
                any_failed |= done.is_err();
                partition_responses.push(respond(&call, index, done));
            }
            responses.push(TopicProduceResponse {
                name: topic.name,
                topic_id: topic.id,
                partition_responses,
            });
        }
        if any_failed {
            let mut current = current.lock();
            if *current == key {
                *current = call.front.new_order();
            }
        }
        let response = ProduceResponse {
            responses,
            throttle_time_ms: call.throttle_ms(),
            ..ProduceResponse::default()
        };
        call.front
            .parts
            .metrics
            .request(call.key, clock.now() - began);
        Outcome {
            answered: if acks == 0 {
                Answered::Silently
            } else {
                call.respond(&response)
            },
            holds: Vec::new(),
            throttle: call.throttle,
            fails_silently: any_failed,
        }
    }
}

fn too_late() -> Refusal {
    let message = "the batches were not stored in the time that the request gives; they may be yet";
    Refusal::new(ErrorCode::RequestTimedOut, message)
}

/// What became of the batches of a partition.
#[derive(Clone, Copy)]
struct Stored {
    base_offset: i64,
    log_append_time_ms: i64,
}

/// Waits for all batches; the first counts where one offset is told.
async fn all_of(sent: Result<Vec<AppendAnswer>, Refusal>) -> Result<Stored, Refusal> {
    let mut stored = Stored {
        base_offset: -1,
        log_append_time_ms: -1,
    };
    for answer in sent? {
        let gone = AppendError::Unknown {
            reason: "the broker's write path has ended".to_owned(),
        };
        let appended = answer.await.unwrap_or(Err(gone));
        let appended = appended.map_err(|error| Refusal::from(&error))?;
        if stored.base_offset < 0 {
            stored.base_offset = appended.base_offset.to_i64();
            let time = appended.log_append_time;
            stored.log_append_time_ms = time.map_or(-1, tidelog_types::Timestamp::as_millis);
        }
    }
    Ok(stored)
}

fn respond(call: &Call, index: i32, done: Result<Stored, Refusal>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse {
        index,
        base_offset: -1,
        ..PartitionProduceResponse::default()
    };
    match done {
        Ok(stored) => PartitionProduceResponse {
            base_offset: stored.base_offset,
            log_append_time_ms: stored.log_append_time_ms,
            ..response
        },
        Err(refusal) => {
            tracing::debug!(code = %refusal.code, reason = refusal.message, "batches were refused");
            PartitionProduceResponse {
                error_code: call.code(refusal.code),
                error_message: Some(refusal.text()),
                ..response
            }
        }
    }
}

//! What became of batches, told when it is known.

use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_broker_engine::{AppendAnswer, AppendError};
use tidelog_env::MonoTime;
use tidelog_env::clock::timeout;
use tidelog_kafka_codec::messages::ProduceResponse;
use tidelog_kafka_codec::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use tidelog_kafka_codec::{ByteString, ErrorCode, Uuid};
use tidelog_metadata_api::OrderKey;

use crate::call::{Answered, Call};
use crate::connection::Outcome;
use crate::errors::Refusal;

/// A partition whose batches are on their way, or why they are not.
pub(super) struct OpenPartition {
    pub(super) index: i32,
    pub(super) sent: Result<Vec<AppendAnswer>, Refusal>,
}

pub(super) struct OpenTopic {
    pub(super) name: ByteString,
    pub(super) id: Uuid,
    pub(super) partitions: Vec<OpenPartition>,
}

/// A request whose batches were handed over.
pub(super) struct Open {
    pub(super) call: Call,
    pub(super) began: MonoTime,
    pub(super) acks: i16,
    /// When it is told that it is not known what becomes of it, if ever.
    pub(super) until: Option<MonoTime>,
    pub(super) topics: Vec<OpenTopic>,
    /// Under which key its batches keep their order, and the key in use.
    pub(super) order: (OrderKey, Arc<Mutex<OrderKey>>),
}

impl Open {
    /// Waits for the engine.
    pub(super) async fn answered(self) -> Outcome {
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
                record_errors: refusal.records.into_iter().map(record_error).collect(),
                ..response
            }
        }
    }
}

fn record_error(index: u32) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage {
        batch_index: i32::try_from(index).unwrap_or(i32::MAX),
        batch_index_error_message: Some("it has no key, and the topic is compacted".into()),
    }
}

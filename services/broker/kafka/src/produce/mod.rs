//! `Produce`: batches are checked, join their transaction if they are part of one, are handed to the engine in their
//! order, and answered when they are durable.

mod answer;
mod parse;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidelog_broker_engine::{Append, AppendAnswer, Claim, MemoryHold};
use tidelog_format::batch::BatchBuf;
use tidelog_kafka_codec::messages::ProduceRequest;
use tidelog_kafka_codec::{ErrorCode, RequestFrame};
use tidelog_metadata_api::{BatchCondition, OrderKey, TopicInfo};
use tidelog_runtime::access::{Operation, Resource};
use tidelog_types::TopicPartition;

use crate::call::{Answered, Call, decode};
use crate::connection::Outcome;
use crate::errors::Refusal;
use answer::{Open, OpenPartition, OpenTopic};
use parse::{Parsed, ParsedTopic};
use transaction::Ticket;

/// `acks` of who wants what it sends to be on all replicas.
const ACKS_ALL: i16 = -1;

/// Hands the batches of a request to the engine once there is memory for them. What is returned waits for
/// them. Requests that are taken one after the other, each awaited, keep their order.
pub(crate) async fn take(
    mut call: Call,
    frame: RequestFrame,
    intake: Option<Arc<Claim>>,
    current: Arc<Mutex<OrderKey>>,
) -> BoxFuture<'static, Outcome> {
    let began = call.front.parts.env.clock.now();
    // What was sent before the client hears of a failure has the key that failed, however long it waits here.
    let key = *current.lock();
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
    let refusal = refusal_of_all(&call, &request);
    let mut parsed = Vec::with_capacity(request.topic_data.len());
    let mut keys = call.front.engine().key_check(bytes as u64);
    for topic in request.topic_data {
        let topic = call.parse_topic(topic, refusal.as_ref(), &mut keys);
        parsed.push(topic.await);
    }
    let id = request.transactional_id.as_deref();
    let ticket = call.ticket(id, &parsed).await;
    let taking = Taking {
        call: &call,
        ticket,
        order: key,
        hold: Arc::new(hold),
    };
    let topics = parsed.into_iter().map(|topic| taking.topic(topic));
    let topics = topics.collect();
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
    ticket: Ticket,
    order: OrderKey,
    hold: Arc<MemoryHold>,
}

impl Taking<'_> {
    fn topic(&self, topic: ParsedTopic) -> OpenTopic {
        let partitions = topic.partitions.into_iter().map(|(index, parsed)| {
            let sent = parsed.and_then(|parsed| self.partition(parsed));
            OpenPartition { index, sent }
        });
        OpenTopic {
            partitions: partitions.collect(),
            name: topic.name,
            id: topic.id,
        }
    }

    /// All batches of a partition, or none.
    fn partition(&self, parsed: Parsed) -> Result<Vec<AppendAnswer>, Refusal> {
        let Parsed { topic, at, batches } = parsed;
        self.ticket.check(at, &batches)?;
        let sent = batches
            .into_iter()
            .map(|batch| self.append(&topic, at, batch));
        sent.collect()
    }

    fn append(
        &self,
        topic: &Arc<TopicInfo>,
        at: TopicPartition,
        batch: BatchBuf,
    ) -> Result<AppendAnswer, Refusal> {
        let header = batch.header();
        // Batches of an idempotent producer have their order in themselves.
        let is_ordered = header.producer_id.is_idempotent();
        let is_transactional = header.attributes.is_transactional();
        let append = Append {
            topic: Arc::clone(topic),
            partition: at.partition,
            batch,
            condition: BatchCondition {
                transaction: self.ticket.number().filter(|_| is_transactional),
                ..BatchCondition::default()
            },
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

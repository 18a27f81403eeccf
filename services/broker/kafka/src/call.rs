//! One request: who asks, whether they may, and how they are answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidelog_broker_engine::HolderId;
use tidelog_kafka_codec::{
    ApiKey, Budget, DecodeError, ErrorCode, Request, RequestFrame, Response, Rope, Uuid,
    response_frame,
};
use tidelog_metadata_api::{TopicInfo, TopicSelector, TopicState};
use tidelog_runtime::access::{Allowance, Caller, Charge, Operation, Resource};
use tidelog_types::{PartitionIndex, TopicId, TopicName, TopicPartition};

use crate::brokers::Brokers;
use crate::errors::{Refusal, kafka_code};
use crate::front::Front;
use crate::settings::DECODED_BYTES_MAX;

/// Memory of a decoded request for each byte of its frame: plenty for an honest client.
const DECODED_BYTES_PER_BYTE: usize = 16;
/// The least that a request may take once it is decoded.
const DECODED_BYTES_MIN: usize = 4 * 1024;
/// The longest that a client is asked to wait.
const THROTTLE_MAX: Duration = Duration::from_secs(30);

/// A request that is being answered.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) front: Arc<Front>,
    pub(crate) caller: Caller,
    /// Where the client is.
    pub(crate) peer: SocketAddr,
    /// Who holds memory for the answer: the connection.
    pub(crate) holder: HolderId,
    pub(crate) key: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    /// How long the client shall wait before it asks again.
    pub(crate) throttle: Duration,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Answered {
    /// An answer is sent.
    With(Rope),
    /// None is wanted.
    Silently,
    /// There is none that the client could read: the connection ends.
    Broken(String),
}

impl Call {
    /// Tells the quota of the request, and takes note of how long the client shall wait.
    pub(crate) async fn charge(&mut self, bytes_in: usize) {
        let charge = Charge {
            requests: 1,
            bytes_in: bytes_in as u64,
            bytes_out: 0,
        };
        match self.ask_quota(Resource::Cluster, charge) {
            Allowance::Granted => {}
            Allowance::Throttled(wait) => self.throttle = wait.min(THROTTLE_MAX),
            // Kafka has no word for a refusal that every answer could carry: the request waits instead.
            Allowance::Refused(wait) => {
                let clock = &self.front.parts.env.clock;
                clock.sleep(wait.min(THROTTLE_MAX)).await;
            }
        }
    }

    /// Tells the quota what was read of a topic.
    pub(crate) fn charge_read(&mut self, topic: &str, bytes_out: u64) {
        let charge = Charge {
            requests: 0,
            bytes_in: 0,
            bytes_out,
        };
        let allowed = self.ask_quota(Resource::Topic(topic), charge);
        if let Allowance::Throttled(wait) | Allowance::Refused(wait) = allowed {
            self.throttle = self.throttle.max(wait.min(THROTTLE_MAX));
        }
    }

    fn ask_quota(&self, resource: Resource<'_>, charge: Charge) -> Allowance {
        let quota = &self.front.parts.quota;
        quota.charge(&self.caller, resource, charge)
    }

    /// The brokers as the client is told of them.
    pub(crate) fn brokers(&self) -> Brokers {
        self.front.brokers(&self.caller.zone)
    }

    /// Whether the caller may do something.
    pub(crate) fn may(&self, operation: Operation, on: Resource<'_>) -> Result<(), Refusal> {
        let authorizer = &self.front.parts.authorizer;
        let asked = authorizer.authorize(&self.caller, operation, on);
        asked.map_err(|denied| Refusal::denied(&denied, on))
    }

    /// The live topic of a name, if the caller may.
    pub(crate) async fn topic(
        &self,
        operation: Operation,
        name: &str,
    ) -> Result<Arc<TopicInfo>, Refusal> {
        self.may(operation, Resource::Topic(name))?;
        let name = TopicName::new(name).map_err(|error| Refusal::from(&error))?;
        let found = self.find(&TopicSelector::Name(name)).await?;
        Ok(found)
    }

    /// The live topic of an id, if the caller may. Who may not hears that there is none, so that nobody learns
    /// names by trying ids.
    pub(crate) async fn topic_by_id(
        &self,
        operation: Operation,
        id: Uuid,
    ) -> Result<Arc<TopicInfo>, Refusal> {
        let unknown = || Refusal::new(ErrorCode::UnknownTopicId, "no topic has this id");
        let selector = TopicSelector::Id(TopicId::new(id));
        let topic = self.find(&selector).await?;
        if topic.state != TopicState::Live {
            return Err(unknown());
        }
        self.may(operation, Resource::Topic(topic.name.as_str()))
            .map_err(|_| unknown())?;
        Ok(topic)
    }

    async fn find(&self, selector: &TopicSelector) -> Result<Arc<TopicInfo>, Refusal> {
        let found = self.front.engine().catalogue().topic(selector).await;
        found.map_err(|error| Refusal::from(&error))
    }

    /// Takes note of an error, and gives its number.
    pub(crate) fn code(&self, error: ErrorCode) -> i16 {
        if !error.is_none() {
            self.front.parts.metrics.error(self.key, error);
        }
        error.code()
    }

    /// The time that the client shall wait, as answers say it.
    pub(crate) fn throttle_ms(&self) -> i32 {
        i32::try_from(self.throttle.as_millis()).unwrap_or(i32::MAX)
    }

    /// Encodes the answer.
    pub(crate) fn respond<R: Response>(&self, response: &R) -> Answered {
        match response_frame(response, self.version, self.correlation_id) {
            Ok(rope) => Answered::With(rope),
            Err(error) => {
                // A bug of ours: the client hears nothing rather than something else.
                tracing::error!(api = self.key.name(), %error, "answer cannot be encoded");
                Answered::Broken(error.to_string())
            }
        }
    }
}

/// Decodes a request within bounds.
pub(crate) fn decode<R: Request>(frame: RequestFrame) -> Result<R, DecodeError> {
    let bytes = frame.body.len() * DECODED_BYTES_PER_BYTE + DECODED_BYTES_MIN;
    frame.decode(&mut Budget::bytes(bytes.min(DECODED_BYTES_MAX)))
}

/// A partition of a topic by the number on the wire.
pub(crate) fn partition(topic: &TopicInfo, index: i32) -> Result<TopicPartition, Refusal> {
    let found = u32::try_from(index)
        .map_err(|_| tidelog_types::ErrorCode::UnknownPartition)
        .and_then(|index| topic.partition(PartitionIndex::new(index)));
    found.map(|(at, _)| at).map_err(|code| {
        let message = format!("topic `{}` has no partition `{index}`", topic.name);
        Refusal::new(kafka_code(code), message)
    })
}

/// What is to be said of the leader epoch that a client knows: there is only one, 0.
pub(crate) fn check_epoch(known: i32) -> Result<(), Refusal> {
    if known > crate::brokers::LEADER_EPOCH {
        let message = format!("the leader epoch `{known}` is not known: it is always 0");
        return Err(Refusal::new(ErrorCode::UnknownLeaderEpoch, message));
    }
    Ok(())
}
